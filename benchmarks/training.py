"""Compares the speed of fine-tuning: our models, and Transformers' model in the same framework.

    python benchmarks/training.py [--python peers=PYTHON] [--python transformers4=PYTHON] [--frameworks pt tf flax]
        [--contests peers loops] [--texts FILE] [--rounds 5] [--json FILE] [--png FILE]

The model is a classifier of base size with random weights. The optimizer is AdamW with clipping. The batches have 32
texts of at most 128 tokens, and all contestants get the same few batches in a turn. The output shows steps per second,
and ratios of ours to the others: the median (smallest to largest) over the rounds. There are two contests:

* `peers`. For Transformers, batches are padded to 128 tokens, or to the longest text of the batch. Ours runs on the
  same batches, and once more in the order of `finetune`, which puts rows of similar length together.
* `loops`. Our model in a user's own loop: a DataLoader in PyTorch, `model.fit` in Keras, and `nnx.jit` in Flax. The
  batches are packed, padded to 128 tokens, or padded to the longest text, and beside them is the engine of `finetune`.

First, all contestants take a step without dropout on the first batch. If the losses after it differ, a contestant
trains something else, and the benchmark stops.

The environments are those of inference.py: `peers` needs torch and transformers 5, `transformers4` needs TensorFlow and
Flax.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    Measured,
    Spread,
    add_arguments,
    as_result,
    bars_of,
    contest_of,
    draw,
    english_lengths,
    ratio_of_speeds,
    report,
    write,
    write_model,
)
from worker import Contestant, Repetition

TOLERANCE = 1e-3  # of the loss after a step
CHECKED = 4  # rows of this step
TOKENS = 128
UNIT = "steps"
RATE, DECAY, MAX_NORM, BETAS, EPSILON = 5e-5, 0.01, 1.0, (0.9, 0.999), 1e-8

PACKED, FULL, LONGEST = "packed", f"padded to {TOKENS}", "padded to the longest"  # batches in a user's own loop
TARGETS = {FULL: 2.5, LONGEST: 1.5, "": 0.9}  # of the packed loop, beside the engine of `finetune` in the last one

Batch = dict[str, np.ndarray]
Step = Callable[[Batch], Any]  # takes a step on a batch and returns its loss


# -- data: rows of token ids, their lengths and labels ------------------------------------------------------------


def make_rows(count: int, texts: Path | None) -> Batch:
    """Return random rows with the lengths of English sentences, or the rows of a file with one text per line."""
    rng = np.random.default_rng(0)
    if texts is None:
        ids, lengths = rng.integers(1000, 30000, (count, TOKENS)), english_lengths(rng, count, TOKENS)
    else:
        from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast

        tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
        with texts.open(encoding="utf-8") as lines:
            some = list(itertools.islice(lines, count))
        if len(some) < count:
            raise SystemExit(f"{texts} has {len(some)} lines, but {count} are needed; give a longer file")
        encoding = tokenizer(some, truncation=True, max_length=TOKENS, padding="max_length", return_tensors="np")
        ids, lengths = encoding["input_ids"], encoding["attention_mask"].sum(axis=1)
    ids = np.where(np.arange(TOKENS) < lengths[:, None], ids, 0)
    return {"ids": ids, "lengths": lengths, "labels": rng.integers(0, 2, count)}


def batch_of(rows: Batch, chosen: Sequence[int] | slice, tokens: int | None) -> Batch:
    """Return rows as a batch, padded to `tokens` tokens, or to the longest row."""
    lengths = rows["lengths"][chosen]
    width = tokens or lengths.max()
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)  # [B, T]
    return {"input_ids": rows["ids"][chosen, :width], "attention_mask": mask, "labels": rows["labels"][chosen]}


def examples(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the job as a data set has them: ids without padding, and a label."""
    rows = dict(np.load(job["data"]))
    return [
        {"input_ids": ids[:length].tolist(), "label": int(label)}
        for ids, length, label in zip(rows["ids"], rows["lengths"], rows["labels"], strict=True)
    ]


def padded_by(job: dict[str, Any], padding: str, return_tensors: str) -> Any:
    """Return our collator that pads rows to a number of tokens, or to the longest row."""
    from distilbert_core import DistilBertTokenizerFast
    from distilbert_core.tokenization.collators import DataCollatorWithPadding

    tokenizer = DistilBertTokenizerFast.from_pretrained(job["folder"])
    options = {} if padding == LONGEST else {"padding": "max_length", "max_length": TOKENS}
    return DataCollatorWithPadding(tokenizer, return_tensors=return_tensors, **options)


