"""Batches of packed rows for a training loop of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError
from distilbert_core.tokenization.collators import DataCollatorWithPacking
from distilbert_flax.sharding import DATA_PARALLEL, Rules, parts, shard_packed


class PackedBatches:
    """Batches of packed rows, without padding and in few shapes: each iteration is an epoch, in a new random order.

    A batch is the arguments of the model's call, `model(**batch)`, which returns the loss of the padded batch; see
    `DataCollatorWithPacking`. Sizes are rounded up, so that a step is compiled for few shapes only.

    Args:
        model: The model that is trained. Its head and configuration decide how rows are packed.
        rows: The rows of tokens, as a list of dicts or a `datasets.Dataset`.
        batch_size: Rows of a batch.
        collator: Makes a padded batch of rows, such as `DataCollatorForLanguageModeling(tokenizer)`. If left out, rows
            have `input_ids`, perhaps `attention_mask`, the labels of the model, and perhaps `sample_weight`.
        shuffle: Use a new order in every epoch; otherwise the order of the rows.
        seed: Seed of the order.
        drop_remainder: Leave out the last batch if it is smaller, which adds shapes.
        mesh: Divide the packed rows among these devices; the other arrays are on every device.
        rules: Name of an axis -> axis or axes of the mesh; the rule for 'batch' is used.

    Attributes:
        epoch: Index of the next epoch. With the seed it decides the order; set it to continue a run.

    Raises:
        InputError: There are no rows, or `batch_size` is not a positive integer.

    Example:
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForSequenceClassification, PackedBatches
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = FlaxDistilBertForSequenceClassification(config)
        >>> rows = [{"input_ids": [2, 7, 3], "label": 1}, {"input_ids": [2, 3], "label": 0}]
        >>> for batch in PackedBatches(model, rows, batch_size=2):
        ...     print(batch["input_ids"].shape, model(**batch).logits.shape)
        (1, 16) (2, 2)
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Mapping[str, Any]],
        batch_size: int = 32,
        *,
        collator: Callable[[Sequence[Any]], Mapping[str, Any]] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = False,
        mesh: Mesh | None = None,
        rules: Rules = DATA_PARALLEL,
    ):
        self.rows, self.batch_size = rows, positive_integer("batch_size", batch_size)
        self.shuffle, self.seed, self.drop_remainder = shuffle, seed, drop_remainder
        self.mesh, self.rules = mesh, rules
        self.epoch = 0
        self.collate = DataCollatorWithPacking(
            model, collator, "np", 1 if mesh is None else parts(mesh, rules.get("batch"))
        )
        if not len(self):
            raise InputError(f"rows must fill at least one batch of {batch_size}, got {len(rows)} rows.")

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return (len(self.rows) + (0 if self.drop_remainder else self.batch_size - 1)) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of the next epoch."""
        count, epoch = len(self.rows), self.epoch
        self.epoch += 1
        order = np.random.default_rng((self.seed, epoch)).permutation(count) if self.shuffle else np.arange(count)
        for index in range(len(self)):
            chosen = order[index * self.batch_size :][: self.batch_size]
            batch = self.collate([self.rows[int(row)] for row in chosen])
            yield batch if self.mesh is None else shard_packed(batch, self.mesh, self.rules)
