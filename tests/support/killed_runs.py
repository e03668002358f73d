"""Runs of `finetune` and `distill` that are killed at random moments, and continued.

`results` does this in a process of its own, which imports a backend and forks for each run before the backend is used.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from distilbert_core import DistilBertConfig, DistilBertTokenizerFast, Head, load_backend
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.training import Recipe, finetune
from distilbert_core.training.distillation import DistillationRecipe, distill
from support.checkpoints import random_arrays, save_random, small_config
from support.processes import fresh_python
from support.runs import TEXTS

HEAD = Head.SEQUENCE_CLASSIFICATION
NUMBERS = {"max_steps": 6, "batch_size": 4, "eval_every": 2, "learning_rate": 1e-3, "warmup": 0}


def _train(kind: str, backend: str, place: Path, output: Path, resume: bool) -> None:
    options = {"output": output, "backend": backend, "resume": resume, "progress": False}
    if kind == "finetune":
        finetune(
            "sequence-classification", place / "data.tsv", model=place / "model", recipe=Recipe(**NUMBERS), **options
        )
    else:
        recipe = DistillationRecipe(**NUMBERS)
        texts, cache = place / "texts.txt", output.parent / "cache"
        distill(
            "sequence-classification",
            texts,
            teacher=place / "teacher",
            student=place / "model",
            recipe=recipe,
            cache=cache,
            **options,
        )


def _prepare(place: Path) -> None:
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    config = small_config(vocab_size=len(tokenizer), max_position_embeddings=32, dropout=0.1, num_labels=2)
    for seed, name in enumerate(("model", "teacher")):
        save_random(place / name, config, HEAD, seed, "float32")
        tokenizer.save_pretrained(place / name)
    rows = [f"{text}\tLABEL_{number % 2}" for number, text in enumerate(TEXTS)]
    (place / "data.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    (place / "texts.txt").write_text("\n".join(TEXTS) + "\n")


def _forked(action: Callable[[], object], seconds: float | None = None) -> int:
    """Do something in a forked process, which is killed after some time; return its status."""
    process = os.fork()
    if not process:
        status = 1
        try:
            action()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def _found(output: Path) -> str:
    """What a reader finds: nothing, a complete checkpoint, or the problem."""
    if not (output / "config.json").exists() and not (output / "model.safetensors").exists():
        return "nothing"
    try:
        config, stored = DistilBertConfig.from_pretrained(output), Checkpoint(output)
        assert stored.shapes == {name: array.shape for name, array in random_arrays(config, HEAD).items()}
        for name in stored.entries:
            stored.read(name)
        DistilBertTokenizerFast.from_pretrained(output)
    except Exception as error:
        return repr(error)
    return "a checkpoint"


def main(kind: str, backend: str, kills: str, seed: str) -> None:
    """Print what is found after each kill: (seconds, a reader's finding, status of the continued run, what differs)."""
    load_backend(backend)
    rng, results = random.Random(int(seed)), []
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        _prepare(place)
        start = time.perf_counter()
        assert _forked(lambda: _train(kind, backend, place, place / "whole" / "output", False)) == 0
        duration = time.perf_counter() - start
        expected = (place / "whole" / "output" / "model.safetensors").read_bytes()
        for _ in range(int(kills)):
            output = place / "killed" / "output"
            shutil.rmtree(output.parent, ignore_errors=True)
            output.parent.mkdir()
            seconds = rng.uniform(0, duration)
            _forked(lambda: _train(kind, backend, place, output, False), seconds)  # noqa: B023
            found = _found(output)
            resume = (output / "training" / "settings.json").exists()
            status = _forked(lambda: _train(kind, backend, place, output, resume))  # noqa: B023
            same = status == 0 and (output / "model.safetensors").read_bytes() == expected
            left = [str(path) for path in output.parent.rglob(".*")]
            results.append((round(seconds, 2), found, status, [] if same else ["weights"], left))
    print(json.dumps(results))


def results(kind: str, backend: str, kills: int, seed: int = 0) -> list[tuple]:
    """Return the results of `main`, in a process of its own."""
    code = "import sys; from support.killed_runs import main; main(*sys.argv[1:])"
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    with patch.dict(os.environ, {"PYTHONPATH": path}):
        return json.loads(fresh_python(code, kind, backend, str(kills), str(seed)).splitlines()[-1])
