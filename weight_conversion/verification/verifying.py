"""Verification: whether checkpoints compute the same numbers on every backend, layer by layer, for real text.

float64 is the reference. A difference in float64 is an error in the structure or in a weight; a further difference in
float32 is rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import BackendNotInstalledError, InputError
from distilbert_core.model.backends import BACKENDS, available_backends, load_backend
from distilbert_core.model.heads import Head, parameter_table
from weight_conversion.converting import convert
from weight_conversion.reading import check_keywords, open_weights
from weight_conversion.verification.comparing import relative_to
from weight_conversion.verification.computing import compute
from weight_conversion.verification.inputs import make_inputs
from weight_conversion.weights import Weights

COMPUTE_DTYPES = ("float64", "float32")
# Largest relative differences that rounding explains. Beside each stands the largest one measured, over all layers and
# outputs of the base size with random weights, under all heads, with 1 to 12 layers, on 3 backends; and of sst2-tiny.
BOUNDS = {
    "float64": 1e-9,  # 1.3e-14; the tanh form of gelu instead of the exact one gives 7e-4
    "float32": 5e-5,  # 5.6e-6
    # Checkpoints stored in these dtypes and computed in float64.
    "float16": 1e-2,  # 2.2e-3
    "bfloat16": 1e-1,  # 1.8e-2
}


@dataclass(frozen=True)
class Difference:
    """The difference of a layer or an output from the reference.

    Attributes:
        name: 'hidden_states.0' (the embeddings), 'hidden_states.1' (after the first layer), ..., 'logits', ...
        absolute: Largest absolute difference; NaN if a value is NaN.
        relative: Largest absolute difference divided by the largest magnitude in the reference.
    """

    name: str
    absolute: float
    relative: float


@dataclass(frozen=True)
class ModelRun:
    """One checkpoint on one backend in one dtype.

    Attributes:
        source: The checkpoint, as it was given.
        backend: 'pt', 'tf' or 'flax'.
        dtype: Dtype of the computation.
        differences: Differences of all layers and outputs, in the order of the computation.
        bound: The largest relative difference that passes.
    """

    source: str
    backend: str
    dtype: str
    differences: tuple[Difference, ...]
    bound: float

    @property
    def worst(self) -> Difference:
        """The largest relative difference, where NaN counts as the largest."""
        return max(self.differences, key=lambda difference: (np.isnan(difference.relative), difference.relative))

    @property
    def passed(self) -> bool:
        """Whether all differences are within the bound."""
        return self.worst.relative <= self.bound


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        sources: The checkpoints, as they were given.
        head: The head of the models.
        inputs: Description of the inputs.
        runs: All runs. The first is the reference, so its differences are 0.
        notes: Notes on everything that was dropped or added to compare the checkpoints.
    """

    sources: tuple[str, ...]
    head: Head
    inputs: str
    runs: tuple[ModelRun, ...]
    notes: tuple[str, ...]

    @property
    def reference(self) -> str:
        """Description of the reference."""
        run = self.runs[0]
        return f"{run.source} on {BACKENDS[run.backend].title} in {run.dtype}"

    @property
    def passed(self) -> bool:
        """Whether all runs are within their bounds."""
        return all(run.passed for run in self.runs)


