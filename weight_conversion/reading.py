"""Checkpoints of any format, adapters and BERT checkpoints in canonical form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.files.boundary import reading
from distilbert_core.files.checkpoint import refuse_pointer
from distilbert_core.files.hub import ADAPTER_CONFIG, find_file, local_folder, resolve_file, split_hub_options
from distilbert_core.files.journal import settled_source
from distilbert_core.files.json_files import read_json
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.files.selection import Selection
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.report import check_fits
from weight_conversion.adapters import OPENERS as ADAPTER_FILES
from weight_conversion.adapters import Adapter
from weight_conversion.bert import bert_to_distilbert
from weight_conversion.formats import Format
from weight_conversion.matching import canonical, match
from weight_conversion.names import is_of_optimizer
from weight_conversion.sidecars import SIDECARS, load_tokenizer, read_sidecars
from weight_conversion.weight_files import find_named, find_other
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, file_state

MOST_ADAPTERS = 3  # adapters that may be trained on top of each other


@dataclass
class Opened:
    """A checkpoint of any format, none of whose arrays has been read.

    Attributes:
        format: Its format; for an adapter, the format of its base.
        folder: Folder or Hub id of the files beside the weights.
        stored: Its tensors by stored name.
        paths: All its files.
        state: State of these files before the first read; see `file_state`.
        config_file: The config.json beside the weights, which may describe a BERT; None if there is no such file.
        config: Returns the configuration, or None if config.json holds it.
        sidecars: Content of the files that are copied into every format, by name.
        notes: Notes on content of the files that is dropped.
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
        """Return descriptions of the stored tensors that do not belong to the model."""
        names = [name for name in self.stored if is_of_optimizer(name)]
        return [f"the state of the optimizer ({len(names)} arrays from {names[0]} on)"] if names else []


def open_checkpoint(source: str | Path, selection: Selection | None = None, **hub_options: Any) -> Opened:
    """Open a checkpoint of any format, even if parameters are missing.

    Args:
        source: A folder, a weight file, an embedded model, or a Hub id.
        selection: Selects one of several weight files.
        **hub_options: As in `open_weights`.

    Raises:
        CheckpointError: The checkpoint does not exist, is damaged, or has a format that cannot be read.
    """
    with reading(source, "a checkpoint"):
        return _open(source, selection or Selection(), hub_options, MOST_ADAPTERS)


def _open(source: str | Path, selection: Selection, hub_options: Mapping[str, Any], adapters: int) -> Opened:
    """Open a checkpoint that may be an adapter on a base, which may itself be one of the remaining `adapters`."""
    source = settled_source(source)
    named = None if Path(source).is_file() else find_named(source, selection, hub_options)
    adapter = None if named else _find_adapter(source, hub_options)
    if adapter is not None:
        return _open_adapter(*adapter, hub_options, adapters)
    weight_files = named or find_other(source, selection, hub_options)
    folder, format, files = weight_files.source, weight_files.format, weight_files.files
    config_file = find_file(folder, CONFIG_FILE, **hub_options)
    optional = [file for name in format.optional_files if (file := find_file(folder, name, **hub_options)) is not None]
    paths = [*([config_file] if config_file else []), *optional, *weight_files.index, *files]
    paths += [files[0].parent] if format.whole_folder else []
    state = file_state(paths)
    stored: dict[str, LazyTensor] = {}
    for path in files:
        refuse_pointer(path)
        for name, tensor in format.open(path).items():
            if name in stored:
                raise CheckpointError(f"{path} holds {name}, which another shard has too.")
            stored[name] = tensor
    sidecars = read_sidecars(folder, hub_options, [name for name in SIDECARS if name not in format.optional_files])
    if format.sidecars is not None:
        sidecars |= format.sidecars(files[0])
    config = partial(format.read_config, files[0])
    notes = [] if format.unread is None else format.unread(files[0])
    return Opened(format, folder, stored, paths, state, config_file, config, sidecars, notes)


