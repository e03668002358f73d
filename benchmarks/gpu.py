"""Measures our models and Transformers 5 on one GPU: batches of texts, and steps of training.

    pip install -e ".[pt]" "transformers>=5" && python benchmarks/gpu.py
        [--backends pt flax] [--rows 128 512 real training] [--minutes 8] [--dtype bfloat16] [--json FILE] [--png FILE]
    python benchmarks/gpu.py --device cpu --tiny     # does it run? Its figures mean nothing

The model is a classifier of base size with random weights. Rows of the table: texts of 128 tokens, texts of 512 tokens,
texts with the lengths of English sentences (padded to 128 for Transformers), and steps of training on such texts, with
dropout of attention weights and without it: PyTorch's kernel for texts of different lengths has no dropout.

First, all contestants compute the same texts. If their logits differ, or if a text changes the logits of its neighbour
in a packed row by a single bit, the benchmark stops. Then the contestants take turns in one process; a ratio compares
two turns of the same round. The output shows the median (smallest to largest) over the rounds: sequences per second,
tokens per second without padding, TFLOP/s, and their share of the ceiling: a product of two large matrices of the same
dtype, measured in the same rounds. The memory is what the first repetition takes in PyTorch. The TFLOP are those that a
contestant computes: with padding for Transformers, without it for ours, and our last block computes the first token of
each text only.

"ours" begins with token ids in NumPy and ends with logits in NumPy. Inputs of the contestants "packed before" and of
Transformers are ready on the GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    SIZES,
    Measured,
    Spread,
    as_result,
    bars_of,
    draw,
    english_lengths,
    report,
    speeds,
    write,
    write_model,
)

Run = Callable[[], Any]  # starts the work once; its result is a tensor or an array, perhaps not yet computed

PADDED_TO = 128
TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.15}  # of logits, as a part of the largest one
STEP = 3  # a step of training computes the forward pass, and twice as much backwards
RATE = 5e-5
CHECKED = 12  # texts whose logits are compared


@dataclass(frozen=True)
class Job:
    """The work of all contestants in a row of the table.

    Attributes:
        title: Title of the table.
        folder: The checkpoint.
        ids: [B, T] token ids, 0 for padding.
        lengths: [B] number of tokens of each text.
        device: 'cuda' or 'cpu'.
        dtype: Dtype of the products.
        training: Whether the work is a step of training.
    """

    title: str
    folder: Path
    ids: np.ndarray
    lengths: np.ndarray
    device: str
    dtype: str
    training: bool = False

    @property
    def mask(self) -> np.ndarray:
        """[B, T]: 1 for tokens and 0 for padding."""
        return (np.arange(self.ids.shape[1]) < self.lengths[:, None]).astype(np.int64)

    @property
    def labels(self) -> np.ndarray:
        """[B] classes."""
        return self.ids[:, 0] % 2

    def part(self, texts: slice) -> Job:
        """Return the same work on some of the texts."""
        return Job(self.title, self.folder, self.ids[texts], self.lengths[texts], self.device, self.dtype)


def make_job(row: str, folders: Mapping[str, Path], tokens: int, vocabulary: int, device: str, dtype: str) -> Job:
    """Return the work of a row.

    Args:
        row: '128', '512', 'real', 'training', or 'training-without'.
        folders: The checkpoints: 'model', and 'without' dropout of attention weights.
        tokens: Approximate number of tokens of a batch.
        vocabulary: Ids are below this number.
        device: 'cuda' or 'cpu'.
        dtype: Dtype of the products.
    """
    rng = np.random.default_rng(0)
    if row.isdigit():
        lengths = np.full(max(tokens // int(row), 2), int(row))
        title = f"{len(lengths)} texts of {row} tokens"
    else:
        lengths = english_lengths(rng, max(tokens // 32, CHECKED), PADDED_TO)
        title = f"{len(lengths)} texts with the lengths of English sentences, {lengths.sum()} tokens"
    width = int(row) if row.isdigit() else PADDED_TO
    ids = rng.integers(min(1000, vocabulary // 2), vocabulary, (len(lengths), width))
    ids = np.where(np.arange(width) < lengths[:, None], ids, 0)
    if row.startswith("training"):
        how = "without dropout of attention weights" if row != "training" else "with dropout of attention weights"
        title = f"a step of training {how}, {title}"
        return Job(title, folders["model" if row == "training" else "without"], ids, lengths, device, dtype, True)
    return Job(title, folders["model"], ids, lengths, device, dtype)


def flops(job: Job, config: Any, padded: bool) -> float:
    """Return the number of floating-point operations of a repetition of a job.

    Args:
        job: The work.
        config: The architecture.
        padded: Whether padding is computed, and all tokens in the last block; without it, its first tokens only.
    """
    dim, hidden, layers = config.dim, config.hidden_dim, config.n_layers
    lengths = np.full(len(job.lengths), job.ids.shape[1]) if padded else job.lengths
    queries = lengths if padded else np.ones_like(lengths)

    def block(outputs: np.ndarray) -> float:
        dense = 4 * dim**2 * lengths.sum() + (4 * dim**2 + 4 * dim * hidden) * outputs.sum()
        return float(dense + 4 * dim * (outputs * lengths).sum())

    total = (layers - 1) * block(lengths) + block(queries)
    return total * STEP if job.training else total


# -- contestants --------------------------------------------------------------------------------------------------


def ours(backend: str, job: Job, how: str = "") -> Run:
    """Return the work of our model in a backend: from NumPy to NumPy, 'packed before', or 'compiled'."""
    from distilbert_core import Head
    from distilbert_core.model.backends import get_backend
    from distilbert_core.model.packing import Ragged

    if job.training:
        return our_training(backend, job)
    options = {"device": job.device} if backend == "pt" else {}
    runner = get_backend(backend).runner.load(Head.SEQUENCE_CLASSIFICATION, job.folder, dtype=job.dtype, **options)
    texts = Ragged.from_padded(job.ids, job.mask != 0)
    if not how:
        return lambda: runner.run_ragged(texts)["logits"]
    packing = runner.pack(texts.lengths)
    output_tokens, indices = packing.select(texts.first_tokens)
    rows = {**packing.rows(texts), "output_tokens": output_tokens}
    if how == "compiled":
        runner.compile()
    if how == "compiled" or backend != "pt":
        return lambda: runner.run_packed(rows).reshape(-1, 2)[indices]

    import torch

    from distilbert_pt.tensors import ON_HOST

    arguments = runner._tensors(rows, ON_HOST)
    chosen = torch.from_numpy(indices).to(job.device)

    @torch.inference_mode()
    def run() -> Any:
        return runner.model.packed_outputs(**arguments).flatten(0, 1)[chosen]

    return run


def our_training(backend: str, job: Job) -> Run:
    """Return a step of our trainer on a batch in NumPy."""
    from distilbert_core import Head
    from distilbert_core.training import Recipe, load_trainer

    recipe = Recipe(learning_rate=RATE, dtype="bfloat16" if job.dtype == "bfloat16" else "float32")
    rates, options = np.full(1_000_000, RATE), {"device": job.device} if backend == "pt" else {}
    trainer = load_trainer(backend, Head.SEQUENCE_CLASSIFICATION, job.folder, recipe, rates, **options)
    batch = {"input_ids": job.ids, "attention_mask": job.mask, "labels": job.labels}
    steps = itertools.count()
    return lambda: np.array(trainer.step(batch, next(steps)))


def transformers(attention: str, job: Job) -> Run:
    """Return the work of Transformers 5, with inputs on the device; without a mask if there is no padding."""
    import torch
    from transformers import DistilBertForSequenceClassification

    dtype = torch.float32 if job.training else getattr(torch, job.dtype)
    model = DistilBertForSequenceClassification.from_pretrained(
        job.folder, attn_implementation=attention, dtype=dtype
    ).to(job.device)
    inputs = {"input_ids": torch.from_numpy(job.ids).to(job.device)}
    if not job.mask.all():
        inputs["attention_mask"] = torch.from_numpy(job.mask).to(job.device)
    if not job.training:
        model.eval()

        @torch.inference_mode()
        def run() -> Any:
            return model(**inputs).logits

        return run
    model.train()
    inputs["labels"] = torch.from_numpy(job.labels).to(job.device)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, fused=job.device == "cuda")

    def step() -> Any:
        optimizer.zero_grad()
        with torch.autocast(job.device, torch.bfloat16, enabled=job.dtype == "bfloat16"):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def contestants(backends: Sequence[str], job: Job) -> dict[str, Callable[[Job], Run]]:
    """Return the contestants of a job by name; names of ours begin with 'ours'."""
    table: dict[str, Callable[[Job], Run]] = {}
    for backend in backends:
        table[f"ours {backend}"] = lambda job, backend=backend: ours(backend, job)
        if not job.training:
            table[f"ours {backend}, packed before"] = lambda job, backend=backend: ours(backend, job, "packed before")
    if "pt" in backends and job.device == "cuda" and not job.training:
        table["ours pt, compiled"] = lambda job: ours("pt", job, "compiled")
    if importlib.util.find_spec("transformers"):
        table["Transformers, sdpa"] = lambda job: transformers("sdpa", job)
        if importlib.util.find_spec("flash_attn") and job.device == "cuda":
            table["Transformers, flash_attention_2"] = lambda job: transformers("flash_attention_2", job)
    return table


# -- measuring ----------------------------------------------------------------------------------------------------


def wait(result: Any) -> np.ndarray:
    """Wait for a result, and return its numbers."""
    return np.asarray(result.detach().float().cpu() if hasattr(result, "detach") else result, np.float32)


def turn(run: Run, repetitions: int) -> float:
    """Return the seconds of a repetition: all are started, then the last one is waited for."""
    start = time.perf_counter()
    for _ in range(repetitions):
        result = run()
    wait(result)
    return (time.perf_counter() - start) / repetitions


@cache
def ceiling(device: str, dtype: str, size: int, jax_only: bool) -> tuple[Run, float]:
    """Return a product of two large matrices, and its number of operations."""
    if jax_only:
        import jax
        import jax.numpy as jnp

        a = jax.random.normal(jax.random.key(0), (size, size)).astype(jnp.dtype(dtype))
        product = jax.jit(jnp.matmul)
        return lambda: product(a, a)[0], 2.0 * size**3

    import torch

    matrix = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    return lambda: (matrix @ matrix)[0], 2.0 * size**3


def compare(runs: Mapping[str, Run], dtype: str) -> float:
    """Return the largest difference of logits between contestants, as a part of the largest logit, or exit."""
    logits = {name: wait(run()) for name, run in runs.items()}
    first, *others = logits.values()
    scale = float(np.abs(first).max())
    worst = max((float(np.abs(other - first).max()) for other in others), default=0.0) / scale
    if not worst <= TOLERANCE[dtype]:
        raise SystemExit(f"not the same model: logits differ by {worst:.1e} of the largest; they are {logits}")
    return worst


def check_neighbours(run_of: Callable[[Job], Run], job: Job, name: str) -> None:
    """Exit if another text in place of one changes the logits of the texts beside it."""
    ids = job.ids.copy()
    ids[1, : job.lengths[1]] = ids[1, : job.lengths[1]][::-1] // 2 + 1
    changed = Job(job.title, job.folder, ids, job.lengths, job.device, job.dtype)
    before, after = wait(run_of(job)()), wait(run_of(changed)())
    others = np.arange(len(ids)) != 1
    if not np.array_equal(before[others], after[others]) or np.array_equal(before[1], after[1]):
        raise SystemExit(f"{name}: a text reads its neighbour: {before} became {after}")


def measure(
    runs: Mapping[str, Run], product: Run, rounds: int, seconds: float, deadline: float
) -> tuple[list[Measured], list[float]]:
    """Let contestants take turns until the deadline, at least once; return them, and the seconds of the product."""
    measured, repetitions = [], []
    for name, run in (*runs.items(), ("product", product)):
        one = Measured(name)
        try:
            with Memory() as memory:
                one.first = turn(run, 1)
            one.peak = memory.used
            once = turn(run, 2)
        except Exception as error:  # the others go on: a contestant may lack memory or a kernel
            one.problem, once = f"failed: {type(error).__name__}: {str(error)[:160]}", 1.0
        measured.append(one)
        repetitions.append(min(max(round(seconds / once), 1), 1000))
    for index in range(rounds):
        if index and time.monotonic() > deadline:
            break
        for one, count, run in zip(measured, repetitions, (*runs.values(), product), strict=True):
            if one.problem is None:
                one.seconds.append(turn(run, count))
    *contest, ceiling_of_rounds = measured
    return contest, ceiling_of_rounds.seconds


class Memory:
    """Context manager: `used` is the memory that PyTorch took on the GPU meanwhile, at most; 0 without a GPU."""

    used = 0

    def __enter__(self) -> Memory:
        torch = sys.modules.get("torch")
        self.cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if self.cuda is not None:
            self.before = self.cuda.memory_allocated()
            self.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cuda is not None:
            self.used = self.cuda.max_memory_allocated() - self.before


def columns(
    job: Job, config: Any, measured: Sequence[Measured], product: Sequence[float], operations: float
) -> dict[str, dict[str, Any]]:
    """Return tokens per second, TFLOP/s and the share of the ceiling: title -> contestant -> spread."""
    table: dict[str, dict[str, Any]] = {"tokens/s": {}, "TFLOP/s": {}, "of the ceiling": {}}
    for one in measured:
        if one.problem is None:
            work = flops(job, config, padded=not one.name.startswith("ours"))
            table["tokens/s"][one.name] = speeds(one, float(job.lengths.sum()))
            table["TFLOP/s"][one.name] = speeds(one, work / 1e12)
            shares = [work / own / (operations / other) for own, other in zip(one.seconds, product, strict=False)]
            table["of the ceiling"][one.name] = Spread.of(shares)
    return table


def in_words(title: str, spread: Spread) -> str:
    """Return the text of a cell."""
    return f"{spread.median:.0%}" if title == "of the ceiling" else f"{spread.median:.4g}"


def prepared(
    table: Mapping[str, Callable[[Job], Run]], job: Job, measured: list[Measured]
) -> Iterator[tuple[str, Run]]:
    """Yield the work of each contestant that can be loaded; note the problems of the others."""
    for name, start in table.items():
        try:
            yield name, start(job)
        except Exception as error:  # such as a kernel that does not run on this GPU
            measured.append(Measured(name, problem=f"failed: {type(error).__name__}: {str(error)[:160]}"))


def main(words: Sequence[str] | None = None) -> None:
    """Check and measure the selected backends."""
    rows = ["128", "512", "real", "training", "training-without"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=("pt", "flax"), default=["pt"])
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=TOLERANCE, help="default: bfloat16, and float32 on the CPU")
    parser.add_argument("--tokens", type=int, default=65536, help="tokens of a batch (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each contestant, at most (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="duration of a turn (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=8, help="end the rounds after this time (default: %(default)s)"
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model, small batches and two rounds: a test")
    parser.add_argument("--ours-only", action="store_true", help="leave Transformers out")
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    parser.add_argument("--png", type=Path, help="also plot them")
    arguments = parser.parse_args(words)
    start = time.monotonic()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the GPU too
    if arguments.device == "cpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")
    arguments.dtype = arguments.dtype or ("bfloat16" if arguments.device == "cuda" else "float32")
    if arguments.tiny:
        arguments.tokens, arguments.rounds, arguments.seconds = 256, 2, 0.0
    from distilbert_core import DistilBertConfig

    results: list[dict[str, Any]] = []
    panels: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {"model": Path(name, "model"), "without": Path(name, "without")}
        size = "tiny" if arguments.tiny else "base"
        write_model(folders["model"], size)
        write_model(folders["without"], size, attention_dropout=0.0)
        config = DistilBertConfig(**SIZES[size])
        product, operations = ceiling(
            arguments.device, arguments.dtype, 256 if arguments.tiny else 8192, arguments.backends == ["flax"]
        )
        for index, row in enumerate(arguments.rows):
            job = make_job(row, folders, arguments.tokens, config.vocab_size, arguments.device, arguments.dtype)
            table = contestants(arguments.backends, job)
            if arguments.device == "cuda":
                forget_compiled()
            if arguments.ours_only:
                table = {one: start for one, start in table.items() if one.startswith("ours")}
            problems: list[Measured] = []
            runs = dict(prepared(table, job, problems))
            if not job.training:
                few = job.part(slice(CHECKED))
                for one in (one for one in runs if one.startswith("ours")):
                    check_neighbours(table[one], few, one)
                worst = compare({one: table[one](few) for one in runs}, arguments.dtype)
                print(
                    f"\n{len(runs)} contestants agree to {worst:.1e} of the largest logit; no text reads its neighbour."
                )
            deadline = start + arguments.minutes * 60 * (index + 1) / len(arguments.rows)
            measured, ceilings = measure(runs, product, arguments.rounds, arguments.seconds, deadline)
            measured += problems
            more = columns(job, config, measured, ceilings, operations)
            texts = {title: {n: in_words(title, s) for n, s in cells.items()} for title, cells in more.items()}
            peak = Spread.of([operations / seconds / 1e12 for seconds in ceilings])
            report(f"{job.title}; the ceiling is {peak} TFLOP/s", "sequences", len(job.lengths), measured, texts)
            for one in measured:
                spreads = {title: cells[one.name] for title, cells in more.items() if one.name in cells}
                result = as_result(one, [other for other in measured if other.problem is None], len(job.lengths))
                results.append({"row": row, "ceiling TFLOP/s": peak, **result, **spreads})
            panels[job.title] = bars_of(measured, len(job.lengths))
            write(arguments, [{"gpu": gpu_name(arguments.device)}, *results])
            draw(arguments.png, panels, "sequences")


def forget_compiled() -> None:
    """Forget what was compiled for another row of the table: beyond a number of shapes, PyTorch compiles no more."""
    if "torch" in sys.modules:
        sys.modules["torch"].compiler.reset()


def gpu_name(device: str) -> str:
    """Return the name of the GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and device == "cuda" else device


if __name__ == "__main__":
    main()
