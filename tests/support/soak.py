"""Many mixed pipeline calls in one process; prints what the process holds, in a line of JSON each 100 calls.

Texts of every length come first, so that each bucket of sizes has been compiled when the calls are counted.

Arguments: the framework, the number of calls, and a folder for each task as `task=folder`.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from distilbert_core.model.inference import PackedInference
from distilbert_core.pipelines import pipeline

EVERY = 100
WORDS = ("a", "film", "book", "was", "good", "bad", "quiet", "in", "Paris", "and", "London", ",", ".", "who", "when")
LONGEST = 90  # words of a text
COUNTS = (1, 1, 1, 2, 5, 16)  # texts of a call


def main(framework: str, calls: int, folders: dict[str, str]) -> None:
    rng = random.Random(0)
    pipelines = {task: pipeline(task, folder, framework=framework) for task, folder in folders.items()}
    for words, count, task in itertools.product(range(1, LONGEST + 1), sorted(set(COUNTS)), pipelines):
        pipelines[task](**inputs_of(task, [random_text(rng, words)] * count))
    held(framework)  # imports what it needs
    for call in range(1, calls + 1):
        task = rng.choice(list(pipelines))
        texts = [random_text(rng, rng.randint(1, LONGEST)) for _ in range(rng.choice(COUNTS))]
        pipelines[task](**inputs_of(task, texts))
        if call % EVERY == 0:
            print(json.dumps({"calls": call, **held(framework)}), flush=True)


def random_text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def inputs_of(task: str, texts: list[str]) -> dict[str, Any]:
    """Return the arguments of a call of a pipeline."""
    if task == "question-answering":
        return {"question": ["Who was it?"] * len(texts), "context": texts}
    if task == "fill-mask":
        texts = [f"{text} [MASK]" if len(text.split()) < 40 else "[MASK] ." for text in texts]
    return {"inputs": texts}


def held(framework: str) -> dict[str, int]:
    """Return resident bytes, open files, Python objects and compiled programs."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # returns the free memory that malloc keeps
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    objects = gc.get_objects()
    return {
        "resident": resident,
        "files": len(os.listdir("/proc/self/fd")),
        "objects": len(objects),
        "programs": programs(framework, [found for found in objects if issubclass(type(found), PackedInference)]),
    }


def programs(framework: str, models: list[Any]) -> int:
    """Return the number of compiled or traced programs; in PyTorch, of graphs that its compiler holds."""
    if framework == "tf":
        functions = [function for model in models for function in (model._run, model._run_packed)]
        return sum(function.experimental_get_tracing_count() for function in functions)
    if framework == "flax":
        from distilbert_flax import inference

        return sum({id(run): run._cache_size() for run in (inference._run_packed, inference._run_few())}.values())
    from torch._dynamo.utils import counters

    return sum(counters["stats"].values())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), dict(item.split("=", 1) for item in sys.argv[3:]))