def in_order(step: Step, job: dict[str, Any], tokens: int | None) -> Repetition:
    """Return a repetition that takes a step on each batch of the job, in order, and returns the losses."""
    rows, size = dict(np.load(job["data"])), job["batch"]
    starts = range(0, len(rows["ids"]), size)
    return lambda: [float(step(batch_of(rows, slice(start, start + size), tokens))) for start in starts]


# -- the contestants: each trains the model in job["folder"] ------------------------------------------------------


def ours(job: dict[str, Any], backend: str, own_order: bool) -> Repetition:
    """Our trainer, without padding; with `own_order`, rows of similar length share a batch."""
    from distilbert_core import Head
    from distilbert_core.training import Recipe, load_trainer
    from distilbert_core.training.batches import training_order

    recipe = Recipe(
        learning_rate=RATE, weight_decay=DECAY, max_grad_norm=MAX_NORM, beta1=BETAS[0], beta2=BETAS[1], epsilon=EPSILON
    )
    numbers = itertools.count()
    trainer = load_trainer(backend, Head.SEQUENCE_CLASSIFICATION, job["folder"], recipe, np.full(1_000_000, RATE))

    def step(batch: Batch) -> float:
        return trainer.step(batch, next(numbers))

    if not own_order:
        return in_order(step, job, tokens=None)
    rows, size = dict(np.load(job["data"])), job["batch"]
    order: Iterator[list[int]] = training_order(rows["lengths"].tolist(), size, seed=0)
    steps = len(rows["ids"]) // size
    return lambda: [step(batch_of(rows, chosen, tokens=None)) for chosen in itertools.islice(order, steps)]


def transformers_torch(job: dict[str, Any], tokens: int | None) -> Repetition:
    """Transformers 5 in PyTorch."""
    import torch
    from transformers import DistilBertForSequenceClassification

    step = torch_step(DistilBertForSequenceClassification.from_pretrained(job["folder"]))
    return in_order(lambda batch: step({name: torch.from_numpy(array) for name, array in batch.items()}), job, tokens)


def torch_step(model: Any) -> Callable[[dict[str, Any]], float]:
    """Return a step of a loop in PyTorch, from the tensors of a batch to the loss."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, BETAS, EPSILON, DECAY)

    def step(batch: dict[str, Any]) -> float:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        return loss.item()

    return step


def loop_torch(job: dict[str, Any], batches: str) -> Repetition:
    """Our model in a loop over a DataLoader."""
    from torch.utils.data import DataLoader

    from distilbert_core.tokenization.collators import DataCollatorWithPacking
    from distilbert_pt import DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification.from_pretrained(job["folder"])
    collator = DataCollatorWithPacking(model) if batches == PACKED else padded_by(job, batches, "pt")
    loader, step = DataLoader(examples(job), job["batch"], collate_fn=collator), torch_step(model)
    return lambda: [step(batch) for batch in loader]


def transformers_tf(job: dict[str, Any], tokens: int | None) -> Repetition:
    """Transformers 4.53 in TensorFlow, as a graph."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from transformers import TFDistilBertForSequenceClassification

    model = TFDistilBertForSequenceClassification.from_pretrained(job["folder"])
    # Keras adds epsilon before the bias correction; this value equals PyTorch's in the step that is compared.
    epsilon = EPSILON * math.sqrt(1 - BETAS[1])
    optimizer = tf.keras.optimizers.AdamW(
        RATE, weight_decay=DECAY, beta_1=BETAS[0], beta_2=BETAS[1], epsilon=epsilon, global_clipnorm=MAX_NORM
    )

    @partial(tf.function, reduce_retracing=True)
    def step(batch: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(batch, training=True).loss)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return in_order(lambda batch: step({name: tf.constant(array) for name, array in batch.items()}), job, tokens)


def loop_keras(job: dict[str, Any], batches: str) -> Repetition:
    """Our model in Keras' `fit`, compiled with an optimizer only. A repetition is an epoch, with its mean loss."""
    import keras

    from distilbert_tf import TFDistilBertForSequenceClassification

    model = TFDistilBertForSequenceClassification.from_pretrained(job["folder"])
    # Keras adds epsilon before the bias correction; this value equals PyTorch's in the step that is compared.
    epsilon = EPSILON * math.sqrt(1 - BETAS[1])
    model.compile(keras.optimizers.AdamW(RATE, DECAY, *BETAS, epsilon, global_clipnorm=MAX_NORM))
    if batches == PACKED:
        data = model.pack(examples(job), batch_size=job["batch"], shuffle=False)
    else:
        data = padded_keras(job, batches)
    return lambda: model.fit(data, shuffle=False, verbose=0).history["loss"]


