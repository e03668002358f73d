"""Random configurations, weights and inputs, and what each backend makes of them beside the formulas in NumPy.

A case is drawn by hypothesis and holds choices only; arrays follow from its seed. Sizes are drawn from a list, because
JAX compiles each operation for each shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from distilbert_core import DistilBertConfig, Head, InputError
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.model.backends import get_backend
from distilbert_core.model.config import ACTIVATIONS
from support.checkpoints import random_arrays
from support.comparison import largest_difference
from support.frameworks import FRAMEWORKS, Framework, map_arrays
from support.reference import forward

Arrays = dict[str, np.ndarray]

# Dtypes of masks, with the values that show a token and those that hide it.
SHOWN: dict[str, tuple[float, ...]] = {
    "bool": (1,),
    "int8": (1, -1, 127),
    "uint8": (1, 255),
    "int32": (1, -5),
    "int64": (1, 2**40),
    "float16": (1, 0.5, 6e-8),  # 6e-8 and the like are denormal
    "bfloat16": (1, -2, 1e-40),
    "float32": (1, 1e-42, np.inf),
    "float64": (1, 5e-324, -1e300),
}
TINY = (0.0, -0.0, 5e-324, -1e-310, 1e-308)  # zeros, denormal numbers, and one just above
ROWS = ("full", "right", "left", "inner", "one", "empty", "any")
LABELS = ("some", "all", "ignored")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model and of a batch."""

    n_layers: int = 1
    n_heads: int = 1
    head_size: int = 3
    hidden_dim: int = 3
    vocab_size: int = 5
    batch: int = 1
    tokens: int = 2
    longest: int = 2
    choices: int = 1
    num_labels: int = 2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Sizes:
        tokens = int(rng.integers(1, 10))
        sizes = {
            "n_layers": (1, 3),
            "n_heads": (1, 4),
            "head_size": (1, 6),
            "hidden_dim": (1, 10),
            "vocab_size": (2, 20),
            "batch": (1, 4),
            "choices": (1, 3),
            "num_labels": (1, 5),
        }
        drawn = {name: int(rng.integers(low, high, endpoint=True)) for name, (low, high) in sizes.items()}
        return cls(**drawn, tokens=tokens, longest=tokens + int(rng.integers(0, 3)))


def some_sizes(count: int) -> list[Sizes]:
    """Return the smallest sizes, then random ones; the same in every run."""
    rng = np.random.default_rng(18)
    return [Sizes(), *(Sizes.random(rng) for _ in range(count - 1))]


