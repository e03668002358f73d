"""From files of any format to the canonical form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.errors import CheckpointError
from distilbert_core.hub import find_file, local_folder, offline_note, resolve_file, split_hub_options
from distilbert_core.parameters import BODY, Head, Parameter, initial_array, parameter_table, sinusoidal_table
from distilbert_core.pretrained import LoadingReport, find_head
from weight_conversion.bert import bert_to_distilbert
from weight_conversion.companions import COMPANIONS, read_companions
from weight_conversion.formats import FORMATS, Format
from weight_conversion.formats.base import shard_files
from weight_conversion.names import listed, split_name
from weight_conversion.weights import DTYPES, Tensor, Weights, check_sizes, file_state

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
ARCHITECTURES = {head.architecture for head in Head}
OPTIMIZER = ("optimizer/", "opt_state/")  # beginnings of names: state of training, as Keras and Flax call it


def open_weights(source: str | Path, head: Head | None = None, **where: Any) -> Weights:
    """Open a checkpoint of any format. Its arrays are not read yet.

    Args:
        source: A folder, a weight file with config.json beside it, an embedded model, or a Hub id.
        head: What is to stand on the body; what the checkpoint has if left out. What it lacks of that head is drawn at
            random, and noted.
        **where: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`, `subfolder`).

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it is no DistilBERT.
        ConfigError: Its configuration has an impossible value.
        TypeError: A keyword is unknown.

    Example:
        >>> from weight_conversion import open_weights
        >>> weights = open_weights("sst2-tiny")
        >>> weights.head.value, weights.format, weights.tensors["classifier.weight"].shape
        ('ForSequenceClassification', 'pt', (2, 224))
    """
    check_keywords(where)
    is_file = Path(source).is_file()
    source, format, files, index = _find_files(source, where)
    beside = [file for name in format.beside if (file := find_file(source, name, **where)) is not None]
    if format.read_config is None:
        beside = [resolve_file(source, CONFIG_FILE, **where)]
    paths = [*beside, *index, *files, *([files[0].parent] if format.whole_folder else [])]
    state = file_state(paths)
    stored: dict[str, Tensor] = {}
    for path in files:
        for name, tensor in format.open(path).items():
            if name in stored:
                raise CheckpointError(f"{path} holds {name}, which another shard has too.")
            stored[name] = tensor
    companions = read_companions(source, where, [name for name in COMPANIONS if name not in format.beside])
    if format.companions is not None:
        companions |= format.companions(files[0])
    if format.read_config is None and _is_bert(beside[0]):
        weights = _from_bert(beside[0], stored, head, str(source))
    else:
        config = format.read_config(files[0]) if format.read_config else DistilBertConfig.from_json_file(beside[0])
        weights = match(config, canonical(stored), head, str(source))
    if format.unread is not None:
        weights.notes += format.unread(files[0])
    folder = None if is_file else local_folder(source)
    return replace(
        weights,
        format=format.name,
        source=source,
        folder=folder and folder / where.get("subfolder", ""),
        paths=paths,
        state=state,
        companions=companions,
    )


def check_keywords(where: Mapping[str, Any]) -> None:
    """Raise TypeError if a keyword is none of those that say where to look."""
    unknown = split_hub_options(where)[1]
    if unknown:
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")


def _is_bert(config_file: Path) -> bool:
    try:
        return json.loads(config_file.read_text(encoding="utf-8")).get("model_type") == "bert"
    except (ValueError, AttributeError, RecursionError):
        return False  # whatever else it is, reading it as DistilBERT's will say what is the matter


def _from_bert(config_file: Path, stored: Mapping[str, Tensor], head: Head | None, source: str) -> Weights:
    """Return a BERT as a DistilBERT; see `bert_to_distilbert`."""
    # Integers, such as position_ids, are dropped whatever they are.
    arrays = {name: tensor.read() if tensor.dtype in DTYPES else np.empty(0) for name, tensor in stored.items()}
    fields = json.loads(config_file.read_text(encoding="utf-8"))
    config, found, notes = bert_to_distilbert(fields, arrays, head)
    tensors = {
        name: Tensor(array.shape, array.dtype.name, partial(np.asarray, array), f"{source}: {name}")
        for name, array in found.items()
    }
    weights = match(config, tensors, head, source)
    weights.notes += notes
    return weights


def _find_files(source: str | Path, where: Mapping[str, Any]) -> tuple[str | Path, Format, list[Path], list[Path]]:
    """Return the folder, the format and the weight files of a checkpoint, and the index of these if there is one."""
    path = Path(source)
    if path.is_file():
        format = next((format for format in FORMATS.values() if path.name in (format.file, *format.also)), None)
        format = format or next((format for format in FORMATS.values() if format.suffix == path.suffix), None)
        if format is None:
            known = ", ".join(dict.fromkeys(format.suffix for format in FORMATS.values() if format.suffix))
            raise CheckpointError(f"{source} must end in one of {known}.")
        return path.parent, _of_kind(format, path), [path], []
    for format in FORMATS.values():
        for name in (format.file, *format.also):
            single = find_file(source, name, **where)
            if single is not None:
                for beside in format.beside:  # which may say more about it, and must first be fetched from the Hub
                    find_file(source, beside, **where)
                return source, _of_kind(format, single), [single], []
        index = find_file(source, format.index, **where)
        if index is not None:
            shards = [resolve_file(source, name, **where) for name in shard_files(index)]
            return source, _of_kind(format, shards[0]), shards, [index]
    names = ", ".join(dict.fromkeys(format.file for format in FORMATS.values()))
    raise CheckpointError(f"{source} has no weights: none of {names}{offline_note(source, where)}.")


def _of_kind(format: Format, path: Path) -> Format:
    """Return the format that a file says it is of, where several have one file name."""
    same = (other for other in FORMATS.values() if other.suffix == format.suffix)
    return next((other for other in same if other.recognise(path)), format)


def canonical(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by canonical name, in the shapes of the Hub.

    Before a name may stand that of a model, such as 'model.' or 'tf_distil_bert_model/'. Where one model has word
    embeddings, whatever is below another name is not its own and keeps its stored name; so does an optimizer's state.

    Raises:
        CheckpointError: Two have one canonical name.
    """
    names = {name: ("", name, False) if name.startswith(OPTIMIZER) else split_name(name) for name in stored}
    models = {model for model, plain, _ in names.values() if plain.endswith(WORD_EMBEDDINGS)}
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        model, plain, swapped = names[name]
        if len(models) == 1 and model not in models:
            plain, swapped = name, False
        if plain in found:
            raise CheckpointError(f"{tensor.where} and {found[plain].where} are both {plain}.")
        found[plain] = tensor.T if swapped else tensor
    return found


def match(config: DistilBertConfig, tensors: Mapping[str, Tensor], head: Head | None, source: str) -> Weights:
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
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{tensor.where}: {name} must be of a floating dtype, got {tensor.dtype}.")
    notes = []
    named = {str(name).removeprefix("TF").removeprefix("Flax") for name in config.architectures or ()} & ARCHITECTURES
    if asked is None and named and head.architecture not in named:
        notes.append(
            f"Taken for a {head.architecture}, which its entries fit best, though {CONFIG_FILE} names "
            f"{', '.join(sorted(named))}. Give another head if it is not one."
        )
    for parameter in table:
        if parameter.name in report.missing and parameter.computed:
            notes.append(f"{parameter.name} was not stored, and is made by its formula.")
            found[parameter.name] = Tensor(
                parameter.shape, "float32", partial(sinusoidal_table, *parameter.shape), "the formula"
            )
    missing = [name for name in report.missing if name not in found]
    of_head = head is not Head.NONE and not any(name.startswith(f"{BODY}.") for name in missing)
    if missing and asked is not None and of_head:
        notes.append(f"New, and to be trained before use: {', '.join(missing)}.")
        dtype = next(iter(found.values())).dtype
        found |= {p.name: _fresh(p, config, dtype) for p in table if p.name in missing}
    elif missing:
        raise CheckpointError(
            f"{source} lacks {len(missing)} of the parameters of {head.architecture}: {listed(missing)}. "
            f"It also holds: {listed(report.unexpected) or 'nothing else'}."
        )
    optimizer = [name for name in report.unexpected if name.startswith(OPTIMIZER)]
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


def _differs(copy: Tensor | None, original: Tensor) -> bool:
    """Return whether a tensor is stored a second time with other values."""
    if copy is None:
        return False
    return (copy.shape, copy.dtype) != (original.shape, original.dtype) or not np.array_equal(
        copy.read(), original.read()
    )


def _fresh(parameter: Parameter, config: DistilBertConfig, dtype: str) -> Tensor:
    def read() -> np.ndarray:
        return initial_array(parameter, config).astype(DTYPES[dtype])

    return Tensor(parameter.shape, dtype, read, "new")
