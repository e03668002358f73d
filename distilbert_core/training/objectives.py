"""Objectives: the loss of a training step. Distillation is in `distilbert_core.training.distillation`.

An objective is written once for all backends. On the host it makes NumPy arrays of each micro-batch. In the framework
its `loss` computes tensors from these arrays and from a `View` of the model. A new objective is one class and one
function; the engines need no change.

Shapes: B batch, C choices, T tokens, N heads, H head size, D model size, L labels; M and K selected tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from distilbert_core.model.contract import Losses, ModelWithHead, Tensor
from distilbert_core.model.heads import Head
from distilbert_core.model.losses import single
from distilbert_core.model.packed_batches import WEIGHT, Batch, Sizes, pack_batch
from distilbert_core.model.packing import Packing

Packer = Callable[[np.ndarray], Packing]  # from the lengths of texts to their packing


class View(ABC):
    """A model as the loss of an objective sees it, on any backend.

    A view has the outputs of the model, and the few operations that frameworks write differently. Arithmetic, and
    indexing with `...`, `None` and integers, are the same in all three. Each backend derives one class, `ModelView`.

    Args:
        model: A model of the backend.
        extra: The objective's arrays that are trained beside the model, as tensors.

    Attributes:
        head: The head of the model.
        losses: The module `losses` of the backend.
    """

    losses: ClassVar[Losses]

    def __init__(self, model: ModelWithHead, extra: Mapping[str, Tensor]):
        self.model = model
        self.head = model.head
        self.extra = extra

    @abstractmethod
    def outputs(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the outputs [..., L] of the model for packed rows.

        Args:
            batch: The arrays of `pack_batch`. `indices` [...] selects the outputs to return.
        """

    @abstractmethod
    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the last hidden states [M, D] of selected tokens of packed rows.

        Args:
            batch: input_ids, position_ids and segment_ids; and `tokens` [M], indices into the flattened rows.
        """

    @abstractmethod
    def hidden_states(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the hidden states [M, D] of selected tokens: of the embeddings, then of each block.

        Args:
            batch: The arrays of `hidden`.
        """

    def last_attention(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return the queries, keys and values [M, A] of the last block, given its input [M, D]; A is N * H."""
        attention = self.model.base_model.transformer.layer[-1].attention
        return attention.q_lin(hidden), attention.k_lin(hidden), attention.v_lin(hidden)

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [K, L] of the head for hidden states [K, D], each as if it were a text's first token."""

    def task_loss(self, logits: Any, labels: Any, weights: Tensor | None = None) -> Tensor:
        """Return the loss [] of the model's task; logits and labels are tuples if the head has several of them."""
        return self.model.task_loss(logits, labels, weights)

    @abstractmethod
    def take(self, values: Tensor, indices: Tensor) -> Tensor:
        """Return `values[indices]`, along the first axis."""

    @abstractmethod
    def where(self, condition: Tensor, values: Tensor, other: float) -> Tensor:
        """Return the values where a condition holds, and a number elsewhere."""

    @abstractmethod
    def relations(self, values: Tensor, heads: int) -> Tensor:
        """Return the product of each pair of tokens of a text, divided by the root of its length, in at least float32.

        Args:
            values: [B, T, A].
            heads: Number of parts into which A is divided.

        Returns:
            [B, heads, T, T].
        """

    @abstractmethod
    def project(self, values: Tensor, name: str) -> Tensor:
        """Return `values @ extra[name]`, in the dtype in which the framework computes it."""


Function = Callable[[View, Mapping[str, Tensor]], dict[str, Tensor]]  # of a model and the arrays of a micro-batch
Compute = Callable[[Any, Function, Sequence[Batch]], list[dict[str, Tensor]]]  # see `Engine.compute`


class Objective(ABC):
    """The loss of a training step, and the arrays that it needs.

    Attributes:
        extra: Arrays to train beside the model, by name. They have no weight decay.
        frozen: Further models of the backend, which are computed but not trained, such as a teacher.
    """

    extra: Mapping[str, np.ndarray] = MappingProxyType({})
    frozen: Sequence[Any] = ()

    @property
    @abstractmethod
    def loss(self) -> Function:
        """The loss: a function of a view and of the arrays of a micro-batch.

        It returns tensors [] by name; the step minimises 'loss'. It must be hashable, and equal for objectives that
        compute the same: JAX compiles it once for each value.
        """

    @abstractmethod
    def pack(self, batch: Batch, head: Head, packer: Packer, sizes: Sizes) -> Batch:
        """Return the arrays of a micro-batch that the loss needs, as NumPy arrays.

        Args:
            batch: The rows: input_ids, perhaps attention_mask, and labels; padded on any side.
            head: The head of the model.
            packer: Returns the packing of texts with these lengths [B].
            sizes: How sizes are rounded up, for frameworks that compile each shape.
        """

    def complete(self, batches: Mapping[int, Batch], compute: Compute) -> list[Batch]:
        """Return packed micro-batches with the arrays that are computed, such as the outputs of a teacher.

        Args:
            batches: The arrays that `pack` returned, on the devices of the engine, by the index of the micro-batch,
                counted over the whole run. The devices of this process compute these at the same time, one each.
            compute: `compute(model, function, batches)` evaluates a function of a view of one of the `frozen` models
                and of the arrays of each micro-batch, in inference mode and without gradients. It returns tensors by
                name for each.
        """
        return [*batches.values()]


class FineTuning(Objective):
    """The task of the model's head: the loss that the model returns for `labels`, of real tokens only."""

    @property
    def loss(self) -> Function:
        """The task's loss."""
        return finetuning_loss

    def pack(self, batch: Batch, head: Head, packer: Packer, sizes: Sizes) -> Batch:
        """Return the arrays of `pack_batch`."""
        return pack_batch(batch, head, packer, sizes)


def finetuning_loss(view: View, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the task's loss.

    Args:
        view: The model.
        batch: The arrays of `pack_batch`.
    """
    head, outputs = view.head, view.outputs(batch)  # [B, L], [B, C, 1], [M, L] or [B, T, 2]
    if len(head.outputs) > 1:
        scores = view.where(batch["attention_mask"][..., None], outputs, -np.inf)  # padding cannot be an answer
        outputs = tuple(scores[..., index] for index in range(len(head.outputs)))
    elif head.reads == "choices":
        outputs = outputs[..., 0]  # [B, C]
    labels = single([batch[name] for name in head.labels])
    return {"loss": view.task_loss(outputs, labels, batch.get(WEIGHT))}
