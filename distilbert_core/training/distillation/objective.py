"""Distillation: a student learns the outputs of its teacher.

Shapes: M real tokens, K of these whose logits are compared, D and E model sizes of student and teacher, V classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.loading import load_inference
from distilbert_core.model.packed_batches import Batch, Sizes
from distilbert_core.training.distillation.batches import pack_comparison
from distilbert_core.training.distillation.cache import TeacherCache, expand
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.engine import Engine
from distilbert_core.training.labels import label_names
from distilbert_core.training.objectives import Compute, Function, Objective, Packer, Tensor, View

PROJECTION = "projection"  # of the student's hidden states to the teacher's model size, where the two differ


class Distillation(Objective):
    """A loss of the outputs of a teacher, and of the labels where they are present.

    Args:
        student: The model that is trained.
        recipe: The weights of the loss, and the temperature.
        teacher: The teacher, on the same backend; None if the cache has all of its outputs or none are needed.
        cache: Teacher outputs of earlier runs. Outputs that it lacks are computed and added.

    Raises:
        InputError: Student and teacher have different heads, or their vocabularies or labels differ.
    """

    def __init__(
        self, student: Any, recipe: DistillationRecipe, teacher: Inference | None, cache: TeacherCache | None = None
    ):
        self.recipe = recipe
        self.teacher = teacher
        self.cache = cache
        self.vocab_size: int = student.config.vocab_size
        if teacher is not None:
            _check_pair(student, teacher)
            self.frozen = (teacher.model,)
            self.extra = _projection(student.config.dim, teacher.config.dim, recipe)

    @property
    def loss(self) -> Function:
        """The weighted sum of the recipe's terms, and each term."""
        return DistillationLoss(self.recipe)

    def pack(self, batch: Batch, head: Head, packer: Packer, sizes: Sizes) -> Batch:
        """Return the arrays of `pack_comparison`."""
        return pack_comparison(batch, head, packer, sizes, self.recipe.only_masked)

    def complete(self, batch: Batch, index: int, compute: Compute) -> Batch:
        """Return a packed micro-batch with teacher_hidden [M, E] and teacher_logits [K, V]."""
        if not self.recipe.needs_teacher:
            return batch
        cached = None if self.cache is None else self.cache.get(index)
        if cached is not None:
            return {**batch, **self._from_cache(cached, batch)}
        if self.teacher is None:
            raise InputError(f"The cache has no outputs for micro-batch {index} of the run, and there is no teacher.")
        outputs = compute(self.teacher.model, teacher_outputs, batch)
        if self.cache is not None:
            arrays = {name: np.asarray(value) for name, value in outputs.items()}
            self.cache.put(
                index,
                {
                    "hidden": arrays["teacher_hidden"][batch["real"]],
                    "logits": arrays["teacher_logits"][batch["compared"]],
                },
            )
        return {**batch, **outputs}

    def _from_cache(self, cached: Batch, batch: Batch) -> Batch:
        """Return the teacher's outputs from a cache, padded to the sizes of a batch."""
        if "values" in cached:
            kept = cached["values"], cached["indices"], cached["rest"]
            cached = {"hidden": cached["hidden"], "logits": expand(*kept, self.vocab_size, self.recipe.temperature)}
        padded = {}
        for name, mask in (("hidden", batch["real"]), ("logits", batch["compared"])):
            if len(cached[name]) != np.count_nonzero(mask):
                raise CheckpointError(
                    f"The cache must hold {np.count_nonzero(mask)} rows of {name} for this step, got "
                    f"{len(cached[name])}. Remove the cache; it is written again."
                )
            rows = np.zeros((len(mask), cached[name].shape[1]), self.recipe.stored_dtype)
            rows[mask] = cached[name]
            padded[f"teacher_{name}"] = rows
        return padded


