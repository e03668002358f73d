"""Search for the numbers of a recipe with Ray Tune, on all cores of a machine or on a cluster.

    pip install "distilbert[pt,finetune]" "ray[tune]"
    python examples/ray_tuning.py sequence-classification train.tsv --eval dev.tsv --model ./my-model --output OUT

Each trial is a run of `finetune` in a process of its own, with a folder of its own below OUT. The last line of the
output is the best recipe and its folder, which `from_pretrained` and the pipelines read. All files must be on storage
that every machine of the cluster sees.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from distilbert_core.training import Recipe, finetune
from distilbert_core.training.tasks import LOWER_IS_BETTER, TASKS

SPACE: dict[str, Any] = {  # of the numbers of a `Recipe`; the others keep their defaults
    "learning_rate": tune.loguniform(1e-5, 1e-3),
    "batch_size": tune.choice([16, 32]),
    "warmup": tune.uniform(0.0, 0.2),
    "weight_decay": tune.choice([0.0, 0.01, 0.1]),
}
BEST = "best"  # the metric that a trial reports: that of the task, on the evaluation data


def trial(numbers: Mapping[str, Any], *, task: str, train: str, output: str, threads: int, **options: Any) -> None:
    """Fine-tune with the numbers of one trial, and report the metric of its best model.

    Args:
        numbers: The numbers of the recipe.
        task: A task of `finetune`.
        train: File of the training data.
        output: Folder of all trials.
        threads: Threads of the framework: the cores of a trial.
        **options: Further keywords of `finetune`.
    """
    if options.get("backend", "pt") in (None, "pt"):
        import torch

        torch.set_num_threads(threads)
    folder = Path(output, tune.get_context().get_trial_id())
    progress = finetune(task, train, output=folder, recipe=Recipe(**numbers), progress=False, **options)
    tune.report({BEST: progress.best, "folder": str(folder), **progress.metrics})


def search(
    task: str,
    train: str,
    *,
    output: str,
    space: Mapping[str, Any] = SPACE,
    trials: int = 8,
    cpus: int = 1,
    gpus: float = 0,
    seed: int = 0,
    **options: Any,
) -> tune.ResultGrid:
    """Run the trials; `get_best_result()` of the result is the best one.

    Args:
        task: A task of `finetune`.
        train: File of the training data.
        output: Folder of all trials.
        space: The numbers to search, as Ray Tune describes them, and fixed ones.
        trials: Number of trials.
        cpus: Cores of a trial.
        gpus: GPUs of a trial.
        seed: Seed of the search. Each recipe has its own `seed`, 0 if the space does not name one.
        **options: Further keywords of `finetune`: eval, model, backend, columns, labels and new_head.
    """
    paths = {name: str(Path(options[name]).resolve()) for name in ("eval",) if options.get(name)}
    if Path(str(options["model"])).exists():
        paths["model"] = str(Path(options["model"]).resolve())
    fixed = {"task": task, "train": str(Path(train).resolve()), "output": str(Path(output).resolve())}
    function = tune.with_parameters(trial, threads=cpus, **fixed, **{**options, **paths})
    tuner = tune.Tuner(
        tune.with_resources(function, {"cpu": cpus, "gpu": gpus}),
        param_space=dict(space),
        tune_config=tune.TuneConfig(
            metric=BEST,
            mode="min" if TASKS[task].metric in LOWER_IS_BETTER else "max",
            num_samples=trials,
            search_alg=tune.search.BasicVariantGenerator(random_state=seed),
        ),
        run_config=tune.RunConfig(storage_path=fixed["output"], name="ray"),
    )
    return tuner.fit()


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and print the best recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("task")
    parser.add_argument("train", metavar="TRAIN")
    parser.add_argument("--eval", required=True, metavar="FILE")
    parser.add_argument("--model", required=True, help="folder, embedded model or Hub id")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--backend", choices=("pt", "tf", "flax"))
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    options = vars(parser.parse_args(arguments))
    best = search(options.pop("task"), options.pop("train"), **options).get_best_result()
    found = best.metrics or {}
    print(json.dumps({"recipe": best.config, BEST: found[BEST], "folder": found["folder"]}))


if __name__ == "__main__":
    main()
