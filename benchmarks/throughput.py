"""Measures the distillation of DistilBERT in one process on the CPU: tokens per second, and part of the peak.

    python benchmarks/throughput.py [--backends pt tf flax] [--tokens 128 512] [--rounds 5] [--json FILE]

For each backend and length of rows, five contestants take turns (contests.py): the teacher alone (BERT base: 12
layers), the student alone (DistilBERT base: 6 layers; losses, gradients and AdamW, with given outputs of the teacher),
both together, a product of two large matrices in float32, whose speed is the peak, and twice an array of the size of
the logits, for the bandwidth of the memory. The models have the head for masked tokens and compare the logits of all
tokens, as in DistilBERT's own training. Weights are random.

The operations are those of scaling.py: products only, and backwards twice as many as forwards. Then the work of the
host is measured: reading the records of token shards, and masking.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import SIZES, Contest, Measured, Spread, add_output_arguments, as_result, made_up_texts, speeds, write
from scaling import HEAD, flops_per_token
from worker import Contestant, Repetition, timed

from distilbert_core import DistilBertConfig, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint

PEAK, MEMORY, PARTS = "product", "memory", ("teacher", "student", "together")
PEAK_SIZE, TINY_PEAK_SIZE = 4096, 256
MASKED = 0.15
HOST_ROWS = 2000
COLUMNS = {
    "tokens_per_second": "tokens/s",
    "gflops": "GFLOP/s",
    "of_the_peak": "of the product's speed",
    "gigabytes_per_second": "GB/s",
}
NEEDS = {
    "pt": ("distilbert_pt", "torch"),
    "tf": ("distilbert_tf", "tensorflow", "keras"),
    "flax": ("distilbert_flax", "jax", "flax"),
}


# -- the contestants ----------------------------------------------------------------------------------------------


def basic(job: dict[str, Any], backend: str, part: str) -> Repetition:
    """Return a product of two large matrices in float32, or twice an array of the size of the logits."""
    shape = (job["peak"], job["peak"]) if part == PEAK else job["logits"]
    array: Any = np.random.default_rng(0).standard_normal(shape, np.float32)
    if backend == "pt":
        import torch

        array = torch.from_numpy(array)
    elif backend == "tf":
        import tensorflow as tf

        array = tf.constant(array)

    def compute(x: Any) -> Any:
        return x @ x if part == PEAK else x * 2

    if backend == "flax":
        import jax

        array, compute = jax.numpy.asarray(array), jax.jit(compute)
    return lambda: float(compute(array)[0, 0])


def distillation(job: dict[str, Any], backend: str, part: str) -> Repetition:
    """Return the teacher's outputs for a batch, the student's step with given outputs of the teacher, or both."""
    from distilbert_core.training.distillation import DistillationRecipe, load_distiller

    recipe = DistillationRecipe(learning_rate=1e-5, schedule="constant", warmup=0)
    rates = recipe.learning_rates(1_000_000)
    trainer = load_distiller(backend, HEAD, job["student"], job["teacher"], recipe, rates)
    engine, batch, steps = trainer.engine, dict(np.load(job["batch.npz"])), itertools.count()
    objective: Any = engine.objective
    packed = objective.pack(batch, HEAD, engine.inference.pack, engine.sizes)
    if part == "teacher":
        return lambda: np.asarray(objective.complete({0: packed}, engine.compute)[0]["teacher_hidden"])[0, 0]
    if part == "student":
        complete = objective.complete({0: packed}, engine.compute)
        objective.complete = lambda *_: complete
    return lambda: trainer.step(batch, next(steps))


GROUPS = {
    backend: {
        f"{part} {backend}": Contestant(partial(start, backend=backend, part=part), needs)
        for start, parts in ((basic, (PEAK, MEMORY)), (distillation, PARTS))
        for part in parts
    }
    for backend, needs in NEEDS.items()
}
CONTESTANTS = {name: contestant for group in GROUPS.values() for name, contestant in group.items()}


# -- the contest --------------------------------------------------------------------------------------------------


def write_models(folder: Path, size: str) -> dict[str, DistilBertConfig]:
    """Write a teacher, and a student with half of its layers, with random weights; return their configurations."""
    student = DistilBertConfig(**SIZES[size])
    configs = {"teacher": student.updated(n_layers=2 * student.n_layers), "student": student}
    rng = np.random.default_rng(0)
    for name, config in configs.items():
        table = [parameter for parameter in parameter_table(config, HEAD) if parameter.tied_to is None]
        arrays = {p.name: rng.normal(0, config.initializer_range, p.shape).astype(np.float32) for p in table}
        save_checkpoint(folder / name, arrays, {"config.json": config.to_json_string().encode()})
    return configs


def write_batch(path: Path, vocab_size: int, rows: int, width: int) -> None:
    """Write a batch of rows without padding, with random tokens and labels."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, vocab_size, (rows, width))
    np.savez(path, input_ids=ids, labels=np.where(rng.random(ids.shape) < MASKED, ids, -100))


