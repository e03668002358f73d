"""A configuration as a dict and as config.json: reading it from a folder, a file or the Hub, and writing it."""

from __future__ import annotations

import copy
import inspect
import json
import reprlib
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from distilbert_core.compatibility import CONFIG_SAVING, CONFIGURING, accept, renames
from distilbert_core.errors import CheckpointError, ConfigError, ConfigWarning, shortened
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reading
from distilbert_core.files.hub import PUSHING, PushToHub, resolve_file, split_hub_options
from distilbert_core.files.journal import settled_source
from distilbert_core.files.json_files import read_json
from distilbert_core.model.label_maps import LABEL_FIELDS, label_maps

CONFIG_FILE = "config.json"

ALIASES = {  # another name of a field -> the field
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "dtype": "torch_dtype",  # the name in Transformers 5
    "_name_or_path": "name_or_path",
    "_attn_implementation": "attn_implementation",
}
ORIGIN = ("name_or_path", "_commit_hash")  # where a configuration is from
UNSAVED = (*ORIGIN, "attn_implementation")  # fields of a run, not of a model

# Fields of every configuration of Transformers 4.53 beside DistilBERT's own. They are kept, written back if they differ
# from these defaults, and have no effect on the model.
COMMON_FIELDS: dict[str, Any] = {
    "name_or_path": "",
    "attn_implementation": None,
    "torch_dtype": None,
    "torchscript": False,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "finetuning_task": None,
    "task_specific_params": None,
    "tokenizer_class": None,
    "prefix": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
}
_ABSENT = object()