def padded_keras(job: dict[str, Any], batches: str) -> Any:
    """Return padded batches as a `tf.data.Dataset`."""
    import tensorflow as tf

    rows = dict(np.load(job["data"]))
    arrays = batch_of(rows, slice(None), TOKENS)
    labels = arrays.pop("labels")
    ragged = {name: tf.RaggedTensor.from_tensor(array, rows["lengths"]) for name, array in arrays.items()}
    tokens = None if batches == LONGEST else TOKENS

    def pad(inputs: dict[str, Any], labels: Any) -> tuple[dict[str, Any], Any]:
        return {name: values.to_tensor(shape=(None, tokens)) for name, values in inputs.items()}, labels

    options = tf.data.Options()
    options.autotune.enabled = False  # its tuner makes each call of `fit` wait for seconds at the end
    return tf.data.Dataset.from_tensor_slices((ragged, labels)).batch(job["batch"]).map(pad).with_options(options)


def transformers_flax(job: dict[str, Any], tokens: int | None) -> Repetition:
    """Transformers 4.53 in Flax, compiled for each length."""
    import jax
    import optax
    from transformers import FlaxDistilBertForSequenceClassification

    model = FlaxDistilBertForSequenceClassification.from_pretrained(job["folder"], from_pt=True)
    optimizer = optax_adamw()

    def loss_of(params: Any, arrays: Any, key: Any) -> Any:
        ids, mask, labels = (arrays[name] for name in ("input_ids", "attention_mask", "labels"))
        logits = model(ids, mask, params=params, dropout_rng=key, train=True).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(params: Any, state: Any, key: Any, arrays: Any) -> Any:
        key, drop = jax.random.split(key)
        loss, gradients = jax.value_and_grad(loss_of)(params, arrays, drop)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, key, loss

    kept = [model.params, optimizer.init(model.params), jax.random.PRNGKey(0)]

    def step(batch: Batch) -> Any:
        *kept[:], loss = update(*kept, batch)
        return loss

    return in_order(step, job, tokens)


def optax_adamw() -> Any:
    """Return the optimizer of loops in JAX."""
    import optax

    adamw = optax.adamw(RATE, *BETAS, EPSILON, weight_decay=DECAY)
    return optax.chain(optax.clip_by_global_norm(MAX_NORM), adamw)


def loop_flax(job: dict[str, Any], batches: str) -> Repetition:
    """Our model in a loop around a step under `nnx.jit`."""
    from flax import nnx

    from distilbert_flax import FlaxDistilBertForSequenceClassification, PackedBatches

    model = FlaxDistilBertForSequenceClassification.from_pretrained(job["folder"])
    optimizer = nnx.Optimizer(model, optax_adamw(), wrt=nnx.Param)
    rows, size = examples(job), job["batch"]
    packed, collator = PackedBatches(model, rows, size, shuffle=False), padded_by(job, batches, "jax")

    @nnx.jit(donate_argnums=(0, 1))
    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda model: model(**batch, train=True).loss)(model)
        optimizer.update(model, gradients)
        return loss

    def epoch() -> Iterable[Any]:
        if batches == PACKED:
            return packed
        return (collator(rows[start : start + size]) for start in range(0, len(rows), size))

    return lambda: [float(step(model, optimizer, batch)) for batch in epoch()]