@dataclass(frozen=True)
class Case:
    """The choices of one case."""

    head: Head
    sizes: Sizes
    changes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    rows: tuple[str, ...] = ("full",)
    mask_dtype: str | None = "int64"
    negative_zero: bool = False
    head_mask: str | None = None
    embeds: bool = False
    positions: str | None = None
    labels: str = "some"
    tiny_weights: bool = False
    attention: str | None = None

    @property
    def config(self) -> DistilBertConfig:
        sizes = self.sizes
        return DistilBertConfig(
            vocab_size=sizes.vocab_size,
            max_position_embeddings=sizes.longest,
            n_layers=sizes.n_layers,
            n_heads=sizes.n_heads,
            dim=sizes.n_heads * sizes.head_size,
            hidden_dim=sizes.hidden_dim,
            num_labels=2 if self.head is Head.QUESTION_ANSWERING else sizes.num_labels,
            **self.changes,
        )

    def arrays(self) -> Arrays:
        """Weights; some of them zeros and denormal numbers, if `tiny_weights`."""
        arrays = random_arrays(self.config, self.head, self.seed)
        if self.tiny_weights:
            rng = np.random.default_rng(self.seed)
            for name in rng.permutation(sorted(arrays))[: len(arrays) // 2]:
                if "sinusoidal" not in name:
                    places = rng.random(arrays[name].shape) < 0.5
                    arrays[name] = np.where(places, rng.choice(TINY, arrays[name].shape), arrays[name])
        return arrays

    def inputs(self) -> Arrays:
        """The arguments of a call."""
        rng, sizes, config = np.random.default_rng(self.seed), self.sizes, self.config
        shape = (sizes.batch, *([sizes.choices] if self.head.has_choices else []), sizes.tokens)
        found: Arrays = {}
        if self.embeds:
            found["inputs_embeds"] = rng.normal(size=(*shape, config.dim))
            places = rng.random(found["inputs_embeds"].shape) < 0.2
            found["inputs_embeds"] = np.where(places, rng.choice(TINY, places.shape), found["inputs_embeds"])
        else:
            found["input_ids"] = rng.integers(0, config.vocab_size, shape)
        if self.mask_dtype is not None:
            found["attention_mask"] = self._mask(rng, shape)
        if self.head_mask is not None:
            factors = (config.n_heads,) if self.head_mask == "heads" else (config.n_layers, config.n_heads)
            found["head_mask"] = rng.choice([1.0, 0.0, -0.0, 0.5, -2.0, 5e-324], factors)
        if self.positions is not None:
            lead = {"tokens": (), "one row": (1,), "rows": shape[:-1]}[self.positions]
            found["position_ids"] = rng.integers(0, sizes.longest, (*lead, sizes.tokens))
        return {**found, **self._labels(rng, shape)}

    def _mask(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        assert self.mask_dtype is not None
        rows = int(np.prod(shape[:-1]))
        shown = np.stack([row_mask(self.rows[row % len(self.rows)], shape[-1], rng) for row in range(rows)])
        dtype = ml_dtypes.bfloat16 if self.mask_dtype == "bfloat16" else np.dtype(self.mask_dtype)
        values = rng.choice(np.array(SHOWN[self.mask_dtype]), shown.shape).astype(dtype)
        hidden = np.array(-0.0 if self.negative_zero and "float" in self.mask_dtype else 0).astype(dtype)
        return np.where(shown, values, hidden).reshape(shape)

    def _labels(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Arrays:
        config, head, batch, tokens = self.config, self.head, shape[0], shape[-1]
        if self.labels == "none" or head is Head.BASE:
            return {}
        if head is Head.QUESTION_ANSWERING:
            low, high = {"all": (0, tokens), "some": (-2, tokens + 2), "ignored": (tokens, tokens + 2)}[self.labels]
            return {name: rng.integers(low, high, batch) for name in ("start_positions", "end_positions")}
        if head is Head.SEQUENCE_CLASSIFICATION:
            if config.problem_type == "multi_label_classification" and config.num_labels > 1:
                return {"labels": rng.integers(0, 2, (batch, config.num_labels)).astype(np.float64)}
            if config.problem_type == "regression" or config.num_labels == 1:
                size = (batch,) if config.num_labels == 1 else (batch, config.num_labels)
                return {"labels": rng.choice([1.5, -0.0, 5e-324, -3.0], size)}
        classes = {Head.MASKED_LM: config.vocab_size, Head.MULTIPLE_CHOICE: self.sizes.choices}
        size = (batch, tokens) if head.labels_tokens else (batch,)
        labels = rng.integers(0, classes.get(head, config.num_labels), size)
        ignored = {"all": 0.0, "some": 0.4, "ignored": 1.0}[self.labels]
        return {"labels": np.where(rng.random(size) < ignored, -100, labels)}


def row_mask(kind: str, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Return [T], True for tokens: all, padded on a side, with a hole, one token, none, or at random."""
    shown, cut = np.ones(tokens, bool), int(rng.integers(0, tokens))
    match kind:
        case "right":
            shown[cut + 1 :] = False
        case "left":
            shown[:cut] = False
        case "inner":
            shown[1 : max(tokens - 1, 1)] = False
        case "one":
            shown = np.arange(tokens) == cut
        case "empty":
            shown[:] = False
        case "any":
            shown = rng.random(tokens) < 0.5
    return shown


@st.composite
def cases(draw: st.DrawFn, sizes: list[Sizes], count: int) -> list[Case]:
    """Draw cases with other values, but one program; the simplest ones have no option."""
    head, chosen = draw(st.sampled_from(list(Head))), draw(st.sampled_from(sizes))
    changes: dict[str, Any] = {
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "pad_token_id": draw(st.sampled_from([None, *range(chosen.vocab_size)])),
        "tie_word_embeddings": draw(st.booleans()),
        "sinusoidal_pos_embds": chosen.n_heads * chosen.head_size % 2 == 0 and draw(st.booleans()),
    }
    if chosen.n_heads > 1:
        subsets = st.lists(st.integers(0, chosen.n_heads - 1), max_size=chosen.n_heads - 1, unique=True)
        changes["pruned_heads"] = draw(st.dictionaries(st.integers(0, chosen.n_layers - 1), subsets))
    if head is Head.SEQUENCE_CLASSIFICATION:
        kinds = [None, "regression", "single_label_classification", "multi_label_classification"]
        changes["problem_type"] = draw(st.sampled_from(kinds[: 2 if chosen.num_labels == 1 else 4]))
    program = Case(
        head,
        chosen,
        changes,
        mask_dtype=draw(st.sampled_from([None, *SHOWN])),
        head_mask=draw(st.sampled_from([None, None, "heads", "layers"])),
        embeds=draw(st.integers(0, 3)) == 3,
        positions=draw(st.sampled_from([None, None, "tokens", "one row", "rows"])),
        labels=draw(st.sampled_from(["some", "none"])),
        attention=draw(st.sampled_from([None, "eager"])),
    )
    values = st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32 - 1),
            "rows": st.lists(st.sampled_from(ROWS), min_size=1, max_size=3).map(tuple),
            "negative_zero": st.booleans(),
            "tiny_weights": st.integers(0, 3).map(lambda number: number == 3),
            "labels": st.sampled_from([program.labels] if program.labels == "none" else LABELS),
        }
    )
    return [replace(program, **each) for each in draw(st.lists(values, min_size=count, max_size=count))]


# -- what is compared ---------------------------------------------------------------------------------------------


def expected_packed(case: Case, arrays: Arrays, inputs: Arrays) -> Arrays | None:
    """Return the outputs without padding by the formulas, each text by itself; None if a text needs a token.

    Tokens keep the positions that they have in the batch. Padding has zeros. A batch of padding alone is computed as it
    is, if the head reads all tokens.
    """
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask", np.ones_like(ids)) != 0
    flat_ids, flat_mask = ids.reshape(-1, ids.shape[-1]), mask.reshape(-1, ids.shape[-1])
    if not case.head.reads_tokens and not flat_mask.any(axis=1).all():
        return None
    if not flat_mask.any():
        return without_details(forward(case.config, case.head, arrays, input_ids=ids, attention_mask=mask))
    found: dict[str, list[np.ndarray]] = {}
    for row, shown in zip(flat_ids, flat_mask, strict=True):
        text = {"input_ids": row[shown][None], "position_ids": np.flatnonzero(shown)[None]}
        if case.head.has_choices:
            text = {name: array[:, None] for name, array in text.items()}
        outputs = without_details(forward(case.config, case.head, arrays, **text)) if shown.any() else {}
        for name, values in outputs.items():
            found.setdefault(name, []).append(values[0])
    if case.head.has_choices:
        return {name: np.concatenate(values).reshape(ids.shape[:2]) for name, values in found.items()}
    if not case.head.reads_tokens:
        return {name: np.stack(values) for name, values in found.items()}
    padded = {}
    for name, values in found.items():
        joined = np.concatenate(values)
        padded[name] = np.zeros((*mask.shape, *joined.shape[1:]))
        padded[name][mask] = joined
    return padded


def without_details(outputs: Arrays) -> Arrays:
    """Return the outputs without hidden states and attention weights."""
    return {name: array for name, array in outputs.items() if name not in ("hidden_states", "attentions")}


def cotangent(case: Case) -> np.ndarray | None:
    """Return the factors [B, T, D] of the hidden states whose sum is the loss of the base model; None for heads."""
    if case.head is not Head.BASE:
        return None
    shape = (case.sizes.batch, case.sizes.tokens, case.config.dim)
    return np.random.default_rng(case.seed + 1).normal(size=shape)


def slope(case: Case, arrays: Arrays, inputs: Arrays, direction: Arrays, step: float) -> float:
    """Return the derivative of the loss by the formulas along a direction in the space of weights."""

    def loss(sign: int) -> float:
        moved = {name: array + sign * step * direction.get(name, 0.0) for name, array in arrays.items()}
        outputs = forward(case.config, case.head, moved, **inputs)
        factors = cotangent(case)
        return float(outputs["loss"] if factors is None else (outputs["last_hidden_state"] * factors).sum())

    return (loss(1) - loss(-1)) / (2 * step)


def random_direction(case: Case, gradients: Arrays) -> Arrays:
    """Return a direction of trained weights, without the padding row, whose look-up has no gradient."""
    rng = np.random.default_rng(case.seed + 2)
    direction = {name: rng.normal(size=array.shape) for name, array in sorted(gradients.items())}
    for name, array in direction.items():
        if name.endswith("word_embeddings.weight") and case.config.pad_token_id is not None:
            array[case.config.pad_token_id] = 0
    return direction


def load(case: Case, framework: Framework) -> Any:
    """Return the inference object of a case, loaded from files."""
    options = {"attn_implementation": case.attention} if framework.name == "pt" and case.attention else {}
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), case.arrays(), {"config.json": case.config.to_json_string().encode()})
        return get_backend(framework.name).runner(framework.load(case.head, folder, dtype="auto", **options))


def results(case: Case, framework: Framework, runner: Any) -> dict[str, Any]:
    """Return outputs, gradients and packed outputs of one backend.

    'packed' is None if the backend refuses, because a text has no token.

    Args:
        case: The case.
        framework: The backend.
        runner: An inference object of the same program. Its model gets the weights of the case.
    """
    model, arrays, inputs = runner.model, case.arrays(), case.inputs()
    for parameter in model.parameter_table:
        if parameter.tied_to is None:
            model._set_array(parameter, arrays[parameter.name])
    found: dict[str, Any] = {}
    if framework.name == "flax":
        outputs, gradients = _flax_program()(model, inputs, cotangent(case))
        found["outputs"] = map_arrays(np.asarray, dict(outputs))
        if gradients is not None:
            found["gradients"] = framework.as_gradients(model, gradients)  # type: ignore[attr-defined]
    else:
        everything = {"output_attentions": True, "output_hidden_states": True}
        found["outputs"] = dict(framework.call(model, **inputs, **everything))
        if framework.name == "pt":  # its fused kernel returns no attention weights
            found["plain"] = dict(framework.call(model, **inputs))
        if has_loss(inputs) or case.head is Head.BASE:
            found["gradients"] = framework.gradients(model, cotangent=cotangent(case), **inputs)
    if not case.embeds:
        texts = {name: inputs[name] for name in ("input_ids", "attention_mask") if name in inputs}
        try:
            found["packed"] = runner(**texts)
        except InputError as error:
            if "must have a nonzero entry in every row" not in str(error):
                raise
            found["packed"] = None
    return found


def has_loss(inputs: Arrays) -> bool:
    """Return whether labels are among the inputs."""
    return bool({"labels", "start_positions"} & inputs.keys())


@cache
def _flax_program() -> Any:
    """Return one compiled function for outputs and gradients: JAX alone takes seconds for each new shape."""
    import jax

    def everything(model: Any, inputs: Arrays, factors: np.ndarray | None) -> Any:
        outputs = model(**inputs, output_attentions=True, output_hidden_states=True)
        if factors is None and not has_loss(inputs):
            return outputs, None
        return outputs, FRAMEWORKS["flax"].gradient_state(model, factors, inputs)  # type: ignore[attr-defined]

    return jax.jit(everything, compiler_options={"xla_backend_optimization_level": 0})


def relative_difference(got: Arrays, expected: Arrays) -> float:
    """Return the largest difference, relative to the largest number if that is above 1."""
    largest = max((float(np.abs(array).max(initial=0)) for array in expected.values()), default=0.0)
    return largest_difference(got, expected) / max(largest, 1.0)