def operations(configs: Mapping[str, DistilBertConfig], tokens: int, width: int, peak: int) -> dict[str, float]:
    """Return the floating-point operations of a repetition of each contestant; for the memory, bytes.

    Args:
        configs: Those of teacher and student.
        tokens: Tokens of a step.
        width: Tokens of a row.
        peak: Size of the matrices of the product.
    """
    teacher, student = (flops_per_token(configs[name], HEAD, width) * tokens for name in ("teacher", "student"))
    logits = 4 * tokens * configs["student"].vocab_size
    work = {"teacher": teacher, "student": 3 * student, "together": teacher + 3 * student}
    return {PEAK: 2.0 * peak**3, MEMORY: 2.0 * logits, **work}


def rates(one: Measured, peak: Measured, work: Mapping[str, float], tokens: int) -> dict[str, Spread]:
    """Return GB/s of the memory; or tokens/s, GFLOP/s, and the part of the peak, round by round."""
    name = one.name.split()[0]
    if name == MEMORY:
        return {"gigabytes_per_second": speeds(one, work[MEMORY] / 1e9)}
    own, most = work[name], work[PEAK]
    shares = [own / mine * of_peak / most for mine, of_peak in zip(one.seconds, peak.seconds, strict=True)]
    spreads = {"gflops": speeds(one, own / 1e9), "of_the_peak": Spread.of(shares)}
    return spreads if name == PEAK else {"tokens_per_second": speeds(one, tokens), **spreads}


def host_work(folder: Path, width: int, rows: int, repetitions: int) -> Spread:
    """Return the nanoseconds in which the records of a token are read and masked, as a run does before each step.

    Args:
        folder: Folder for the token shards.
        width: Tokens of a row.
        rows: Rows of a step.
        repetitions: Number of measurements.
    """
    from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast
    from distilbert_core.training import prepare
    from distilbert_core.training.distillation import DistillationRecipe
    from distilbert_core.training.distillation.texts import PackedMaskedLM

    rng = np.random.default_rng(0)
    texts = [{"text": text} for text in made_up_texts(rng, [width] * rows)]
    shards = prepare("masked-lm", texts, model=DEFAULT_MODEL, output=folder, purpose="distill", max_length=width)
    features, config = shards.features(), DistilBertConfig.from_pretrained(DEFAULT_MODEL)
    tokenizer, recipe = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL), DistillationRecipe(max_length=width)
    task = PackedMaskedLM(tokenizer, config, recipe)
    task.fit(features)
    order = rng.permutation(len(features))
    seconds = [timed(lambda: task.training_batch(features.select(order), [0]))[0] for _ in range(repetitions + 1)]
    return Spread.of([one * 1e9 / features.tokens for one in seconds[1:]])


def in_words(spread: Spread) -> str:
    """Return the median, and the smallest to the largest."""
    if spread.largest < 10:
        return str(spread)
    return f"{spread.median:,.0f} ({spread.smallest:,.0f} to {spread.largest:,.0f})"


def main(words: Sequence[str] | None = None) -> None:
    """Measure the selected backends and lengths of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument("--tokens", nargs="+", type=int, default=[128, 512], help="lengths of rows (default: 128 512)")
    parser.add_argument("--batch", type=int, default=1024, help="tokens of a step (default: %(default)s)")
    parser.add_argument("--size", choices=SIZES, default="base", help="size of the models (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="minimum duration of a turn (default: %(default)s)")
    add_output_arguments(parser, plot=False)
    arguments = parser.parse_args(words)
    tiny = arguments.size == "tiny"
    peak_size = TINY_PEAK_SIZE if tiny else PEAK_SIZE
    contest = Contest(__file__, CONTESTANTS, {}, arguments.threads, arguments.rounds, arguments.seconds)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configs = write_models(folder, arguments.size)
        job: dict[str, Any] = {key: str(folder / key) for key in ("teacher", "student", "batch.npz")}
        job["peak"] = peak_size
        print(f"| | rows of | {' | '.join(COLUMNS.values())} |\n|{' --- |' * (2 + len(COLUMNS))}")
        for backend, width in itertools.product(arguments.backends, arguments.tokens):
            rows = max(arguments.batch // width, 1)
            job["logits"] = (rows * width, configs["student"].vocab_size)
            write_batch(folder / "batch.npz", configs["student"].vocab_size, rows, width)
            work = operations(configs, rows * width, width, peak_size)
            peak, *others = contest.run(list(GROUPS[backend]), job)
            for one in (peak, *others):
                result = {"width": width, **as_result(one, [], 1)}
                if one.problem is not None or peak.problem is not None:
                    print(f"| {one.name} | {width} | {one.problem or peak.problem} |{' |' * (len(COLUMNS) - 1)}")
                else:
                    spreads = rates(one, peak, work, rows * width)
                    cells = [in_words(spreads[key]) if key in spreads else "" for key in COLUMNS]
                    print(f"| {one.name} | {width} | {' | '.join(cells)} |", flush=True)
                    result |= spreads
                results.append(result)
            write(arguments, results)
        width, rows = max(arguments.tokens), 16 if tiny else HOST_ROWS
        host = host_work(folder / "shards", width, rows, arguments.rounds)
        print(f"\nThe host reads and masks a token in {in_words(host)} ns, in batches of {rows} rows of {width}.")
        write(arguments, [*results, {"name": "host", "width": width, "ns_per_token": host}])


if __name__ == "__main__":
    main()