ENVIRONMENTS = ("ours", "peers", "transformers4")
FRAMEWORKS: dict[str, tuple[tuple[str, ...], str, Callable[..., Repetition], tuple[str, ...], str]] = {
    # our needs; the peer with its start function, its needs and its environment
    "pt": (("distilbert_pt", "torch"), "Transformers 5", transformers_torch, ("transformers 5", "torch"), "peers"),
    "tf": (
        ("distilbert_tf", "tensorflow", "keras"),
        "Transformers 4 TF",
        transformers_tf,
        ("transformers 4", "tensorflow", "tf_keras"),
        "transformers4",
    ),
    "flax": (
        ("distilbert_flax", "jax", "flax", "optax"),
        "Transformers 4 Flax",
        transformers_flax,
        ("transformers 4", "jax", "flax", "optax"),
        "transformers4",
    ),
}
LOOPS: dict[str, tuple[str, Callable[..., Repetition]]] = {
    "pt": ("DataLoader", loop_torch),
    "tf": ("model.fit", loop_keras),
    "flax": ("nnx.jit", loop_flax),
}
CONTESTS = ("peers", "loops")
GROUPS = {}  # (contest, backend) -> contestants by name
for backend, (needs, peer, start, peer_needs, where) in FRAMEWORKS.items():
    engine = {f"ours {backend}": Contestant(partial(ours, backend=backend, own_order=False), needs)}
    loop, start_loop = LOOPS[backend]
    GROUPS["peers", backend] = {
        **engine,
        f"ours {backend}, in its own order": Contestant(partial(ours, backend=backend, own_order=True), needs),
        f"{peer}, {FULL}": Contestant(partial(start, tokens=TOKENS), peer_needs, where),
        f"{peer}, {LONGEST}": Contestant(partial(start, tokens=None), peer_needs, where),
    }
    GROUPS["loops", backend] = {
        f"ours in {loop}, {PACKED}": Contestant(partial(start_loop, batches=PACKED), needs),
        **engine,
        f"{loop}, {FULL}": Contestant(partial(start_loop, batches=FULL), needs),
        f"{loop}, {LONGEST}": Contestant(partial(start_loop, batches=LONGEST), needs),
    }
CONTESTANTS = {name: contestant for group in GROUPS.values() for name, contestant in group.items()}


# -- the contest --------------------------------------------------------------------------------------------------


def check(measured: Sequence[Measured]) -> None:
    """Exit if the losses after a step differ."""
    losses = {one.name: one.values[0][0] for one in measured if one.problem is None}
    spread = np.ptp(list(losses.values())) if losses else 0.0
    if not spread <= TOLERANCE:
        raise SystemExit(f"not the same training: losses after a step differ: {losses}")
    print(f"\nWithout dropout, the losses of {len(losses)} contestants after a step agree to {spread:.1e}.")


def print_targets(measured: Sequence[Measured]) -> None:
    """Print how many times as fast as the others the packed loop is, and the targets."""
    packed, *others = measured
    for other in others:
        if packed.problem is None and other.problem is None:
            target = next(target for end, target in TARGETS.items() if other.name.endswith(end))
            print(f"  {packed.name} / {other.name}: {ratio_of_speeds(packed, other)}; target: {target}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure the selected frameworks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, ENVIRONMENTS, rounds=5)
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS))
    parser.add_argument("--contests", nargs="+", choices=CONTESTS, default=list(CONTESTS))
    parser.add_argument("--batch", type=int, default=32, help="rows of a step (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=6, help="batches of a turn (default: %(default)s)")
    parser.add_argument("--texts", type=Path, help="texts to learn from, one per line (default: random ids)")
    arguments = parser.parse_args(words)
    contest = contest_of(arguments, __file__, CONTESTANTS, ENVIRONMENTS)
    results: list[dict[str, Any]] = []
    panels: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", arguments.size)
        write_model(folder / "still", arguments.size, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
        rows = make_rows(arguments.batch * arguments.batches, arguments.texts)
        np.savez(folder / "rows.npz", **rows)
        np.savez(folder / "first.npz", **{key: array[:CHECKED] for key, array in rows.items()})
        mean, longest = rows["lengths"].mean(), rows["lengths"].reshape(-1, arguments.batch).max(axis=1).mean()
        for backend, kind in itertools.product(arguments.frameworks, arguments.contests):
            names = list(GROUPS[kind, backend])
            job = {"folder": str(folder / "model"), "data": str(folder / "rows.npz"), "batch": arguments.batch}
            still = {"folder": str(folder / "still"), "data": str(folder / "first.npz"), "batch": CHECKED}
            check(contest.once(names, still))
            measured = contest.run(names, job)
            shape = f"batch {arguments.batch}, {mean:.0f} tokens a row, {longest:.0f} in the longest of a batch"
            title = f"{backend}, {kind}: {shape}"
            report(title, UNIT, arguments.batches, measured)
            if kind == "loops":
                print_targets(measured)
            results += [
                {
                    "framework": backend,
                    "contest": kind,
                    **as_result(one, measured, arguments.batches),
                    "losses": one.values,
                }
                for one in measured
            ]
            panels[title] = bars_of(measured, arguments.batches)
            write(arguments, results)
            draw(arguments.png, panels, UNIT)


if __name__ == "__main__":
    main()
