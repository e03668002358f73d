r"""Fine-tune or distil in several processes of a Ray cluster, with Ray Train.

    pip install "distilbert[pt,finetune]" "ray[train]"
    python examples/launch/ray_train.py finetune --workers 8 --gpus --task sequence-classification --model ./model \
        --train train.tsv --eval dev.tsv --output ./new --recipe '{"max_steps": 1000, "batch_size": 256}'

Each worker calls `finetune` or `distill`, as a process of torchrun would: they share each batch, and worker 0 writes.
All files must be on storage that every machine of the cluster sees. If a worker dies, Ray starts all of them again, and
the run goes on from its last state.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer

from distilbert_core.training import Recipe, finetune
from distilbert_core.training.distillation import DistillationRecipe, distill

COMMANDS: dict[str, tuple[Any, type[Recipe], tuple[str, ...]]] = {  # function, recipe, arguments that may be paths
    "finetune": (finetune, Recipe, ("train", "eval", "model", "output")),
    "distill": (distill, DistillationRecipe, ("data", "eval", "teacher", "student", "output")),
}


def worker(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Train in one worker, and return the progress.

    Args:
        arguments: 'command' and 'recipe', a dict, and the keywords of `finetune` or `distill`.
    """
    options = dict(arguments)
    function, recipe, _ = COMMANDS[options.pop("command")]
    begun = [(Path(options["output"]) / "training/settings.json").exists()]
    dist.broadcast_object_list(begun)  # all workers do what worker 0 sees
    numbers = recipe(**options.pop("recipe"))
    progress = function(backend="pt", recipe=numbers, resume=begun[0], progress=False, **options)
    return {"step": progress.step, "best_step": progress.best_step, **progress.metrics}


def launch(
    command: str,
    *,
    workers: int,
    gpus: bool = False,
    failures: int = 0,
    storage: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train in several workers, and return the progress of worker 0.

    Args:
        command: 'finetune' or 'distill'.
        workers: Number of workers.
        gpus: Whether each worker has a GPU.
        failures: How many times Ray may start the workers again.
        storage: Folder of Ray's own records; '~/ray_results' if left out.
        recipe: The numbers of the recipe that differ from its defaults.
        **options: Keywords of `finetune` or `distill`. Paths of existing files are made absolute.
    """
    for name in COMMANDS[command][2]:
        if options.get(name) is not None and (name == "output" or Path(options[name]).exists()):
            options[name] = str(Path(options[name]).resolve())
    trainer = TorchTrainer(
        worker,
        train_loop_config={"command": command, "recipe": dict(recipe or {}), **options},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=train.RunConfig(storage_path=storage, failure_config=train.FailureConfig(max_failures=failures)),
    )
    progress: dict[str, Any] = trainer.fit().return_value
    return progress


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and print the progress."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, (_, _, paths) in COMMANDS.items():
        options = commands.add_parser(command)
        options.add_argument("--task", required=True)
        for name in paths:
            options.add_argument(f"--{name}", required=name != "eval")
        options.add_argument("--recipe", type=json.loads, help="numbers of the recipe, a JSON object")
        options.add_argument("--workers", type=int, required=True)
        options.add_argument("--gpus", action="store_true", help="give each worker a GPU")
        options.add_argument("--failures", type=int, default=3, help="restarts of the workers (default: %(default)s)")
        options.add_argument("--storage", help="folder of Ray's own records")
    print(json.dumps(launch(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()
