"""The guides in docs/moving: the same task in another library and here, with the same numbers.

A pair is two blocks of a page, `python old="NAME"` and `python new="NAME"`, or one for both, `python same="NAME"`. The
blocks of one side are one program, from top to bottom, with the lines `distilbert convert` between them. It runs in a
folder with the checkpoints of `CHECKPOINTS`. `tests/oracle/guide_cases.py` runs the old sides, each with its library,
and writes their results to `tests/fixtures/oracle/guides`; `tests/cross/test_guides.py` runs the new sides and
compares.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from support.fences import blocks_of, command_lines
from support.paths import FIXTURES, ROOT

PAGES = ROOT / "docs" / "moving"
RESULTS = FIXTURES / "oracle" / "guides"

# Page -> pair -> result -> largest difference that is allowed, about ten times the one that was measured.
TOLERANCES: dict[str, dict[str, dict[str, float]]] = {
    "from-tf-transformers": {
        # Measured: 1.9e-6 in float32, 1.6e-2 in bfloat16.
        "open": {"size": 0},
        "predict": {"ids": 0, "logits": 1e-5, "predicted": 1e-5},
        "layers": {"hidden": 1e-5, "attention": 1e-5},
        "loss": {"loss": 1e-5},
        "fit": {"losses": 1e-5},
        "dataset": {"losses": 1e-5},
        "loop": {"losses": 1e-5},
        "save": {"logits": 1e-5},
        "back": {"logits": 1e-5},
        "precision": {"logits": 0.1},
        "pipeline": {"names": 0, "scores": 1e-5},
    },
    "from-flax-transformers": {
        # Measured: 1.2e-6 in float32, 1.6e-2 in bfloat16.
        "open": {"size": 0},
        "predict": {"ids": 0, "logits": 1e-5},
        "layers": {"hidden": 1e-5, "attention": 1e-5},
        "loss": {"loss": 1e-5},
        "functional": {"losses": 1e-5},
        "train": {"losses": 1e-5},
        "save": {"logits": 1e-5},
        "back": {"logits": 1e-5},
        "precision": {"logits": 0.1},
        "pipeline": {"names": 0, "scores": 1e-5},
    },
    "from-transformers-5": {
        # Measured: 3.0e-7 in float32; the same kernels of PyTorch on both sides.
        "open": {"size": 0},
        "predict": {"ids": 0, "logits": 1e-5},
        "layers": {"hidden": 1e-5, "attention": 1e-5},
        "heads": {"logits": 1e-5},
        "loss": {"loss": 1e-5},
        "loop": {"losses": 1e-5},
        "trainer": {"loss": 1e-5, "weights": 1e-5},
        "save": {"logits": 1e-5},
        "precision": {"logits": 0.1},
        "pipeline": {"names": 0, "scores": 1e-5},
    },
    "from-sentence-transformers": {
        # Measured: vectors of length 1 8.9e-8, others 7.2e-7, tokens 1.9e-6, scores 2.4e-7.
        "encode": {"vectors": 1e-6},
        "lengths": {"vectors": 1e-5},
        "tokens": {"tokens": 2e-5},
        "similarity": {"scores": 3e-6},
        "search": {"found": 0, "scores": 3e-6},
    },
    "kerashub": {
        # Measured: 1.3e-6, and 1.1e-4 for the masked language model, whose layer norm has another epsilon.
        "open": {"logits": 1e-5},
        "probabilities": {"best": 0, "scores": 1e-5},
        "backbone": {"ids": 0, "hidden": 1e-5},
        "fit": {"losses": 1e-5},
        "masked": {"logits": 1e-3},
        "save": {"logits": 1e-5},
        "preset": {"logits": 1e-5},
    },
}

NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), 0.0)


def _reviews(to: str, dtype: str | None = "float32") -> Callable[[Path], None]:
    """Write the embedded model without dropout, as `reviews`; without a dtype in float16, as it is stored."""

    def write(folder: Path) -> None:
        _convert("sst2-tiny", folder / "reviews", to=to, dtype=dtype)
        edit_json(folder / "reviews" / "config.json", NO_DROPOUT)

    return write


def _presets(folder: Path) -> None:
    """Write `reviews` and a small masked language model, `masked`, as presets of KerasHub."""
    _reviews("pt")(folder)
    (folder / "reviews").rename(folder / "hub")
    _convert(folder / "hub", folder / "reviews", to="kerashub")
    _convert(FIXTURES / "checkpoints" / "pt_masked_lm", folder / "masked", to="kerashub")


def _convert(source: str | Path, destination: Path, **options: Any) -> None:
    from weight_conversion import convert

    convert(source, destination, **options)


def edit_json(file: Path, fields: dict[str, Any]) -> None:
    """Change fields of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | fields, indent=2), encoding="utf-8")


