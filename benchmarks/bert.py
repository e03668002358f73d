"""Compares BERT-base with DistilBERT-base: parameters, bytes of the file, and the speed of inference on a CPU.

    pip install "transformers>=5" && python benchmarks/bert.py [--frameworks pt tf flax] [--batches 1 32] [--rounds 7]
        [--json FILE] [--png FILE]

BERT is Transformers' `BertModel` with random weights. `distilbert student` makes two of our models of it: one with all
12 layers, which computes the same as BERT, and DistilBERT with the layers 0, 2, 4, 7, 9 and 11. Each framework runs
both, and PyTorch also Transformers' two models. They return the hidden states of all tokens of texts of 128 tokens
without padding, and take turns (contests.py): a ratio compares two turns of the same round.

First, models with the same number of layers must compute the same hidden states, otherwise the benchmark stops.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    SIZES,
    Contest,
    Measured,
    Spread,
    add_arguments,
    as_result,
    bars_of,
    contest_of,
    draw,
    ratio_of_speeds,
    speeds,
    write,
)
from worker import Contestant, Repetition

TOKENS = 128
TOLERANCE = 1e-3  # of hidden states, which have a standard deviation of 1
UNIT = "sequences"
BERT, DISTILBERT = "BERT", "DistilBERT"
KEPT = (0, 2, 4, 7, 9, 11)  # of 12 layers


# -- the contestants: each loads the model in job["folder"] / NAME and returns the states of first tokens [B, D] ---


def ours(job: dict[str, Any], backend: str, name: str) -> Repetition:
    """Our inference object, NumPy in and NumPy out."""
    from distilbert_core import Head
    from distilbert_core.model.loading import load_inference

    model = load_inference(backend, Head.BASE, Path(job["folder"], f"ours-{name}"))
    ids = np.load(job["ids"])
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return lambda: model(**arrays)["last_hidden_state"][:, 0]


def transformers(job: dict[str, Any], name: str) -> Repetition:
    """Transformers 5 in PyTorch, with its default attention (sdpa), and without a mask."""
    import torch
    from transformers import BertModel, DistilBertModel

    if name == BERT:
        model = BertModel.from_pretrained(Path(job["folder"], "bert"))
    else:
        model = DistilBertModel.from_pretrained(Path(job["folder"], f"ours-{name}"))
    ids = torch.from_numpy(np.load(job["ids"]))
    call = torch.inference_mode()(model.eval())
    return lambda: call(input_ids=ids).last_hidden_state[:, 0].numpy()


NEEDS = {
    "pt": ("distilbert_pt", "torch"),
    "tf": ("distilbert_tf", "tensorflow", "keras"),
    "flax": ("distilbert_flax", "jax", "flax"),
}
ENVIRONMENTS = ("ours",)
PEER = "Transformers 5"
PAIRS: dict[str, dict[str, dict[str, Contestant]]] = {  # framework -> who -> BERT and DistilBERT
    backend: {
        f"ours {backend}": {n: Contestant(partial(ours, backend=backend, name=n), needs) for n in (BERT, DISTILBERT)}
    }
    for backend, needs in NEEDS.items()
}
PAIRS["pt"][PEER] = {
    name: Contestant(partial(transformers, name=name), ("transformers 5", "torch")) for name in (BERT, DISTILBERT)
}
CONTESTANTS = {
    f"{who}, {name}": contestant
    for pairs in PAIRS.values()
    for who, pair in pairs.items()
    for name, contestant in pair.items()
}


# -- the contest --------------------------------------------------------------------------------------------------


def prepare(folder: Path, size: str) -> None:
    """Write BERT, our model with all of its layers, and DistilBERT."""
    import torch
    from transformers import BertConfig, BertModel

    from distilbert_core import DistilBertConfig, Head
    from weight_conversion import make_student

    config = DistilBertConfig(**SIZES[size])
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.hidden_dim,
        num_attention_heads=config.n_heads,
        initializer_range=config.initializer_range,
    )
    BertModel(bert).save_pretrained(folder / "bert")
    for name, layers in ((BERT, range(12)), (DISTILBERT, KEPT)):
        make_student(folder / "bert", folder / f"ours-{name}", layers=layers, head=Head.BASE)


def sizes(folder: Path) -> tuple[int, int]:
    """Return the number of parameters in model.safetensors of a folder, and the bytes of the file."""
    from safetensors import safe_open

    path = folder / "model.safetensors"
    with safe_open(path, "np") as file:
        count = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count, path.stat().st_size


def check(measured: Sequence[Measured]) -> None:
    """Exit if models with the same number of layers compute other hidden states, or all models the same."""
    states = {one.name: np.asarray(one.values[-1]) for one in measured if one.problem is None and one.values}
    for name in (BERT, DISTILBERT):
        same = [array for key, array in states.items() if key.endswith(f", {name}")]
        worst = float(np.max([np.abs(array - same[0]).max() for array in same], initial=0.0))  # NaN, if one is
        if not worst <= TOLERANCE:
            raise SystemExit(f"not the same model: hidden states of {name} differ by {worst:.1e}")
    differing = {key.rpartition(", ")[2]: array for key, array in states.items()}
    if len(differing) == 2 and np.abs(np.subtract(*differing.values())).max() <= TOLERANCE:
        raise SystemExit(f"{BERT} and {DISTILBERT} compute the same; one of them is another model")


def row_of(who: str, pair: Mapping[str, Measured], batch: int) -> str:
    """Return a row of the table: both speeds, and how many times as fast DistilBERT is."""
    problem = next((one.problem for one in pair.values() if one.problem is not None), None)
    if problem is not None:
        return f"| {who} | {batch} | {problem} | | |"
    cells = [f"{speeds(pair[name], batch).median:.4g}" for name in (BERT, DISTILBERT)]
    return f"| {who} | {batch} | {' | '.join(cells)} | {ratio_of_speeds(pair[DISTILBERT], pair[BERT])} |"


def compare(contest: Contest, backend: str, job: dict[str, Any]) -> dict[str, dict[str, Measured]]:
    """Let the contestants of a framework take turns, and return who -> BERT and DistilBERT -> measurements."""
    names = {(who, name): f"{who}, {name}" for who, pair in PAIRS[backend].items() for name in pair}
    measured = dict(zip(names, contest.run(list(names.values()), job), strict=True))
    check(list(measured.values()))
    return {who: {name: measured[who, name] for name in pair} for who, pair in PAIRS[backend].items()}


def as_results(pair: Mapping[str, Measured], batch: int) -> list[dict[str, Any]]:
    """Return the measurements of BERT and DistilBERT for JSON."""
    results = [{"batch": batch, **as_result(one, [], batch)} for one in pair.values()]
    if all(one.problem is None for one in pair.values()):
        results[-1]["times_as_fast_as_bert"] = ratio_of_speeds(pair[DISTILBERT], pair[BERT])
    return results


def main(words: Sequence[str] | None = None) -> None:
    """Print sizes and speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, ENVIRONMENTS, rounds=7)
    parser.add_argument("--frameworks", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32], help="texts of a batch (default: 1 32)")
    arguments = parser.parse_args(words)
    contest = contest_of(arguments, __file__, CONTESTANTS, ENVIRONMENTS)
    results: list[dict[str, Any]] = []
    panels: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.size)
        measured = {model: sizes(folder / path) for model, path in ((BERT, "bert"), (DISTILBERT, f"ours-{DISTILBERT}"))}
        print("| | parameters | model.safetensors |\n| --- | --- | --- |")
        for model, (count, size) in measured.items():
            print(f"| {model} | {count / 1e6:.1f} M | {size / 1e6:.0f} MB |")
            results.append({"name": model, "parameters": count, "bytes": size})
        parameters, file = (1 - ours / theirs for theirs, ours in zip(*measured.values(), strict=True))
        print(f"\n{DISTILBERT} has {parameters:.1%} fewer parameters, and its file is {file:.1%} smaller.")
        print(f"\n| {UNIT}/s | batch | {BERT} | {DISTILBERT} | times as fast |\n| --- | --- | --- | --- | --- |")
        job = {"folder": name, "ids": str(folder / "ids.npy")}
        for backend, batch in itertools.product(arguments.frameworks, arguments.batches):
            np.save(job["ids"], np.random.default_rng(0).integers(1000, 30000, (batch, TOKENS)))
            for who, pair in compare(contest, backend, job).items():
                print(row_of(who, pair, batch), flush=True)
                results += as_results(pair, batch)
                panels.setdefault(f"batches of {batch}", {}).update(bars_of(list(pair.values()), batch))
            write(arguments, results)
            draw(arguments.png, panels, UNIT)


if __name__ == "__main__":
    main()
