"""Stored tensors as the parameters of a model: canonical names first, then the parameter table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, listed
from distilbert_core.files.checkpoint import WORD_EMBEDDINGS
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import Parameter, initial_array, sinusoidal_table
from distilbert_core.model.report import LoadingReport, find_head
from weight_conversion.names import is_of_optimizer, split_name, without_model
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, check_sizes


def canonical_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's arrays, of any framework, by canonical name; see `canonical`."""
    plain = {name: array if hasattr(array, "T") else np.asarray(array) for name, array in arrays.items()}
    stored = {
        name: LazyTensor(tuple(array.shape), "", partial(lambda array: array, array), "state_dict")
        for name, array in plain.items()
    }
    return {name: tensor.read() for name, tensor in canonical(stored).items()}


def canonical(stored: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Return tensors by canonical name, in the shapes of the Hub.

    Before a name may stand that of a model, such as 'model.' or 'tf_distil_bert_model/'. Where one model has word
    embeddings, its name is taken off whatever else it has, and what is below another name keeps its stored name; so
    does an optimizer's state.

    Raises:
        CheckpointError: Two have one canonical name.
    """
    names = {name: ("", name, False) if is_of_optimizer(name) else split_name(name) for name in stored}
    models = {model for model, plain, _ in names.values() if plain.endswith(WORD_EMBEDDINGS)}
    found: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        model, plain, swapped = names[name]
        if len(models) == 1 and model not in models:
            plain, swapped = without_model(name, *models), False
        if plain in found:
            raise CheckpointError(f"{tensor.where} and {found[plain].where} are both {plain}.")
        found[plain] = tensor.T if swapped else tensor
    return found


def match(config: DistilBertConfig, tensors: Mapping[str, LazyTensor], head: Head | None, source: str) -> Weights:
    """Return tensors that have canonical names as the weights of a model, or say what is the matter with them.

    Args:
        config: The configuration.
        tensors: By canonical name, with or without the prefix of the body.
        head: What is to stand on the body; what fits best if None.
        source: Where they are from, for messages.

    Raises:
        CheckpointError: A parameter is missing, other than of a head that was asked for; or one has another shape or no
            floating dtype.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    check_sizes(config, shapes, source)
    asked, head = head, head or find_head(config, shapes)
    table = parameter_table(config, head)
    report = LoadingReport.of(table, shapes)
    if report.mismatched:
        lines = [f"{name}: {stored} stored, {shape} expected" for name, stored, shape in report.mismatched]
        raise CheckpointError(f"{source} does not fit its configuration: {'; '.join(lines)}.")
    found = {name: tensors[entry] for name, entry in report.entries.items()}
    for name, tensor in found.items():
        if tensor.dtype not in NUMPY_DTYPES:
            raise CheckpointError(f"{tensor.where}: {name} must be of a floating dtype, got {tensor.dtype}.")
    notes = []
    architectures = {str(name).removeprefix("TF").removeprefix("Flax") for name in config.architectures or ()}
    named = architectures & {row.architecture for row in Head}
    if asked is None and named and head.architecture not in named:
        notes.append(
            f"Taken for a {head.architecture}, which its entries fit best, though {CONFIG_FILE} names "
            f"{', '.join(sorted(named))}. Give another head if it is not one."
        )
    for parameter in table:
        if parameter.name in report.missing and parameter.computed:
            notes.append(f"{parameter.name} was not stored, and is made by its formula.")
            found[parameter.name] = LazyTensor(
                parameter.shape, "float32", partial(sinusoidal_table, *parameter.shape), "the formula"
            )
    missing = [name for name in report.missing if name not in found]
    of_head = all(parameter.of_head for parameter in table if parameter.name in missing)
    if missing and asked is not None and of_head:
        notes.append(f"New, and to be trained before use: {', '.join(missing)}.")
        dtype = next(iter(found.values())).dtype
        found |= {p.name: _fresh(p, config, dtype) for p in table if p.name in missing}
    elif missing:
        raise CheckpointError(
            f"{source} lacks {len(missing)} of the parameters of {head.architecture}: {listed(missing)}. "
            f"It also holds: {listed(report.unexpected) or 'nothing else'}."
        )
    optimizer = [name for name in report.unexpected if is_of_optimizer(name)]
    if optimizer:
        notes.append(f"The state of the optimizer was dropped: {len(optimizer)} arrays from {optimizer[0]} on.")
    others = [name for name in report.unexpected if name not in optimizer]
    if others:
        notes.append(f"Dropped, as {head.architecture} has no such parameters: {', '.join(others)}.")
    notes += [
        f"Dropped, as tie_word_embeddings of {CONFIG_FILE} is true: {parameter.name}, which differs from the word "
        "embeddings. Set that to false to keep it."
        for parameter in table
        if parameter.tied_to is not None and _differs(tensors.get(parameter.name), found[parameter.tied_to])
    ]
    ordered = {p.name: found[p.name] for p in table if p.tied_to is None}
    return Weights(config, head, ordered, notes=notes)


def _differs(copy: LazyTensor | None, original: LazyTensor) -> bool:
    """Return whether a tensor is stored a second time with other values."""
    if copy is None:
        return False
    return (copy.shape, copy.dtype) != (original.shape, original.dtype) or not np.array_equal(
        copy.read(), original.read()
    )


def _fresh(parameter: Parameter, config: DistilBertConfig, dtype: str) -> LazyTensor:
    def read() -> np.ndarray:
        return initial_array(parameter, config).astype(NUMPY_DTYPES[dtype])

    return LazyTensor(parameter.shape, dtype, read, "new")