# Page -> what writes the checkpoints that its blocks open.
CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "from-tf-transformers": _reviews("h5"),
    "from-flax-transformers": _reviews("msgpack"),
    "from-transformers-5": _reviews("pt", None),
    "from-sentence-transformers": lambda folder: None,
    "kerashub": _presets,
}


def text_of(page: str) -> str:
    """The text of a guide."""
    return (PAGES / f"{page}.md").read_text(encoding="utf-8")


def blocks(text: str, side: str) -> Iterator[tuple[str, str]]:
    """The program of one side: names and code of its blocks, and the commands between them with the name ''."""
    for block in blocks_of(text):
        language, _, attribute = block.info.partition(" ")
        key, _, name = attribute.rstrip('"').partition('="')
        if language == "python" and key in (side, "same"):
            yield name, block.code
        for line in command_lines(block):
            if line.startswith("distilbert convert "):
                yield "", line


def digests(text: str) -> dict[str, str]:
    """The SHA-256 of each old block of a page."""
    return {name: hashlib.sha256(code.encode()).hexdigest() for name, code in blocks(text, "old") if name}


def run_page(page: str, side: str, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Run one side of a page in a folder, and return the results of each pair."""
    CHECKPOINTS[page](folder)
    namespace: dict[str, Any] = {}
    found = {}
    with contextlib.chdir(folder):
        for name, code in blocks(text_of(page), side):
            if not name:
                _command(code)
                continue
            exec(compile(code, f"{page}.md, {side}={name}", "exec"), namespace)
            found[name] = {result: as_array(namespace[result]) for result in TOLERANCES[page][name]}
    return found


def _command(line: str) -> None:
    """Run a line `distilbert convert`, without the command line's own packages."""
    from distilbert_core import Head

    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("destination", type=Path)
    for option in ("--to", "--dtype", "--head", "--pooling"):
        parser.add_argument(option, default=argparse.SUPPRESS)
    parser.add_argument("--normalize", action="store_true", default=argparse.SUPPRESS)
    options = vars(parser.parse_args(shlex.split(line)[2:]))
    if "head" in options:
        options["head"] = Head(options["head"].removeprefix("DistilBert"))
    _convert(options.pop("source"), options.pop("destination"), **options)


def as_array(value: Any) -> np.ndarray:
    """A result of any framework as NumPy; bfloat16 as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def write_results(page: str, root: Path, folder: Path) -> None:
    """Run the old side of a page, and write its results and the digests of its blocks below `root`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    results = run_page(page, "old", folder)
    sha256 = digests(text_of(page))
    content = {
        name: {"sha256": sha256[name], "results": {key: value.tolist() for key, value in arrays.items()}}
        for name, arrays in results.items()
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(pair)}" for name, pair in content.items())
    (root / f"{page}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def read_results(page: str, root: Path = RESULTS) -> dict[str, Any]:
    """The results of the old side of a page."""
    content: dict[str, Any] = json.loads((root / f"{page}.json").read_text(encoding="utf-8"))
    return content


def difference(actual: Any, expected: Any) -> float:
    """The largest difference of two results; infinite if their shapes or their texts differ."""
    left, right = np.asarray(actual), np.asarray(expected)
    if left.shape != right.shape:
        return float("inf")
    if left.dtype.kind in "US" or right.dtype.kind in "US":
        return 0.0 if (left == right).all() else float("inf")
    gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
    return float("inf") if np.isnan(gap).any() else float(gap.max(initial=0.0))
