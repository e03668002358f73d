"""Whether checkpoints compute the same on every backend: real text goes in, and every layer's numbers are compared.

float64 is the truth: what is left of a difference there is an error in the structure or in a weight, and what is left
in float32 is rounding.
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
# The largest relative differences that rounding explains, each with what was measured: of all layers and outputs of the
# base size with random weights, under all heads, 1 to 12 layers and 3 backends, and of the embedded model.
BOUNDS = {
    "float64": 1e-9,  # 1.3e-14; the tanh form of gelu where the exact one belongs makes 7e-4
    "float32": 5e-5,  # 5.6e-6
    # Stored in it, and computed in float64.
    "float16": 1e-2,  # 2.2e-3
    "bfloat16": 1e-1,  # 1.8e-2
}


@dataclass(frozen=True)
class Difference:
    """How far a layer or an output is from the reference.

    Attributes:
        name: 'hidden_states.0' (the embeddings), 'hidden_states.1' (after the first layer), ..., 'logits', ...
        absolute: Largest absolute difference; NaN if something is no number.
        relative: That, over the largest magnitude in the reference.
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
        dtype: What it was computed in.
        differences: For each layer and each output, in the order of the computation.
        bound: The largest relative difference that passes.
    """

    source: str
    backend: str
    dtype: str
    differences: tuple[Difference, ...]
    bound: float

    @property
    def worst(self) -> Difference:
        """The largest relative difference; NaN is larger than all."""
        return max(self.differences, key=lambda found: (np.isnan(found.relative), found.relative))

    @property
    def passed(self) -> bool:
        """Whether all differences are within the bound."""
        return self.worst.relative <= self.bound


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        sources: The checkpoints, as they were given.
        head: What stood on the body.
        inputs: What went in, in words.
        runs: All runs. The first is the reference, and differs from itself by nothing.
        notes: What was dropped or made to compare the checkpoints.
    """

    sources: tuple[str, ...]
    head: Head
    inputs: str
    runs: tuple[ModelRun, ...]
    notes: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The run that all are compared with, in words."""
        run = self.runs[0]
        return f"{run.source} on {BACKENDS[run.backend].title} in {run.dtype}"

    @property
    def passed(self) -> bool:
        """Whether all runs are within their bounds."""
        return all(run.passed for run in self.runs)


def verify(
    sources: Sequence[str | Path],
    backends: Sequence[str] | None = None,
    *,
    head: Head | None = None,
    attentions: bool = False,
    progress: Callable[[int], None] | None = None,
    **where: Any,
) -> Verification:
    """Run checkpoints of any format on every backend, and compare every layer and output with the first run.

    The models run on the CPU, in float64 and in float32. Checkpoints that are stored in different dtypes are compared
    with the bound of the coarser one.

    Args:
        sources: Folders, weight files, embedded models or Hub ids.
        backends: Which backends to run; all that are installed if left out.
        head: What is to stand on the body; what the checkpoints have, or only the body if they have different heads,
            if left out.
        attentions: Also compare the attention probabilities of every layer.
        progress: Called with 1 after each run.
        **where: Where to look for those that are on the Hub.

    Raises:
        BackendNotInstalledError: A backend, or any at all, is not installed.
        CheckpointError: A checkpoint is not there, is damaged, or is no DistilBERT.
        InputError: No checkpoint is given, or their sizes differ.
        TypeError: A keyword is unknown.

    Example:
        >>> from weight_conversion.verification.verifying import verify
        >>> verify(["sst2-tiny"], ["pt"]).passed
        True
    """
    check_keywords(where)
    if not sources:
        raise InputError("sources must name at least one checkpoint, got none.")
    names = _backends(backends)
    opened = [open_weights(source, head, **where) for source in sources]
    head, notes = _common_head(opened)
    _check_sizes(sources, opened, head)
    runs: list[ModelRun] = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(number)) for number in range(len(sources))]
        for source, folder, weights in zip(sources, folders, opened, strict=True):
            same = weights if weights.head is head else open_weights(source, head, **where)
            notes += [f"{source}: {note}" for note in same.notes]  # those of `convert` are about files too
            convert(source, folder, "pt", head=head, **where)
        inputs, kind = make_inputs(folders, opened[0].config, head)
        reference: dict[str, np.ndarray] | None = None
        for dtype in COMPUTE_DTYPES:
            for source, folder, weights in zip(sources, folders, opened, strict=True):
                for backend in names:
                    outputs = compute(backend, head, folder, dtype, inputs, attentions)
                    reference = outputs if reference is None else reference
                    bound = _bound(dtype, opened[0], weights)
                    runs.append(ModelRun(str(source), backend, dtype, tuple(_differences(outputs, reference)), bound))
                    if progress is not None:
                        progress(1)
    return Verification(tuple(map(str, sources)), head, kind, tuple(runs), tuple(notes))


def _backends(names: Sequence[str] | None) -> list[str]:
    found = list(dict.fromkeys(available_backends() if names is None else names))
    if not found:
        commands = ", or ".join(backend.install_command for backend in BACKENDS.values())
        raise BackendNotInstalledError(f"No backend is installed: {commands}")
    for name in found:
        load_backend(name)  # raises if it is not there
    return found


def _common_head(opened: Sequence[Weights]) -> tuple[Head, list[str]]:
    heads = list(dict.fromkeys(weights.head for weights in opened))
    if len(heads) == 1:
        return heads[0], []
    found = ", ".join(head.architecture for head in heads)
    return Head.BASE, [f"Only the bodies are compared, as the checkpoints are of different classes: {found}."]


def _check_sizes(sources: Sequence[str | Path], opened: Sequence[Weights], head: Head) -> None:
    def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
        return {parameter.name: parameter.shape for parameter in parameter_table(weights.config, head)}

    first = shapes(opened[0])
    for source, weights in zip(sources[1:], opened[1:], strict=True):
        other = shapes(weights)
        name = next((name for name in first | other if first.get(name) != other.get(name)), None)
        if name is not None or weights.config.n_heads != opened[0].config.n_heads:
            what = f"of {name}: {first.get(name)} and {other.get(name)}" if name else "of their attention heads"
            raise InputError(
                f"{sources[0]} and {source} must have the same sizes to be compared, got two {what}. `distilbert diff` "
                "compares them tensor by tensor."
            )


def _bound(dtype: str, reference: Weights, weights: Weights) -> float:
    stored = [] if weights.dtypes == reference.dtypes else [*weights.dtypes, *reference.dtypes]
    return max(BOUNDS[name] for name in (dtype, *stored))


# -- comparing --------------------------------------------------------------------------------------------------


def _differences(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> Iterator[Difference]:
    for name, expected in reference.items():
        with np.errstate(invalid="ignore"):  # infinity minus itself
            absolute = float(np.abs(outputs[name] - expected).max())
        yield Difference(name, absolute, relative_to(float(np.abs(expected).max()), absolute))