def open_tokenizer(
    cls: type[Any], source: str | Path, hub_options: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    """Return the tokenizer of a checkpoint: of an adapter or its base, or of a KerasHub preset.

    Args:
        cls: Class of the tokenizer.
        source: The checkpoint.
        hub_options: As in `open_weights`.
        options: Arguments of the class that replace the stored ones.

    Raises:
        CheckpointError: The checkpoint does not exist, or has no tokenizer.
    """
    sidecars = open_checkpoint(source, **hub_options).sidecars
    present = {name: content for name, content in sidecars.items() if name in TOKENIZER_FILES}
    if not present:
        raise CheckpointError(f"{source} has no tokenizer, nor has what it was made from.")
    return load_tokenizer(cls, present, name_or_path=str(source), **options)


def _find_adapter(source: str | Path, hub_options: Mapping[str, Any]) -> tuple[Path, str | Path] | None:
    """Return adapter_config.json of an adapter, and its folder or Hub id; None if the source is not an adapter."""
    path = Path(source)
    if path.is_file():
        if path.name not in (ADAPTER_CONFIG, *ADAPTER_FILES):
            return None
        source, hub_options = path.parent, {}
    config = find_file(source, ADAPTER_CONFIG, **hub_options)
    return None if config is None else (config, source)


def _open_adapter(path: Path, source: str | Path, hub_options: Mapping[str, Any], adapters: int) -> Opened:
    """Open the base of an adapter of peft, with the adapter merged into it."""
    adapter = Adapter.open(path, source, hub_options)
    if not adapters:
        raise CheckpointError(f"{path} is an adapter of an adapter, and so on, {MOST_ADAPTERS} times.")
    base_options = {name: value for name, value in hub_options.items() if name not in ("subfolder", "revision")}
    if adapter.settings.get("revision"):
        base_options["revision"] = adapter.settings["revision"]
    try:
        base = _open(adapter.base, Selection(), base_options, adapters - 1)
        config = base.config() or DistilBertConfig.from_pretrained(base.folder, **base_options)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is of an adapter, whose base cannot be opened: {error}") from error
    own = find_file(source, CONFIG_FILE, **hub_options)
    config = config.updated(**adapter.fields(config)) if own is None else DistilBertConfig.from_json_file(own)
    paths = [path, adapter.weights, *([own] if own else [])]
    return Opened(
        format=base.format,
        folder=source,
        stored=adapter.merge(base.tensors()),
        paths=[*base.paths, *paths],
        state=[*base.state, *file_state(paths)],
        config_file=None,
        config=lambda: config,
        sidecars=base.sidecars | read_sidecars(source, hub_options, SIDECARS),
        notes=[*base.notes, f"The adapter was added to the weights of {adapter.base}."],
    )


def open_weights(source: str | Path | Weights, head: Head | None = None, **hub_options: Any) -> Weights:
    """Open a checkpoint of any format. Its arrays are read later, one at a time.

    Args:
        source: A folder, a weight file with config.json beside it, an embedded model, or a Hub id. Weights that are
            open already are returned unless they have another head.
        head: Head of the result; None: the head of the checkpoint. Parameters of the head that the checkpoint lacks are
            initialised at random, with a note.
        **hub_options: Options for the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`).

    Raises:
        CheckpointError: The checkpoint does not exist, is damaged, or is not a DistilBERT.
        ConfigError: Its configuration has an impossible value.
        TypeError: A keyword is unknown, or `head` is not a `Head`.

    Example:
        >>> from weight_conversion import open_weights
        >>> weights = open_weights("sst2-tiny")
        >>> weights.head.value, weights.format, weights.tensors["classifier.weight"].shape
        ('ForSequenceClassification', 'pt', (2, 224))
    """
    check_keywords(hub_options)
    if not isinstance(head, Head | None):
        raise TypeError(f"head must be a Head, such as Head.MASKED_LM or Head('ForMaskedLM'), or None, got {head!r}.")
    if isinstance(source, Weights):
        if head in (None, source.head):
            return source
        source = source.name
    opened = open_checkpoint(source, **hub_options)
    with reading(source, "a checkpoint"):
        return _weights(opened, source, head, hub_options)


def _weights(opened: Opened, source: str | Path, head: Head | None, hub_options: Mapping[str, Any]) -> Weights:
    """Return a checkpoint as the weights of a model."""
    if opened.config_file is not None and _is_bert(opened.config_file):
        weights = _from_bert(opened.config_file, opened.stored, head, str(opened.folder))
    else:
        config = opened.config()
        if config is None:
            file = opened.config_file or resolve_file(opened.folder, CONFIG_FILE, **hub_options)
            config = DistilBertConfig.from_json_file(file)
        check_fits(config, len(opened.stored), opened.paths, str(opened.folder))
        weights = match(config, canonical(opened.stored), head, str(opened.folder))
    folder = None if Path(source).is_file() else local_folder(source)
    return replace(
        weights,
        name=str(source),
        format=opened.format.name,
        source=opened.folder,
        folder=folder and folder / hub_options.get("subfolder", ""),
        paths=opened.paths,
        state=opened.state,
        sidecars=opened.sidecars,
        notes=[*weights.notes, *opened.notes],
    )


def check_keywords(hub_options: Mapping[str, Any]) -> None:
    """Raise TypeError if a keyword is not an option for the Hub."""
    unknown = split_hub_options(hub_options)[1]
    if unknown:
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")


def _is_bert(config_file: Path) -> bool:
    return read_json(config_file, "a configuration").get("model_type") == "bert"


def _from_bert(config_file: Path, stored: Mapping[str, LazyTensor], head: Head | None, source: str) -> Weights:
    """Return a BERT checkpoint as the weights of a DistilBERT."""
    # Integers, such as position_ids, are dropped, so they need not be read.
    arrays = {name: tensor.read() if tensor.dtype in NUMPY_DTYPES else np.empty(0) for name, tensor in stored.items()}
    with reading(config_file, "the configuration of a BERT"):
        config, converted, notes = bert_to_distilbert(read_json(config_file), arrays, head)
    tensors = {name: LazyTensor.of(array, f"{source}: {name}") for name, array in converted.items()}
    weights = match(config, tensors, head, source)
    return replace(weights, notes=[*weights.notes, *notes])
