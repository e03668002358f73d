"""`tf.data` pipelines from rows of tokens: lists of dicts, or `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError
from distilbert_core.tokenization.collators import DataCollatorWithPadding, DefaultDataCollator

OWN_COLLATORS = DefaultDataCollator.__module__


def batched(
    dataset: Any,
    inputs: Sequence[str],
    labels: Sequence[str],
    batch_size: int = 8,
    shuffle: bool = True,
    tokenizer: Any = None,
    collate_fn: Callable[..., Mapping[str, Any]] | None = None,
    collate_fn_args: Mapping[str, Any] | None = None,
    drop_remainder: bool | None = None,
    prefetch: bool = True,
) -> tf.data.Dataset:
    """Return batches (inputs by name, labels) of rows, as `prepare_tf_dataset` of the models does.

    Args:
        dataset: Rows of tokens: a `datasets.Dataset`, or a list of dicts.
        inputs: Names of inputs to keep, labels left out.
        labels: Names of labels.
        batch_size: Rows in a batch.
        shuffle: Use another order in every epoch.
        tokenizer: Pads the rows of a batch to one length.
        collate_fn: Makes a batch of rows; used in place of the tokenizer.
        collate_fn_args: Further arguments of `collate_fn`.
        drop_remainder: Leave out the last batch if it is smaller.
        prefetch: Make batches ahead.

    Raises:
        InputError: There are no rows, or their columns have no input.
    """
    if not len(dataset) or not isinstance(dataset[0], Mapping):
        raise InputError(
            f"dataset must be rows, a list of dicts or a datasets.Dataset, and not empty, got {type(dataset).__name__}."
        )
    if collate_fn is None:
        collate_fn = DefaultDataCollator("np") if tokenizer is None else DataCollatorWithPadding(tokenizer)
    ours = getattr(type(collate_fn), "__module__", "") == OWN_COLLATORS
    options = {**({"return_tensors": "np"} if ours else {}), **(collate_fn_args or {})}
    rng = np.random.default_rng(np.random.randint(2**31))  # follows keras.utils.set_random_seed

    def batch_of(indices: Iterable[int]) -> dict[str, np.ndarray]:
        rows = [dict(dataset[int(index)]) for index in indices]
        if ours:  # a batch cannot hold texts
            rows = [{name: value for name, value in row.items() if not isinstance(value, str)} for row in rows]
        batch = collate_fn(rows, **options)
        return {name: np.asarray(value) for name, value in batch.items() if name in (*inputs, *labels)}

    first = batch_of(range(min(batch_size, len(dataset))))
    if not first.keys() & set(inputs):
        raise InputError(f"dataset must have a column of {', '.join(inputs[:2])}, got {', '.join(dataset[0])}.")
    count = len(dataset) // batch_size if drop_remainder else -(-len(dataset) // batch_size)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        order = rng.permutation(len(dataset)) if shuffle else np.arange(len(dataset))
        for start in range(0, count * batch_size, batch_size):
            yield batch_of(order[start : start + batch_size])

    def apart(batch: dict[str, tf.Tensor]) -> Any:
        of_labels = {name: batch.pop(name) for name in labels if name in batch}
        if not of_labels:
            return batch
        return batch, of_labels if len(of_labels) > 1 else next(iter(of_labels.values()))

    signature = {name: tf.TensorSpec([None] * array.ndim, array.dtype, name) for name, array in first.items()}
    found = tf.data.Dataset.from_generator(batches, output_signature=signature)
    found = found.map(tf.autograph.experimental.do_not_convert(apart))
    found = found.apply(tf.data.experimental.assert_cardinality(count))
    return made_ahead(found) if prefetch else found


def made_ahead(data: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches that are made while the model computes, two at most.

    `tf.data` does not tune this pipeline, unless its options ask for it. Its tuner sleeps between two measurements, for
    twice as long each time, and an iterator is deleted only when the tuner wakes up: `fit` waited for seconds after
    each epoch.
    """
    data = data.prefetch(2)
    if data.options().autotune.enabled is None:
        options = tf.data.Options()
        options.autotune.enabled = False
        data = data.with_options(options)
    return data
