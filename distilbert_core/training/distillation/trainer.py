"""Distillation step by step, for a loop of your own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.model.heads import Head
from distilbert_core.training.distillation.cache import TeacherCache
from distilbert_core.training.distillation.objective import load_distillation
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.engine import load_engine
from distilbert_core.training.trainer import Trainer


def load_distiller(
    backend: str,
    head: Head,
    student: str | Path,
    teacher: str | Path | None,
    recipe: DistillationRecipe,
    learning_rates: np.ndarray,
    *,
    teacher_dtype: str | None = None,
    cache: TeacherCache | None = None,
    new_head: bool = False,
    **kwargs: Any,
) -> Trainer:
    """Load a student for training on a backend, and its teacher.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: `Head.MASKED_LM` or `Head.SEQUENCE_CLASSIFICATION`.
        student: Folder, embedded model or Hub id.
        teacher: The same for the teacher; None if the cache has all of its outputs, or the recipe needs none.
        recipe: The numbers of the optimizer and of the loss.
        learning_rates: The learning rate of each step, float64 [steps].
        teacher_dtype: Dtype in which the teacher computes; that of the student if left out.
        cache: Teacher outputs of earlier runs. Outputs that it lacks are computed and added.
        new_head: Draw a new head for the student, even if it has one.
        **kwargs: Keywords of `from_pretrained` for the student.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: A checkpoint is missing or damaged, or the teacher lacks the head.
        InputError: Student and teacher do not fit together.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.training.distillation import DistillationRecipe, load_distiller
        >>> recipe = DistillationRecipe(learning_rate=1e-3, warmup=0, dropout=0.0)
        >>> learning_rates = recipe.learning_rates(steps=2)
        >>> head = Head.SEQUENCE_CLASSIFICATION
        >>> distiller = load_distiller("pt", head, "sst2-tiny", "sst2-tiny", recipe, learning_rates)  # its own teacher
        >>> batch = {"input_ids": np.array([[101, 2307, 102]]), "labels": np.array([1])}
        >>> losses = distiller.take_step(batch, 0)
        >>> [abs(losses[f"loss_{term}"]) < 1e-6 for term in ("distillation", "cosine")]
        [True, True]
    """
    objective = partial(load_distillation, recipe=recipe, teacher=teacher, teacher_dtype=teacher_dtype, cache=cache)
    return Trainer(
        load_engine(
            backend, head, student, recipe, learning_rates, objective, new_head=new_head, stacklevel=3, **kwargs
        )
    )
