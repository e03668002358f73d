"""From files of any format to the canonical form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, listed
from distilbert_core.files.checkpoint import Selection, refuse_pointer
from distilbert_core.files.hub import (
    ADAPTER_CONFIG,
    WEIGHT_SUFFIXES,
    find_file,
    local_folder,
    offline_note,
    resolve_file,
    split_hub_options,
)
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import Parameter, initial_array, sinusoidal_table
from distilbert_core.model.report import LoadingReport, find_head
from weight_conversion.adapters import OPENERS as ADAPTER_FILES
from weight_conversion.adapters import Adapter
from weight_conversion.bert import bert_to_distilbert
from weight_conversion.companions import COMPANIONS, TOKENIZER_FILES, load_tokenizer, read_companions
from weight_conversion.formats import FORMATS, Format
from weight_conversion.formats.base import shard_files
from weight_conversion.names import is_of_optimizer, split_name, without_model
from weight_conversion.refusals import refuse
from weight_conversion.weights import DTYPES, Tensor, Weights, check_sizes, file_state

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
FIRST = {"tf": "h5", "flax": "msgpack"}  # format of the framework that Transformers is told a checkpoint is from
MOST_BASES = 3  # adapters on adapters


@dataclass
class Opened:
    """A checkpoint of any format. None of its arrays has been read.

    Attributes:
        format: Its format; of an adapter, that of its base.
        folder: The folder or the Hub id that the files beside the weights are in.
        stored: The tensors by their stored names.
        paths: All its files.
        state: What these were like before anything was read.
        config_file: The config.json beside the weights, if there is one; it may be a BERT's.
        config: Returns the configuration where it is not that of config.json, or None.
        companions: Content of the files that travel along, by name.
        notes: What of the files has no place here, a sentence each.
    """

    format: Format
    folder: str | Path
    stored: Mapping[str, Tensor]
    paths: list[Path]
    state: list[tuple[int, ...]]
    config_file: Path | None
    config: Callable[[], DistilBertConfig | None]
    companions: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the model by canonical name, in the shapes of the Hub."""
        return {name: x for name, x in canonical(self.stored).items() if not is_of_optimizer(name)}

    def dropped(self) -> list[str]:
        """Return what is stored beside the model, in words."""
        names = [name for name in self.stored if is_of_optimizer(name)]
        return [f"the state of the optimizer ({len(names)} arrays from {names[0]} on)"] if names else []


def open_checkpoint(source: str | Path, selection: Selection | None = None, **where: Any) -> Opened:
    """Open a checkpoint of any format, whatever it lacks; `Checkpoint` of the core asks for this function by name.

    Args:
        source: A folder, a weight file, an embedded model, or a Hub id.
        selection: Which of several weight files to read.
        **where: As in `open_weights`.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or its format is not read; the message says why.
    """
    return _open(source, selection or Selection(), where, MOST_BASES)


def _open(source: str | Path, selection: Selection, where: Mapping[str, Any], bases: int) -> Opened:
    found = None if Path(source).is_file() else _find_named(source, selection, where)
    adapter = None if found else _find_adapter(source, where)
    if adapter is not None:
        return _open_adapter(adapter, where, bases)
    folder, format, files, index = found or _find_other(source, selection, where)
    config_file = find_file(folder, CONFIG_FILE, **where)
    beside = [file for name in format.beside if (file := find_file(folder, name, **where)) is not None]
    paths = [*([config_file] if config_file else []), *beside, *index, *files]
    paths += [files[0].parent] if format.whole_folder else []
    state = file_state(paths)
    stored: dict[str, Tensor] = {}
    for path in files:
        refuse_pointer(path)
        for name, tensor in format.open(path).items():
            if name in stored:
                raise CheckpointError(f"{path} holds {name}, which another shard has too.")
            stored[name] = tensor
    companions = read_companions(folder, where, [name for name in COMPANIONS if name not in format.beside])
    if format.companions is not None:
        companions |= format.companions(files[0])
    config = partial(format.read_config, files[0])
    notes = [] if format.unread is None else format.unread(files[0])
    return Opened(format, folder, stored, paths, state, config_file, config, companions, notes)