def verify(
    sources: Sequence[str | Path | Weights],
    backends: Sequence[str] | None = None,
    *,
    head: Head | None = None,
    attentions: bool = False,
    progress: Callable[[int], None] | None = None,
    **hub_options: Any,
) -> Verification:
    """Run checkpoints of any format on every backend, and compare every layer and output with the first run.

    The models run on the CPU, in float64 and in float32. The bound for checkpoints that are stored in different dtypes
    is the bound of the coarser dtype.

    Args:
        sources: Folders, weight files, embedded models, Hub ids, or open weights.
        backends: Backends to run on; None: all installed backends.
        head: Head of the models; None: the head of the checkpoints, or no head if the checkpoints have different heads.
        attentions: Also compare the attention probabilities of every layer.
        progress: Called with 1 after each run.
        **hub_options: Options for the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`).

    Raises:
        BackendNotInstalledError: A given backend, or every backend, is not installed.
        CheckpointError: A checkpoint does not exist, is damaged, or is not a DistilBERT.
        InputError: There are no checkpoints, or their sizes differ.
        TypeError: A keyword is unknown.

    Example:
        >>> from weight_conversion.verification.verifying import verify
        >>> verify(["sst2-tiny"], ["pt"]).passed
        True
    """
    check_keywords(hub_options)
    if not sources:
        raise InputError("sources must name at least one checkpoint, got none.")
    backend_names = _backends(backends)
    opened = [open_weights(source, head, **hub_options) for source in sources]
    head, notes = _common_head(opened)
    _check_sizes(opened, head)
    runs: list[ModelRun] = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(index)) for index in range(len(opened))]
        for weights, folder in zip(opened, folders, strict=True):
            same_head = open_weights(weights, head, **hub_options)
            notes += [f"{weights.name}: {note}" for note in same_head.notes]  # `convert` would add notes on files
            convert(same_head, folder, "pt", **hub_options)
        inputs, description = make_inputs(folders, opened[0].config, head)
        reference: dict[str, np.ndarray] | None = None
        for dtype in COMPUTE_DTYPES:
            for weights, folder in zip(opened, folders, strict=True):
                bound = _bound(dtype, opened[0], weights)
                for backend in backend_names:
                    outputs = compute(backend, head, folder, dtype, inputs, attentions)
                    reference = outputs if reference is None else reference
                    differences = tuple(_differences(outputs, reference))
                    runs.append(ModelRun(weights.name, backend, dtype, differences, bound))
                    if progress is not None:
                        progress(1)
    return Verification(tuple(weights.name for weights in opened), head, description, tuple(runs), tuple(notes))


def _backends(names: Sequence[str] | None) -> list[str]:
    """Return the backends to run on, all of which are installed."""
    backends = list(dict.fromkeys(available_backends() if names is None else names))
    if not backends:
        commands = ", or ".join(backend.install_command for backend in BACKENDS.values())
        raise BackendNotInstalledError(f"No backend is installed: {commands}")
    for name in backends:
        load_backend(name)  # raises if it is not installed
    return backends


def _common_head(opened: Sequence[Weights]) -> tuple[Head, list[str]]:
    """Return the head of all checkpoints, or `Head.BASE` with a note if they have different heads."""
    heads = list(dict.fromkeys(weights.head for weights in opened))
    if len(heads) == 1:
        return heads[0], []
    names = ", ".join(head.architecture for head in heads)
    return Head.BASE, [f"Only the base models are compared, as the checkpoints are of different classes: {names}."]


def _check_sizes(opened: Sequence[Weights], head: Head) -> None:
    def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
        return {parameter.name: parameter.shape for parameter in parameter_table(weights.config, head)}

    reference = opened[0]
    first = shapes(reference)
    for weights in opened[1:]:
        other = shapes(weights)
        name = next((name for name in first | other if first.get(name) != other.get(name)), None)
        if name is not None or weights.config.n_heads != reference.config.n_heads:
            what = f"of {name}: {first.get(name)} and {other.get(name)}" if name else "of their attention heads"
            raise InputError(
                f"{reference.name} and {weights.name} must have the same sizes to be compared, got two {what}. "
                "`distilbert diff` compares them tensor by tensor."
            )


def _bound(dtype: str, reference: Weights, weights: Weights) -> float:
    """Return the bound of a dtype, or of the coarsest stored dtype if two checkpoints are stored in different ones."""
    stored = [] if weights.dtypes == reference.dtypes else [*weights.dtypes, *reference.dtypes]
    return max(BOUNDS[name] for name in (dtype, *stored))


def _differences(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> Iterator[Difference]:
    for name, expected in reference.items():
        with np.errstate(invalid="ignore"):  # infinity minus itself
            absolute = float(np.abs(outputs[name] - expected).max())
        yield Difference(name, absolute, relative_to(float(np.abs(expected).max()), absolute))