class ConfigFiles(PushToHub):
    """Reading and writing of `DistilBertConfig`."""

    model_type = "distilbert"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the fields

    @staticmethod
    def _own_defaults() -> Mapping[str, Any]:
        """Return DistilBERT's own fields, which may be given by position, with their defaults."""
        raise NotImplementedError

    @staticmethod
    def _plain() -> ConfigFiles:
        """Return the configuration with all defaults."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of all fields, with integers as keys of labels; changing it does not change this object."""
        return copy.deepcopy(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {"model_type": self.model_type, **self.__dict__}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the fields of config.json: DistilBERT's own, and others if they differ from their default."""
        return copy.deepcopy(self._diff_fields())

    def _diff_fields(self) -> dict[str, Any]:
        """Return what `to_diff_dict` returns, with the values of this object itself."""
        plain = self._plain()
        always = self._own_defaults().keys() | {"model_type", "tie_weights_", "architectures"}
        if (self.id2label, self.label2id) != (plain.id2label, plain.label2id):  # one would be derived from the other
            always |= {"id2label", "label2id"}
        return {
            name: value
            for name, value in self._fields().items()
            if name not in UNSAVED and (name in always or value != getattr(plain, name, _ABSENT))
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of config.json; with `use_diff=False` with all fields, as in `to_dict`.

        Raises:
            ConfigError: JSON cannot hold the value of a field, such as a function for `activation`.
        """
        fields = self._diff_fields() if use_diff else self._fields()  # a copy of large fields takes a second
        try:
            return json.dumps(fields, indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError):
            name = next(name for name, value in fields.items() if not _is_json(value))
            raise ConfigError(f"{name} cannot be written to config.json, got {shortened(fields[name])}.") from None

    @renames(json_file_path="path")
    def to_json_file(self, path: str | Path, use_diff: bool = True) -> None:
        """Write the text of `to_json_string` to a file.

        A failure may leave a part of the file; `save_pretrained` writes it whole or not at all.
        """
        Path(path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    @classmethod
    @renames(config_dict="fields")
    def from_dict(cls, fields: Mapping[str, Any], return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Make a configuration from the fields of a config.json, with some of them replaced by `overrides`.

        Label maps that contradict each other are kept as they are stored. `id2label` decides, as in Transformers 4.53:
        it may have gaps or use a name for several classes, and `num_labels` is its size. Use `label_name` and
        `label_index`, which also work for such maps.

        Args:
            fields: The fields.
            return_unused_kwargs: Return (configuration, the overrides that are not its fields), instead of raising an
                error for them.
            **overrides: Fields to replace.

        Raises:
            ConfigError: A field has an impossible value.
            TypeError: An override is not a field.

        Warns:
            ConfigWarning: Label maps contradict each other, and `overrides` do not replace them.

        Example:
            >>> from distilbert_core import DistilBertConfig
            >>> DistilBertConfig.from_dict({"dim": 48, "n_heads": 4, "n_layers": 3}, n_layers=2).n_layers
            2
        """
        return cls._read_with(fields, None, overrides, return_unused_kwargs)

    @classmethod
    def _read_with(
        cls, fields: Mapping[str, Any], source: str | None, overrides: Mapping[str, Any], split: bool
    ) -> Any:
        """Call `_read`; with `split` also return the overrides that are not fields."""
        overrides = accept(overrides, CONFIGURING)
        if not split:
            return cls._read(fields, source, overrides, stacklevel=5)
        known = {*COMMON_FIELDS, *cls._own_defaults(), *LABEL_FIELDS, *ALIASES, *fields, "use_return_dict"}
        known |= inspect.signature(cls).parameters.keys()
        used = {name: value for name, value in overrides.items() if name in known}
        unused = {name: value for name, value in overrides.items() if name not in known}
        return cls._read(fields, source, used, stacklevel=5), unused

    @classmethod
    def _read(
        cls, fields: Mapping[str, Any], source: str | None, overrides: Mapping[str, Any], stacklevel: int
    ) -> Self:
        """Make a configuration from the fields of the file `source`, or of a caller's dict if it is None."""
        with reading(source, "a configuration") if source else nullcontext():
            check_aliases(fields)
            names, ids, problems = label_maps(*(fields.get(name) for name in LABEL_FIELDS))
            if "self" in fields:
                raise ConfigError("self cannot be a field: it is the name of an argument in Python.")
            config = cls(**{name: value for name, value in fields.items() if name not in LABEL_FIELDS})
            config._set_labels(names, ids)
        repeated = [label for label, count in Counter(names.values()).items() if count > 1]
        if repeated:
            problems.append(f"id2label uses a label for several classes: {reprlib.repr(repeated)}")
        if overrides:
            config = config.updated(**overrides)
        if problems and (config.id2label, config.label2id) == (names, ids):
            believed = "num_labels" if fields.get("id2label") is None else "id2label"
            classes = reprlib.repr([config.label_name(index) for index in range(config.num_labels)])
            warnings.warn(
                f"{source or 'The configuration'}: {'; '.join(problems)}. {believed} is believed: the classes are "
                f"{classes}. Correct the maps, or ignore ConfigWarning if they are meant.",
                ConfigWarning,
                stacklevel=stacklevel,
            )
        return config

    @classmethod
    @renames(json_file="path")
    def from_json_file(cls, path: str | Path, return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Read a config.json, with some of its fields replaced.

        Args:
            path: The file.
            return_unused_kwargs: Return (configuration, the overrides that are not its fields), instead of raising an
                error for them.
            **overrides: Fields to replace.

        Raises:
            CheckpointError: The file is missing, is not JSON, or describes another kind of model.
            ConfigError: A field has an impossible value.

        Warns:
            ConfigWarning: Label maps contradict each other; the message names the file.
        """
        return cls._read_with(cls._fields_of(path), str(path), overrides, return_unused_kwargs)

    @classmethod
    def _fields_of(cls, path: str | Path) -> dict[str, Any]:
        """Return the fields in the config.json of a DistilBERT."""
        fields = read_json(path, "the configuration of a model (a JSON object)", "config")
        kind = fields.get("model_type", cls.model_type)
        if kind != cls.model_type:
            advice = " Convert it first: distilbert convert SOURCE FOLDER." if kind == "bert" else ""
            raise CheckpointError(f"{path} must have model_type {cls.model_type!r}, got {shortened(kind)}.{advice}")
        return fields

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(cls, source: str | Path, *, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Read the configuration of a local folder or Hub id.

        Args:
            source: A folder, the path of a config.json or of a file beside it, or an id such as
                'distilbert/distilbert-base-uncased'.
            return_unused_kwargs: Return (configuration, the keywords that are not its fields), instead of raising an
                error for them.
            **kwargs: Options of the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`) and fields to replace. Other arguments of Transformers are in
                `distilbert_core.compatibility.CONFIGURING`.

        Raises:
            CheckpointError: The checkpoint does not exist, or its config.json is damaged.
            ConfigError: A field has an impossible value.
            TypeError: A keyword is not a field.

        Warns:
            ConfigWarning: Label maps contradict each other, as described at `from_dict`; the message names the file.
        """
        hub_options, overrides = split_hub_options(kwargs)
        path = _find_file(source, hub_options)
        result = cls._read_with(cls._fields_of(path), str(path), overrides, return_unused_kwargs)
        config = result[0] if return_unused_kwargs else result
        config.name_or_path = str(source)
        return result

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def get_config_dict(cls, source: str | Path, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields in the config.json of a folder, a file or a Hub id, and the keywords that were not used.

        Raises:
            CheckpointError: The checkpoint does not exist, or its config.json is damaged.
        """
        hub_options, rest = split_hub_options(kwargs)
        return cls._fields_of(_find_file(source, hub_options)), accept(rest, CONFIGURING)

    @renames(save_directory="folder", use_auth_token="token")
    def save_pretrained(self, folder: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write config.json into a folder.

        Args:
            folder: Destination; made if it does not exist.
            push_to_hub: Also upload it, by the method `push_to_hub`. The repository is `repo_id`, or has the name of
                the folder.
            **kwargs: Arguments of `push_to_hub`. Other arguments of Transformers are in
                `distilbert_core.compatibility.SAVING`.

        Raises:
            ConfigError: JSON cannot hold the value of a field.
            OSError: The folder may not be written to.
            TypeError: A keyword is unknown.
        """
        upload = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        unknown = accept(kwargs, CONFIG_SAVING)
        if unknown:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
        replace_files(folder, {CONFIG_FILE: self.to_json_string().encode()})
        if push_to_hub:
            self.push_to_hub(**{"repo_id": Path(folder).expanduser().absolute().name, **upload})


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return False
    return True


def _find_file(source: str | Path, hub_options: Mapping[str, Any]) -> Path:
    """Return the config.json of a checkpoint.

    Args:
        source: A folder, a Hub id, a config.json, or another file of the checkpoint.
        hub_options: Options of the Hub.
    """
    path = Path(settled_source(source))
    if not path.is_file():
        return resolve_file(source, CONFIG_FILE, **hub_options)
    return path if path.suffix == ".json" else resolve_file(path.parent, CONFIG_FILE)


def check_aliases(fields: Mapping[str, Any]) -> None:
    """Raise ConfigError if a field is given under both of its names, with two values."""
    for alias, name in ALIASES.items():
        if {alias, name} <= fields.keys() and fields[alias] != fields[name]:
            raise ConfigError(
                f"{alias} and {name} are one field, got {shortened(fields[alias])} and {shortened(fields[name])}."
            )
