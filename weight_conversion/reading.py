"""From files of any format to the canonical form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.files.checkpoint import refuse_pointer
from distilbert_core.files.hub import (
    ADAPTER_CONFIG,
    find_file,
    local_folder,
    resolve_file,
    split_hub_options,
)
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.files.selection import Selection
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from weight_conversion.adapters import OPENERS as ADAPTER_FILES
from weight_conversion.adapters import Adapter
from weight_conversion.bert import bert_to_distilbert
from weight_conversion.formats import Format
from weight_conversion.matching import canonical, match
from weight_conversion.names import is_of_optimizer
from weight_conversion.sidecars import SIDECARS, load_tokenizer, read_sidecars
from weight_conversion.weight_files import find_named, find_other
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, file_state

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
        sidecars: Content of the files that travel along, by name.
        notes: What of the files has no place here, a sentence each.
    """

    format: Format
    folder: str | Path
    stored: Mapping[str, LazyTensor]
    paths: list[Path]
    state: list[tuple[int, ...]]
    config_file: Path | None
    config: Callable[[], DistilBertConfig | None]
    sidecars: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tensors(self) -> dict[str, LazyTensor]:
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
    found = None if Path(source).is_file() else find_named(source, selection, where)
    adapter = None if found else _find_adapter(source, where)
    if adapter is not None:
        return _open_adapter(adapter, where, bases)
    folder, format, files, index = found or find_other(source, selection, where)
    config_file = find_file(folder, CONFIG_FILE, **where)
    beside = [file for name in format.optional_files if (file := find_file(folder, name, **where)) is not None]
    paths = [*([config_file] if config_file else []), *beside, *index, *files]
    paths += [files[0].parent] if format.whole_folder else []
    state = file_state(paths)
    stored: dict[str, LazyTensor] = {}
    for path in files:
        refuse_pointer(path)
        for name, tensor in format.open(path).items():
            if name in stored:
                raise CheckpointError(f"{path} holds {name}, which another shard has too.")
            stored[name] = tensor
    sidecars = read_sidecars(folder, where, [name for name in SIDECARS if name not in format.optional_files])
    if format.sidecars is not None:
        sidecars |= format.sidecars(files[0])
    config = partial(format.read_config, files[0])
    notes = [] if format.unread is None else format.unread(files[0])
    return Opened(format, folder, stored, paths, state, config_file, config, sidecars, notes)


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
    present = {name: x for name, x in open_checkpoint(source, **where).sidecars.items() if name in TOKENIZER_FILES}
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
        base.sidecars | read_sidecars(source, where, SIDECARS),
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
        sidecars=opened.sidecars,
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


def _from_bert(config_file: Path, stored: Mapping[str, LazyTensor], head: Head | None, source: str) -> Weights:
    """Return a BERT as a DistilBERT; see `bert_to_distilbert`."""
    # Integers, such as position_ids, are dropped whatever they are.
    arrays = {name: tensor.read() if tensor.dtype in NUMPY_DTYPES else np.empty(0) for name, tensor in stored.items()}
    fields = json.loads(config_file.read_text(encoding="utf-8"))
    config, found, notes = bert_to_distilbert(fields, arrays, head)
    tensors = {
        name: LazyTensor(array.shape, array.dtype.name, partial(np.asarray, array), f"{source}: {name}")
        for name, array in found.items()
    }
    weights = match(config, tensors, head, source)
    weights.notes += notes
    return weights
