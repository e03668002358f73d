"""A student in training: as in fine-tuning, with what its teacher says beside each batch.

Shapes: M real tokens, K of these whose logits are compared, D and E model sizes of student and teacher, V classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.backends import load_backend
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.loading import load_inference
from distilbert_core.training.batches import Batch
from distilbert_core.training.distillation.batches import pack_comparison
from distilbert_core.training.distillation.cache import TeacherCache, expand
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.labels import label_names
from distilbert_core.training.trainer import Trainer

PROJECTION = "projection"  # from the student's hidden states to the teacher's, where they are not as wide


class Distiller(Trainer):
    """A student in training. Each backend has its own, in its module `training`.

    Args:
        model: The student, a model of the backend, which is trained in place.
        recipe: The numbers of the optimizer and of the loss.
        rates: Learning rate of each step, float64 [steps].
        teacher: The teacher, on the same backend; None if all that it says is in the cache, or nothing is asked.
        cache: Where what the teacher says is found, or kept for the next time.
    """

    recipe: DistillationRecipe
    teacher: Inference | None
    cache: TeacherCache | None

    @classmethod
    def of(
        cls,
        student: Any,
        recipe: DistillationRecipe,
        rates: np.ndarray,
        teacher: Inference | None,
        cache: TeacherCache | None = None,
    ) -> Self:
        """Return a student in training; see the class.

        Raises:
            InputError: Student and teacher do not predict the same, or their vocabularies differ in size.
        """
        extra = {}
        if teacher is not None:
            _check_pair(student, teacher)
            wide, wider = student.config.dim, teacher.config.dim
            if wide != wider and recipe.cosine_weight:
                drawn = np.random.default_rng([recipe.seed, wide, wider]).normal(0, wide**-0.5, (wide, wider))
                extra[PROJECTION] = drawn.astype(recipe.stored_dtype)
        distiller = cls(student, recipe, rates, extra)
        devices = distiller.world_size * distiller.replicas
        if cache is not None and devices > 1:
            raise InputError(f"A cache is for a run that is not divided, got {devices} devices: leave it out.")
        distiller.teacher, distiller.cache = teacher, cache
        return distiller

    def packed(self, batch: Batch) -> Batch:
        """Return a batch as packed rows, with the places that are compared."""
        return pack_comparison(batch, self.model.head, self.inference.pack, self.sizes, self.recipe.only_masked)

    def prepared(self, part: Batch, number: int) -> Batch:
        """Return a part with teacher_hidden [M, E] and teacher_logits [K, V], from the cache if it has them."""
        batch = super().prepared(part, number)
        if not self.recipe.needs_teacher:
            return batch
        found = None if self.cache is None else self.cache.get(number)
        if found is not None:
            return {**batch, **self._from_cache(found, batch)}
        if self.teacher is None:
            raise InputError(f"The cache has nothing for part {number} of the run, and there is no teacher to ask.")
        said = self.teach(batch)
        if self.cache is not None:
            arrays = {name: np.asarray(value) for name, value in said.items()}
            self.cache.put(
                number,
                {
                    "hidden": arrays["teacher_hidden"][batch["real"]],
                    "logits": arrays["teacher_logits"][batch["compared"]],
                },
            )
        return {**batch, **said}

    def _from_cache(self, found: Batch, batch: Batch) -> Batch:
        if "values" in found:
            vocabulary = self.model.config.vocab_size
            kept = (found["values"], found["indices"], found["rest"])
            found = {"hidden": found["hidden"], "logits": expand(*kept, vocabulary, self.recipe.temperature)}
        padded = {}
        for name, real in (("hidden", "real"), ("logits", "compared")):
            if len(found[name]) != np.count_nonzero(batch[real]):
                raise CheckpointError(
                    f"The cache must hold {np.count_nonzero(batch[real])} rows of {name} for this step, got "
                    f"{len(found[name])}; remove it, and it is made again."
                )
            rows = np.zeros((len(batch[real]), found[name].shape[1]), self.recipe.stored_dtype)
            rows[batch[real]] = found[name]
            padded[f"teacher_{name}"] = rows
        return padded

    def teach(self, batch: Batch) -> dict[str, Any]:
        """Return teacher_hidden [M, E] and teacher_logits [K, V] for what `packed` returned, as tensors."""
        raise NotImplementedError


def weighted_losses(
    losses: ModuleType, recipe: DistillationRecipe, hidden: Any, logits: Any, batch: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the losses of a step by name: 'loss', the weighted sum, and each of its terms.

    Args:
        losses: The module `losses` of the backend.
        recipe: Its weights, and the temperature.
        hidden: [M, E] hidden states of the student, projected to the teacher's width.
        logits: [K, V] of the student.
        batch: What `pack_comparison` returned, with teacher_hidden and teacher_logits.
    """
    compared, real, temperature = batch["compared"], batch["real"], recipe.temperature
    return recipe.total(
        {
            "distillation": lambda: losses.distillation_loss(logits, batch["teacher_logits"], temperature, compared),
            "task": lambda: losses.cross_entropy(logits, batch["labels"]),
            "cosine": lambda: losses.cosine_loss(hidden, batch["teacher_hidden"], real),
            "squared_error": lambda: losses.logits_squared_error(logits, batch["teacher_logits"], compared),
        }
    )