@dataclass(frozen=True)
class DistillationLoss:
    """The loss of a recipe. Two are equal if their recipes are, so that JAX compiles them once."""

    recipe: DistillationRecipe

    def __call__(self, view: View, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return 'loss', the weighted sum, and each of its terms.

        Args:
            view: The student.
            batch: The arrays of `pack_comparison`, with teacher_hidden and teacher_logits.
        """
        hidden, logits = _hidden_and_logits(view, batch)
        if PROJECTION in view.extra:
            hidden = view.project(hidden, PROJECTION)  # [M, D] -> [M, E]
        losses, compared, temperature = view.losses, batch["compared"], self.recipe.temperature
        return self.recipe.total(
            {
                "distillation": lambda: losses.distillation_loss(
                    logits, batch["teacher_logits"], temperature, compared
                ),
                "task": lambda: losses.cross_entropy(logits, batch["labels"]),
                "cosine": lambda: losses.cosine_loss(hidden, batch["teacher_hidden"], batch["real"]),
                "squared_error": lambda: losses.logits_squared_error(logits, batch["teacher_logits"], compared),
            }
        )


def teacher_outputs(view: View, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return teacher_hidden [M, E] and teacher_logits [K, V]."""
    hidden, logits = _hidden_and_logits(view, batch)
    return {"teacher_hidden": hidden, "teacher_logits": logits}


def _hidden_and_logits(view: View, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the hidden states [M, D] of all real tokens, and the logits [K, V] of those that are compared."""
    hidden = view.hidden(batch)
    return hidden, view.logits(view.take(hidden, batch["predicted"]))


def _projection(student_size: int, teacher_size: int, recipe: DistillationRecipe) -> dict[str, np.ndarray]:
    """Return the projection between two model sizes, [D, E], by its name; nothing if it is not needed."""
    if student_size == teacher_size or not recipe.cosine_weight:
        return {}
    rng = np.random.default_rng([recipe.seed, student_size, teacher_size])
    projection = rng.normal(0, student_size**-0.5, (student_size, teacher_size))
    return {PROJECTION: projection.astype(recipe.stored_dtype)}


def _check_pair(student: Any, teacher: Inference) -> None:
    """Raise InputError if the outputs of student and teacher cannot be compared."""
    if student.head is not teacher.head:
        ours, theirs = student.head.architecture, teacher.head.architecture
        raise InputError(f"The teacher must be a {ours} like the student, got a {theirs}.")
    field = "vocab_size" if student.head is Head.MASKED_LM else "num_labels"
    for name in dict.fromkeys(("vocab_size", field)):
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            raise InputError(f"Student and teacher must have one {name}, got {ours} and {theirs}.")
    names = [label_names(model.config) for model in (student, teacher)]
    if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
        listed = " and ".join(", ".join(labels[:8]) for labels in names)
        raise InputError(f"Student and teacher must have their labels in one order, got {listed}.")


def load_distillation(
    student: Any,
    engine: type[Engine],
    recipe: DistillationRecipe,
    teacher: str | Path | None,
    teacher_dtype: str | None = None,
    cache: TeacherCache | None = None,
) -> Distillation:
    """Load a teacher beside its student, and return their objective.

    Args:
        student: The model that is trained.
        engine: The class that trains it.
        recipe: The numbers of the optimizer and of the loss.
        teacher: Folder, embedded model or Hub id. It is not loaded if the recipe does not need it.
        teacher_dtype: Dtype in which the teacher computes; that of the student if left out.
        cache: Teacher outputs of earlier runs.

    Raises:
        CheckpointError: The teacher is missing or damaged, or lacks the head.
        InputError: Student and teacher do not fit together, or a cache is given for a divided run.
    """
    division = engine.find_division()
    if cache is not None and division.processes * division.replicas > 1:
        raise InputError(
            f"A cache is for one process whose batches are not divided, got {division.processes} process(es) with "
            f"{division.replicas} replica(s) each. Leave it out."
        )
    inference = None
    if teacher is not None and recipe.needs_teacher:
        dtype = teacher_dtype or recipe.stored_dtype
        inference = load_inference(engine.backend, student.head, teacher, dtype=dtype, **engine.init_distributed())
    return Distillation(student, recipe, inference, cache)