def open_tokenizer(cls: type[Any], source: str | Path, where: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Make the tokenizer that travels with a checkpoint: an adapter's, its base's, or that of a preset of KerasHub.

    Args:
        cls: Its class.
        source: The checkpoint.
        where: Where to look.
        options: Arguments of the class that take the place of the stored ones.

    Raises:
        CheckpointError: There is no such checkpoint, or none in it.
    """
    present = {name: x for name, x in open_checkpoint(source, **where).companions.items() if name in TOKENIZER_FILES}
    if not present:
        raise CheckpointError(f"{source} has no tokenizer, nor has what it was made from.")
    return load_tokenizer(cls, present, name_or_path=str(source), **options)


def _find_adapter(source: str | Path, where: Mapping[str, Any]) -> tuple[Path, str | Path] | None:
    """Return the configuration of an adapter, and what has it; None if the source is not an adapter."""
    path = Path(source)
    if path.is_file():
        if path.name not in (ADAPTER_CONFIG, *ADAPTER_FILES):
            return None
        source, where = path.parent, {}
    config = find_file(source, ADAPTER_CONFIG, **where)
    return None if config is None else (config, source)


def _open_adapter(found: tuple[Path, str | Path], where: Mapping[str, Any], bases: int) -> Opened:
    """Open the base of an adapter of peft, with the adapter merged into it."""
    path, source = found
    adapter = Adapter.open(path, source, where)
    if not bases:
        raise CheckpointError(f"{path} is an adapter of an adapter, and so on, {MOST_BASES} times.")
    elsewhere = {name: value for name, value in where.items() if name not in ("subfolder", "revision")}
    if adapter.settings.get("revision"):
        elsewhere["revision"] = adapter.settings["revision"]
    try:
        base = _open(adapter.base, Selection(), elsewhere, bases - 1)
        config = base.config() or DistilBertConfig.from_pretrained(base.folder, **elsewhere)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is of an adapter, whose base cannot be opened: {error}") from error
    own = find_file(source, CONFIG_FILE, **where)
    config = config.updated(**adapter.fields(config)) if own is None else DistilBertConfig.from_json_file(own)
    paths = [path, adapter.weights, *([own] if own else [])]
    return Opened(
        base.format,
        source,
        adapter.merge(base.tensors()),
        [*base.paths, *paths],
        [*base.state, *file_state(paths)],
        None,
        lambda: config,
        base.companions | read_companions(source, where, COMPANIONS),
        [*base.notes, f"The adapter was added to the weights of {adapter.base}."],
    )


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
    opened = open_checkpoint(source, **where)
    if opened.config_file is not None and _is_bert(opened.config_file):
        weights = _from_bert(opened.config_file, opened.stored, head, str(opened.folder))
    else:
        config = opened.config()
        if config is None:
            file = opened.config_file or resolve_file(opened.folder, CONFIG_FILE, **where)
            config = DistilBertConfig.from_json_file(file)
        weights = match(config, canonical(opened.stored), head, str(opened.folder))
    weights.notes += opened.notes
    folder = None if Path(source).is_file() else local_folder(source)
    return replace(
        weights,
        format=opened.format.name,
        source=opened.folder,
        folder=folder and folder / where.get("subfolder", ""),
        paths=opened.paths,
        state=opened.state,
        companions=opened.companions,
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


Files = tuple[str | Path, Format, list[Path], list[Path]]  # folder or Hub id, format, weight files, their index


def _searched(selection: Selection) -> list[Format]:
    """Return the formats whose files a selection takes, in the order in which they are looked for."""
    formats = list(FORMATS.values())
    if selection.use_safetensors is not None:
        formats = [format for format in formats if (format.suffix == ".safetensors") is selection.use_safetensors]
    first = FIRST.get(selection.framework or "")
    return sorted(formats, key=lambda format: format.name != first)


def _find_named(source: str | Path, selection: Selection, where: Mapping[str, Any]) -> Files | None:
    """Return the weight files that have the name that their format gives them."""
    if Path(f"{source}.index").is_file():
        refuse(Path(f"{source}.index"))
    for format in _searched(selection):
        for name in (format.file, *format.also):
            single = find_file(source, selection.file(name), **where)
            if single is not None:
                for beside in format.beside:  # which may say more about it, and must first be fetched from the Hub
                    find_file(source, beside, **where)
                return source, _of_kind(format, single), [single], []
        index = find_file(source, selection.file(format.index), **where)
        if index is not None:
            shards = [resolve_file(source, name, **where) for name in shard_files(index)]
            return source, _of_kind(format, shards[0]), shards, [index]
    return None


def _find_other(source: str | Path, selection: Selection, where: Mapping[str, Any]) -> Files:
    """Return the weight file that a source is, the one that a local folder has, or what a format finds below that.

    Raises:
        CheckpointError: There is none, there are several, or it is of a kind that is not read.
    """
    path = Path(source)
    if path.is_file():
        refuse(path)
        return path.parent, _format_of(path), [path], []
    folder = local_folder(source)
    if folder is not None and selection == Selection():
        folder = folder / where.get("subfolder", "")
        for format in FORMATS.values():
            below = None if format.find is None else format.find(folder)
            if below is not None:
                return source, format, [below], []
        files = sorted(path for path in folder.glob("*.*") if path.is_file() and _formats_of(path))
        variants = sorted({path.name.rsplit(".", 2)[1] for path in folder.glob("*.index.*.json")})
        if variants:
            raise CheckpointError(
                f"{source} has shards of a variant only: give variant={' or '.join(map(repr, variants))}."
            )
        if len(files) > 1:
            names = listed([path.name for path in files])
            raise CheckpointError(f"{source} has several weight files: {names}. Give the path of one of them.")
        if files:
            return source, _format_of(files[0]), files, []
        refuse(folder)
    names = ", ".join(dict.fromkeys(selection.file(format.file) for format in _searched(selection)))
    raise CheckpointError(f"{source} has no weights: none of {names}{offline_note(source, where)}.")


def _formats_of(path: Path) -> list[Format]:
    """Return the formats that read a file of this name."""
    named = [format for format in FORMATS.values() if path.name in (format.file, *format.also)]
    return named or [format for format in FORMATS.values() if path.suffix in (format.suffix, *format.suffixes)]


def _format_of(path: Path) -> Format:
    """Return the format of a weight file."""
    formats = _formats_of(path)
    if not formats:
        raise CheckpointError(f"{path} is not a weight file: its name must end in one of {', '.join(WEIGHT_SUFFIXES)}.")
    return _of_kind(formats[0], path)


def _of_kind(format: Format, path: Path) -> Format:
    """Return the format that a file says it is of, where several have one file name."""
    same = (other for other in FORMATS.values() if other.suffix == format.suffix)
    return next((other for other in same if other.recognise(path)), format)


def canonical_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's arrays, of any framework, by canonical name; see `canonical`."""
    plain = {name: array if hasattr(array, "T") else np.asarray(array) for name, array in arrays.items()}
    stored = {
        name: Tensor(tuple(array.shape), "", partial(lambda array: array, array), "state_dict")
        for name, array in plain.items()
    }
    return {name: tensor.read() for name, tensor in canonical(stored).items()}


def canonical(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by canonical name, in the shapes of the Hub.

    Before a name may stand that of a model, such as 'model.' or 'tf_distil_bert_model/'. Where one model has word
    embeddings, its name is taken off whatever else it has, and what is below another name keeps its stored name; so
    does an optimizer's state.

    Raises:
        CheckpointError: Two have one canonical name.
    """
    names = {name: ("", name, False) if is_of_optimizer(name) else split_name(name) for name in stored}
    models = {model for model, plain, _ in names.values() if plain.endswith(WORD_EMBEDDINGS)}
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        model, plain, swapped = names[name]
        if len(models) == 1 and model not in models:
            plain, swapped = without_model(name, *models), False
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
            found[parameter.name] = Tensor(
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
