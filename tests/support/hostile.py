"""Runs the mutations of a checkpoint through a watched reader."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from support.mutators.base import Mutator
from support.watched import outcomes

READER = "support.readers:convert_and_load"
QUICK = (  # known faults of earlier versions, which the ordinary run repeats
    *("10^9 layers", "lattice of groups", "encrypted weights", "deflated", "a bomb as configuration", "gzip bomb"),
    *("a deep configuration", "a shard above", "a long name of a shard", "a link to all files", "10^6 layers"),
    *(
        "lists of names that repeat",
        "a Lambda",
        "a heap without end",
        "model.safetensors is a link out of the folder",
        "12,000 links",
    ),
)
STRIDE = 9  # the ordinary run takes every ninth of the other mutations with a name
ORDINARY, LONG = 8, 1250  # random files of each mutator


def quick(mutator: Mutator) -> Mutator:
    """Return a mutator with a part of the named mutations."""
    named = [name for index, name in enumerate(mutator.named) if name in QUICK or index % STRIDE == 0]
    return replace(mutator, named={name: mutator.named[name] for name in named})


def check(mutator: Mutator, folder: Path, count: int, reader: str = READER, seed: int = 1) -> None:
    """Read the named and some random mutations."""
    cases = islice(mutator.mutations(np.random.default_rng(seed), folder), 1 + len(mutator.named) + count)
    seen = list(outcomes(cases, reader))
    faults = [f"{outcome.name}: {', '.join(outcome.faults)}: {outcome.message}" for outcome in seen if outcome.faults]
    print(f"{mutator.name}: {len(seen)} files, {dict(Counter(outcome.kind for outcome in seen))}")
    assert not faults, "\n".join(faults)
    assert seen[0].kind == "loads", seen[0]  # the one that is unchanged
    assert "error" in {outcome.kind for outcome in seen[1:]}
