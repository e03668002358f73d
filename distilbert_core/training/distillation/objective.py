"""Distillation: a student learns the outputs of its teacher.

Shapes: B texts, T tokens of the longest, M real tokens, K of these whose logits are compared, N heads of relations, D
and E model sizes of student and teacher, A attention width, V classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.contract import Tensor
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.loading import load_inference
from distilbert_core.model.packed_batches import Batch, Sizes
from distilbert_core.training.distillation.batches import pack_comparison
from distilbert_core.training.distillation.cache import TeacherCache, expand
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.engine import Engine
from distilbert_core.training.labels import label_names
from distilbert_core.training.objectives import Compute, Function, Objective, Packer, View

# Projections of the student's hidden states to the teacher's model size, where the two differ: for the cosine term,
# and for the hidden states of all layers.
PROJECTION, HIDDEN_PROJECTION = "projection", "hidden_projection"
OF_TEACHER = "teacher_"  # the names of its outputs begin with this
RELATED = ("queries", "keys", "values")  # of the last layer
SMALLEST_HEAD = 16  # of relations; for two models of width 768 this gives the 48 heads of MiniLMv2


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
        layers = student.config.n_layers
        self.heads = 0  # in which relations are compared
        if teacher is not None:
            _check_pair(student, teacher)
            self.frozen = (teacher.model,)
            self.extra = _projections(student, teacher.model, recipe)
        if recipe.relation_weight:
            self.heads = _relation_heads(student.config, None if teacher is None else teacher.config, recipe)
        self.outputs = TeacherOutputs(
            matching_states(layers, layers if teacher is None else teacher.config.n_layers)
            if recipe.hidden_weight
            else (),
            bool(recipe.relation_weight),
        )

    @property
    def loss(self) -> Function:
        """The weighted sum of the recipe's terms, and each term."""
        return DistillationLoss(self.recipe, self.heads)

    def pack(self, batch: Batch, head: Head, packer: Packer, sizes: Sizes) -> Batch:
        """Return the arrays of `pack_comparison`."""
        return pack_comparison(batch, head, packer, sizes, self.recipe.only_masked, self.heads)

    def complete(self, batches: Mapping[int, Batch], compute: Compute) -> list[Batch]:
        """Return packed micro-batches with the arrays of `TeacherOutputs`."""
        if not self.recipe.needs_teacher:
            return [*batches.values()]
        if self.cache is not None:  # batches are not divided
            return [self._complete_by_cache(self.cache, index, batch, compute) for index, batch in batches.items()]
        outputs = self._compute(batches, compute)
        return [{**batch, **of_batch} for batch, of_batch in zip(batches.values(), outputs, strict=True)]

    def _compute(self, batches: Mapping[int, Batch], compute: Compute) -> list[Any]:
        """Return the teacher's outputs for each micro-batch."""
        if self.teacher is None:
            index = next(iter(batches))
            raise InputError(f"The cache has no outputs for micro-batch {index} of the run, and there is no teacher.")
        return compute(self.teacher.model, self.outputs, [*batches.values()])

    def _complete_by_cache(self, cache: TeacherCache, index: int, batch: Batch, compute: Compute) -> Batch:
        """Return a micro-batch with the outputs that the cache has; otherwise they are computed and added to it."""
        cached = cache.get(index)
        if cached is not None:
            return {**batch, **self._from_cache(cached, batch)}
        [outputs] = self._compute({index: batch}, compute)
        rows = {name: np.asarray(value)[batch[_mask_of(name)]] for name, value in outputs.items()}
        cache.put(index, {name.removeprefix(OF_TEACHER): array for name, array in rows.items()})
        return {**batch, **outputs}

    def _from_cache(self, cached: Batch, batch: Batch) -> Batch:
        """Return the teacher's outputs from a cache, padded to the sizes of a batch."""
        cached = dict(cached)
        if "indices" in cached:
            kept = cached.pop("values"), cached.pop("indices"), cached.pop("rest")
            cached["logits"] = expand(*kept, self.vocab_size, self.recipe.temperature)
        names = self.outputs.names
        if cached.keys() != names:
            raise InputError(
                f"The cache must hold {', '.join(sorted(names))} of the teacher for this recipe and this student, got "
                f"{', '.join(sorted(cached))}. Give another folder, or the terms of the loss and the number of layers "
                "for which it was written."
            )
        padded = {}
        for name in names:
            mask = batch[_mask_of(name)]
            if len(cached[name]) != np.count_nonzero(mask):
                raise CheckpointError(
                    f"The cache must hold {np.count_nonzero(mask)} rows of {name} for this step, got "
                    f"{len(cached[name])}. Remove the cache; it is written again."
                )
            rows = np.zeros((len(mask), cached[name].shape[1]), self.recipe.stored_dtype)
            rows[mask] = cached[name]
            padded[OF_TEACHER + name] = rows
        return padded