def _check_pair(student: Any, teacher: Inference) -> None:
    """Raise InputError if what student and teacher say cannot be compared."""
    if student.head is not teacher.head:
        ours, theirs = student.head.architecture, teacher.head.architecture
        raise InputError(f"The teacher must be a {ours} as the student is, got a {theirs}.")
    field = "vocab_size" if student.head is Head.MASKED_LM else "num_labels"
    for name in dict.fromkeys(("vocab_size", field)):
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            raise InputError(f"Student and teacher must have one {name}, got {ours} and {theirs}.")
    names = [label_names(model.config) for model in (student, teacher)]
    if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
        listed = " and ".join(", ".join(labels[:8]) for labels in names)
        raise InputError(f"Student and teacher must have their labels in one order, got {listed}.")


def load_distiller(
    backend: str,
    head: Head,
    student: str | Path,
    teacher: str | Path | None,
    recipe: DistillationRecipe,
    rates: np.ndarray,
    *,
    teacher_dtype: str | None = None,
    cache: TeacherCache | None = None,
    new_head: bool = False,
    **kwargs: Any,
) -> Distiller:
    """Load a student for training on a backend, and its teacher.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: `Head.MASKED_LM` or `Head.SEQUENCE_CLASSIFICATION`.
        student: Folder, embedded model or Hub id.
        teacher: The same for the teacher; None if the cache has all that it says, or the recipe asks nothing of it.
        recipe: The numbers of the optimizer and of the loss.
        rates: Learning rate of each step, float64 [steps].
        teacher_dtype: What the teacher computes in; the student's dtype if left out.
        cache: Where what the teacher says is found, or kept.
        new_head: Draw the student's head anew though it may have one.
        **kwargs: Keywords of `from_pretrained` for the student.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or the teacher has no such head.
        InputError: Student and teacher do not fit together.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.training.distillation import DistillationRecipe, load_distiller
        >>> recipe = DistillationRecipe(learning_rate=1e-3, warmup=0, dropout=0.0)
        >>> rates = recipe.learning_rates(2)
        >>> head = Head.SEQUENCE_CLASSIFICATION
        >>> distiller = load_distiller("pt", head, "sst2-tiny", "sst2-tiny", recipe, rates)  # its own teacher
        >>> batch = {"input_ids": np.array([[101, 2307, 102]]), "labels": np.array([1])}
        >>> losses = distiller.take_step(batch, 0)
        >>> [abs(losses[f"loss_{term}"]) < 1e-6 for term in ("distillation", "cosine")]
        [True, True]
    """
    distiller = importlib.import_module(f"{load_backend(backend).__name__}.training").BackendDistiller
    model = distiller.load_model(head, student, recipe, new_head, **kwargs)
    known = None
    if teacher is not None and recipe.needs_teacher:
        dtype = teacher_dtype or recipe.stored_dtype
        known = load_inference(backend, head, teacher, dtype=dtype, **distiller.join())
    return distiller.of(model, recipe, rates, known, cache)
