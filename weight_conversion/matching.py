"""Stored tensors as the parameters of a model: first canonical names, then the parameter table."""

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
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, check_sizes, first_dtype


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

    A stored name may begin with the name of a model, such as 'model.' or 'tf_distil_bert_model/'. If exactly one model
    has word embeddings, its name is removed from all of its tensors. Tensors of other models and of optimizers keep
    their stored names.

    Raises:
        CheckpointError: Two tensors have the same canonical name.
    """
    names = {name: ("", name, False) if is_of_optimizer(name) else split_name(name) for name in stored}
    models = {model for model, plain, _ in names.values() if plain.endswith(WORD_EMBEDDINGS)}
    tensors: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        model, plain, swapped = names[name]
        if len(models) == 1 and model not in models:
            plain, swapped = without_model(name, *models), False
        if plain in tensors:
            raise CheckpointError(f"{tensor.where} and {tensors[plain].where} are both {plain}.")
        tensors[plain] = tensor.T if swapped else tensor
    return tensors


def match(config: DistilBertConfig, tensors: Mapping[str, LazyTensor], head: Head | None, source: str) -> Weights:
    """Return tensors as the weights of a model, with notes on everything that does not fit.

    Args:
        config: The configuration.
        tensors: Tensors by canonical name, with or without the prefix of the base model.
        head: Head of the result; None: the head that fits the tensors best. Parameters of a given head that are missing
            are initialised at random, with a note.
        source: Name of the checkpoint, for messages.

    Raises:
        CheckpointError: A parameter is missing, has another shape, or does not have a floating dtype.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    check_sizes(config, shapes, source)
    requested, head = head, head or find_head(config, shapes)
    table = parameter_table(config, head)
    report = LoadingReport.of(table, shapes)
    if report.mismatched:
        lines = [f"{name}: {stored} stored, {shape} expected" for name, stored, shape in report.mismatched]
        raise CheckpointError(f"{source} does not fit its configuration: {'; '.join(lines)}.")
    matched = {name: tensors[entry] for name, entry in report.entries.items()}
    for name, tensor in matched.items():
        if tensor.dtype not in NUMPY_DTYPES:
            raise CheckpointError(f"{tensor.where}: {name} must be of a floating dtype, got {tensor.dtype}.")
    notes = [] if requested is not None else _class_notes(config, head)
    for parameter in table:
        if parameter.name in report.missing and parameter.computed:
            notes.append(f"{parameter.name} was not stored, and is made by its formula.")
            matched[parameter.name] = LazyTensor(
                parameter.shape, "float32", partial(sinusoidal_table, *parameter.shape), "the formula"
            )
    missing = [parameter for parameter in table if parameter.name in report.missing and not parameter.computed]
    names = [parameter.name for parameter in missing]
    if missing and (requested is None or not all(parameter.of_head for parameter in missing)):
        raise CheckpointError(
            f"{source} lacks {len(missing)} of the parameters of {head.architecture}: {listed(names)}. "
            f"It also holds: {listed(report.unexpected) or 'nothing else'}."
        )
    if missing:
        notes.append(f"New, and to be trained before use: {', '.join(names)}.")
        dtype = first_dtype(matched)
        matched |= {parameter.name: _initial_tensor(parameter, config, dtype) for parameter in missing}
    notes += _dropped_notes(report, head)
    notes += [
        f"Dropped, as tie_word_embeddings of {CONFIG_FILE} is true: {parameter.name}, which differs from the word "
        "embeddings. Set that to false to keep it."
        for parameter in table
        if parameter.tied_to is not None and _differs(tensors.get(parameter.name), matched[parameter.tied_to])
    ]
    ordered = {parameter.name: matched[parameter.name] for parameter in table if parameter.tied_to is None}
    return Weights(config, head, ordered, notes=notes)


def _class_notes(config: DistilBertConfig, head: Head) -> list[str]:
    """Return a note if the configuration names another class than the one that fits the tensors."""
    architectures = {str(name).removeprefix("TF").removeprefix("Flax") for name in config.architectures or ()}
    named = architectures & {row.architecture for row in Head}
    if not named or head.architecture in named:
        return []
    return [
        f"Taken for a {head.architecture}, which its entries fit best, though {CONFIG_FILE} names "
        f"{', '.join(sorted(named))}. Give another head if it is not one."
    ]


def _dropped_notes(report: LoadingReport, head: Head) -> list[str]:
    """Return notes on the entries for which the model has no parameter."""
    optimizer = [name for name in report.unexpected if is_of_optimizer(name)]
    others = [name for name in report.unexpected if name not in optimizer]
    notes = []
    if optimizer:
        notes.append(f"The state of the optimizer was dropped: {len(optimizer)} arrays from {optimizer[0]} on.")
    if others:
        notes.append(f"Dropped, as {head.architecture} has no such parameters: {', '.join(others)}.")
    return notes


def _differs(copy: LazyTensor | None, original: LazyTensor) -> bool:
    """Return whether a second copy of a tensor is stored with other values."""
    if copy is None:
        return False
    return (copy.shape, copy.dtype) != (original.shape, original.dtype) or not np.array_equal(
        copy.read(), original.read()
    )


def _initial_tensor(parameter: Parameter, config: DistilBertConfig, dtype: str) -> LazyTensor:
    """Return initial values of a parameter."""

    def read() -> np.ndarray:
        return initial_array(parameter, config).astype(NUMPY_DTYPES[dtype])

    return LazyTensor(parameter.shape, dtype, read, "new")