@dataclass(frozen=True)
class DistillationLoss:
    """The loss of a recipe. Two are equal if their recipes are, so that JAX compiles them once.

    Attributes:
        recipe: The weights of the terms, and the temperature.
        heads: Number of heads in which relations are compared; 0 if they are not.
    """

    recipe: DistillationRecipe
    heads: int = 0

    def __call__(self, view: View, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return 'loss', the weighted sum, and each of its terms.

        Args:
            view: The student.
            batch: The arrays of `pack_comparison`, with those of `TeacherOutputs`.
        """
        states, logits = _states_and_logits(view, batch, bool(self.recipe.hidden_weight or self.heads))
        hidden = view.project(states[-1], PROJECTION) if PROJECTION in view.extra else states[-1]  # [M, E]
        losses, compared, temperature = view.losses, batch["compared"], self.recipe.temperature
        return self.recipe.total(
            {
                "distillation": lambda: losses.distillation_loss(
                    logits, batch["teacher_logits"], temperature, compared
                ),
                "task": lambda: losses.cross_entropy(logits, batch["labels"]),
                "cosine": lambda: losses.cosine_loss(hidden, batch["teacher_hidden"], batch["real"]),
                "squared_error": lambda: losses.logits_squared_error(logits, batch["teacher_logits"], compared),
                "hidden": lambda: hidden_term(view, states, batch),
                "relation": lambda: relation_term(view, states[-2], batch, self.heads),
            }
        )


def hidden_term(view: View, states: Sequence[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of `hidden_loss` over the embeddings and all layers of the student.

    Args:
        view: The student.
        states: Its hidden states [M, D] of the embeddings and of each layer.
        batch: teacher_state_0 [M, E] and so on for each of them, and `real`.
    """
    if HIDDEN_PROJECTION in view.extra:
        states = [view.project(state, HIDDEN_PROJECTION) for state in states]  # [M, E]
    terms = [
        view.losses.hidden_loss(state, batch[f"{OF_TEACHER}state_{index}"], batch["real"])
        for index, state in enumerate(states)
    ]
    return sum(terms) / len(terms)


def relation_term(view: View, hidden: Tensor, batch: Mapping[str, Tensor], heads: int) -> Tensor:
    """Return the sum of the divergences of the relations between queries, between keys, and between values.

    A relation is the distribution softmax(x xᵀ / √H) of a token over the tokens of its text, where x [T, H] is one of
    N equal parts of the queries, keys or values of the last layer. Each divergence KL(teacher || student) is a mean
    over real tokens and heads (Wang et al. 2020, "MiniLMv2", equations 4 to 7). As N is free, student and teacher may
    have different widths and numbers of attention heads.

    Args:
        view: The student.
        hidden: [M, D], the input of its last layer.
        batch: teacher_queries, teacher_keys and teacher_values [M, A], `text_tokens` and `related`.
        heads: N.
    """
    texts, related = batch["text_tokens"], batch["related"]  # [B, T], [B, N, T]

    def relations(values: Tensor) -> Tensor:
        scores = view.relations(view.take(values, texts), heads)  # [M, A] -> [B, T, A] -> [B, N, T, T]
        return view.where(related[:, :, None], scores, -np.inf)  # padding is not related to anything

    return sum(
        view.losses.distillation_loss(relations(own), relations(batch[OF_TEACHER + name]), 1.0, related)
        for name, own in zip(RELATED, view.last_attention(hidden), strict=True)
    )


@dataclass(frozen=True)
class TeacherOutputs:
    """The outputs of a teacher that a loss needs. Two are equal if they compute the same.

    Attributes:
        states: Indices of hidden states, 0 for the embeddings: for each state of the student the one that it learns.
        relation: Whether the queries, keys and values of the last layer are needed.
    """

    states: tuple[int, ...] = ()
    relation: bool = False

    @property
    def names(self) -> set[str]:
        """The names of the outputs, without their common beginning."""
        states = {f"state_{index}" for index in range(len(self.states))}
        return {"hidden", "logits", *states, *(RELATED if self.relation else ())}

    def __call__(self, view: View, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return teacher_hidden [M, E] and teacher_logits [K, V].

        With `states` also teacher_state_0 [M, E] and so on, in the order of the student's states; with `relation`
        teacher_queries, teacher_keys and teacher_values [M, A].
        """
        states, logits = _states_and_logits(view, batch, bool(self.states or self.relation))
        outputs = {"hidden": states[-1], "logits": logits}
        outputs |= {f"state_{index}": states[layer] for index, layer in enumerate(self.states)}
        if self.relation:
            outputs |= dict(zip(RELATED, view.last_attention(states[-2]), strict=True))
        return {OF_TEACHER + name: tensor for name, tensor in outputs.items()}


def matching_states(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Return for each hidden state of a student the index of the teacher's state that it learns.

    They are spread evenly: the embeddings learn the embeddings, and the last layer the last one (Jiao et al. 2019,
    "TinyBERT", section 3.1).

    Example:
        >>> from distilbert_core.training.distillation.objective import matching_states
        >>> matching_states(3, 6), matching_states(4, 6)
        ((0, 2, 4, 6), (0, 1, 3, 4, 6))
    """
    return tuple(state * teacher_layers // student_layers for state in range(student_layers + 1))


def _mask_of(name: str) -> str:
    """Return the name of the mask of the rows of a teacher's output."""
    return "compared" if name.removeprefix(OF_TEACHER) == "logits" else "real"


def _states_and_logits(view: View, batch: Mapping[str, Tensor], all_states: bool) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return hidden states [M, D] of all real tokens, and the logits [K, V] of those that are compared.

    The states are those of the embeddings and of every layer, or of the last layer alone.
    """
    states = view.hidden_states(batch) if all_states else (view.hidden(batch),)
    return states, view.logits(view.take(states[-1], batch["predicted"]))


def _projections(student: Any, teacher: Any, recipe: DistillationRecipe) -> dict[str, np.ndarray]:
    """Return the projections between two model sizes, [D, E], by name; none that is not needed."""
    student_size, teacher_size = student.config.dim, teacher.config.dim
    projections = {}
    if student_size != teacher_size and recipe.cosine_weight:
        rng = np.random.default_rng([recipe.seed, student_size, teacher_size])
        projections[PROJECTION] = rng.normal(0, student_size**-0.5, (student_size, teacher_size))
    if student_size != teacher_size and recipe.hidden_weight:
        projections[HIDDEN_PROJECTION] = _least_squares(_word_embeddings(student), _word_embeddings(teacher))
    return {name: projection.astype(recipe.stored_dtype) for name, projection in projections.items()}


def _word_embeddings(model: Any) -> np.ndarray:
    """Return the word embeddings [V, D] of a model."""
    table: np.ndarray = model._get_array(next(p for p in model.parameter_table if p.axes[0] == "vocab"))
    return table.astype(np.float64)


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the matrix [D, E] with the smallest squared error of x @ matrix, [V, D] @ [D, E], from y [V, E].

    A student that is a projection of its teacher starts with the best way back. For another student it is a start.
    """
    solution: np.ndarray = np.linalg.lstsq(x.T @ x, x.T @ y, rcond=None)[0]
    return solution


def _relation_heads(student: DistilBertConfig, teacher: DistilBertConfig | None, recipe: DistillationRecipe) -> int:
    """Return the number of heads in which relations are compared.

    Raises:
        InputError: It does not divide the attention widths of both models, or it is left out and there is no teacher.
    """
    if teacher is None:
        if recipe.relation_heads is None:
            raise InputError("Give relation_heads: without a teacher, it cannot be chosen to fit both models.")
        return recipe.relation_heads
    widths = [len(config.kept_heads(config.n_layers - 1)) * config.head_size for config in (student, teacher)]
    fitting = [heads for heads in range(1, min(widths) + 1) if not any(width % heads for width in widths)]
    if recipe.relation_heads is None:
        return max(heads for heads in fitting if heads == 1 or min(widths) // heads >= SMALLEST_HEAD)
    if recipe.relation_heads not in fitting:
        raise InputError(
            f"relation_heads must divide the attention widths {widths[0]} of the student and {widths[1]} of the "
            f"teacher, which {', '.join(map(str, fitting))} do; got {recipe.relation_heads}."
        )
    return recipe.relation_heads


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
