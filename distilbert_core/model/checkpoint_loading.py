"""`from_pretrained` of the models: choose a configuration, match the parameters with the checkpoint, read arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from distilbert_core.compatibility import LOADING, LOADING_ORDER, accept, one_device, renames
from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError, listed
from distilbert_core.files.checkpoint import Checkpoint, Entry
from distilbert_core.files.hub import find_file, folder_state, split_hub_options
from distilbert_core.files.json_files import read_content
from distilbert_core.files.selection import Selection
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig, as_config
from distilbert_core.model.config_checks import CONFIG_SIZES
from distilbert_core.model.config_files import ALIASES
from distilbert_core.model.dtypes import overflows_half, requested_dtype
from distilbert_core.model.forking import start
from distilbert_core.model.heads import parameter_table
from distilbert_core.model.hooks import ModelHooks
from distilbert_core.model.inputs import choose
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import Kind, Parameter, sinusoidal_table
from distilbert_core.model.report import LoadingReport, check_fits

ATTEMPTS = 20  # to open the files of one save while others are made
# Fields, and other names of them, that decide how many parameters the base model has.
SIZES = {*CONFIG_SIZES, *(alias for alias, name in ALIASES.items() if name in CONFIG_SIZES)}


def find_config(source: str | Path, **hub_options: Any) -> DistilBertConfig:
    """Return the configuration of a checkpoint of any format: from its config.json, or from the file in its place.

    Args:
        source: A folder, a weight file, an embedded model or a Hub id.
        **hub_options: Options of the Hub, such as `revision`.

    Raises:
        CheckpointError: The checkpoint does not exist, or has no configuration.
        ConfigError: A field has an impossible value.
    """
    folder: str | Path = source
    if Path(source).is_file() or _has_other_config(source, hub_options):
        checkpoint = Checkpoint(source, **hub_options)
        fields, folder = checkpoint.config_fields(), checkpoint.folder
        if fields is not None:
            return cast(DistilBertConfig, DistilBertConfig.from_dict(fields))
    return cast(DistilBertConfig, DistilBertConfig.from_pretrained(folder, **hub_options))


def _has_other_config(source: str | Path, hub_options: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has no config.json, or one of a Keras object."""
    path = find_file(source, CONFIG_FILE, **hub_options)
    return path is None or b'"registered_name"' in read_content(path)


class CheckpointLoading(ModelHooks):
    """Models that are loaded from checkpoints."""

    @classmethod
    @renames(LOADING_ORDER, pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        config: Any = None,
        dtype: Any = None,
        device: Any = None,
        device_map: Any = None,
        state_dict: Mapping[str, Any] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        verify: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load a model from a local folder, an embedded model or the Hugging Face Hub.

        Args:
            source: A folder with config.json and model.safetensors (or shards with an index), the name of an embedded
                model ('sst2-tiny'), or a Hub id. The weights may be in any other format that can be read, such as
                pytorch_model.bin, tf_model.h5, flax_model.msgpack, an Orbax checkpoint, or an adapter of peft
                (docs/conversion.md); arrays are converted one at a time. Or one weight file, with config.json beside
                it. None with `config` and `state_dict`.
            config: Configuration to use in place of the checkpoint's: an object, a dict of its fields, a folder, a path
                of a config.json, or a Hub id.
            dtype: Dtype of the parameters, 'float64', 'float32', 'bfloat16', 'float16', or 'auto' for the checkpoint's:
                `torch_dtype` of its configuration, or else that of its weights; float32 if left out. In Flax it is the
                dtype of the computation, and parameters stay in float32 unless `param_dtype` is given; 'auto' sets
                both.
            device: Where to put them, as the framework names it.
            device_map: The argument of Transformers: one device, {'': device}, or 'auto' for the fastest.
            state_dict: Arrays by name to use in place of the checkpoint's.
            variant: Read model.VARIANT.safetensors, such as model.fp16.safetensors, in place of model.safetensors.
            use_safetensors: Read safetensors only (True), or other formats only (False).
            ignore_mismatched_sizes: Initialise parameters whose shape differs from the checkpoint's, such as a
                classifier for another number of labels.
            output_loading_info: Also return a dict with 'missing_keys', 'unexpected_keys', 'mismatched_keys' and
                'error_msgs'.
            verify: Compare the files of the checkpoint with its checksums.sha256, which `save_pretrained` writes with
                `checksum`, or with their checksums on the Hub, before any array is read.
            **kwargs: Options of the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), fields of the configuration to replace (`num_labels=5`), options of the backend, and
                `torch_dtype`: the dtype of the parameters in every framework. `from_tf=True` and `from_flax=True` read
                the format of that framework if the checkpoint has several. Other arguments of Transformers are in
                `distilbert_core.compatibility.LOADING`.

        Returns:
            The model, ready for inference; with `output_loading_info` (model, info).

        Raises:
            CheckpointError: The checkpoint does not exist, is damaged, lacks a parameter of the base model, or has one
                of another shape.
            ConfigError: The configuration is impossible.
            TypeError: A keyword is unknown, or its value has an effect in Transformers that it does not have here.

        Warns:
            CheckpointWarning: Names the parameters that are freshly initialised, those that overflow in float16, and
                the entries that were not used.
        """
        start(next(row.name for row in BACKENDS.values() if row.layout is LAYOUTS[cls._framework]))
        hub_options, kwargs = split_hub_options(kwargs)
        options = {name: kwargs.pop(name) for name in cls._options & kwargs.keys()}
        parameter_dtypes = [kwargs.pop("torch_dtype", None), options.pop("param_dtype", None)]
        without_values = not options.pop("_do_init", True)
        frameworks = [name for name in ("tf", "flax") if kwargs.pop(f"from_{name}", False)]
        kwargs = accept(kwargs, LOADING)
        if device_map is not None:
            device = cls._device_of(device_map, device)
        if source is not None and not isinstance(source, str | os.PathLike):
            raise TypeError(f"source must be a folder, a weight file or a Hub id, got a {type(source).__name__}.")
        if state_dict is not None:
            checkpoint = Checkpoint.from_arrays(state_dict)
            config = _choose_config(config, source, checkpoint, hub_options, kwargs)
        elif source is not None:
            selection = Selection(variant, use_safetensors, next(iter(frameworks), None))
            checkpoint, config, state = _open(source, config, cls._reader, selection, verify, hub_options, kwargs)
        else:
            raise InputError("Give source: a folder, a weight file or a Hub id; or config and state_dict.")

        name = "state_dict" if state_dict is not None else str(source)
        table: Sequence[Parameter] = parameter_table(config, cls.head)
        report = LoadingReport.of(table, checkpoint.shapes)
        if not cls._is_derived():  # only an instance of a derived class knows its parameters
            _check_report(report, table, cls, name, ignore_mismatched_sizes)
        entries = {name: checkpoint.entries[entry] for name, entry in report.entries.items()}
        options |= cls._dtype_options(dtype, parameter_dtypes, entries, config)
        in_half = options.get("param_dtype" if "param_dtype" in cls._options else "dtype") == "float16"
        model: Any = cls._blank(config, options.pop("dtype"), device, **options)
        if cls._is_derived():
            model.tie_weights()
            table = [*model._stored_parameters(), *(p for p in table if p.tied_to is not None)]
            report = LoadingReport.of(table, checkpoint.shapes)
            _check_report(report, table, cls, name, ignore_mismatched_sizes)
        overflowing = model._read_parameters(table, report, checkpoint, device, in_half)
        held = source is None or checkpoint.is_held
        if not held and state != folder_state(source or "", hub_options.get("subfolder") or ""):
            raise _changed(source or "")
        unused = [*_untied(report, table, checkpoint), *report.unexpected, *checkpoint.dropped]
        _warn(cls, name, report.fresh(table), unused, overflowing)
        if without_values:
            return model.without_values()
        return (model, report.as_loading_info()) if output_loading_info else model

    def _read_parameters(
        self, table: Iterable[Parameter], report: LoadingReport, checkpoint: Checkpoint, device: Any, in_half: bool
    ) -> list[str]:
        """Set all parameters: from the checkpoint, or to initial values if it does not have them.

        Args:
            table: The parameters.
            report: How they match the checkpoint.
            checkpoint: Where the arrays are read from.
            device: Where to put them.
            in_half: Whether parameters are stored in float16 afterwards.

        Returns:
            The names of the parameters with finite values that overflow in float16.
        """
        overflowing = []
        for parameter in table:
            if parameter.name in report.entries:
                entry = report.entries[parameter.name]
                array = checkpoint.read(entry)
                if in_half and checkpoint.entries[entry].dtype != "F16" and overflows_half(array):
                    overflowing.append(parameter.name)
            elif parameter.computed:
                array = sinusoidal_table(*parameter.shape)
            elif parameter.tied_to is None and parameter.kind is not Kind.OTHER:
                array = self._fresh_array(parameter)
            else:
                continue
            with np.errstate(over="ignore"):  # the caller warns
                self._set_array(parameter, array, device)
        self.tie_weights()
        return overflowing

    @classmethod
    def _dtype_options(
        cls, dtype: Any, parameter_dtypes: Sequence[Any], entries: Mapping[str, Entry], config: DistilBertConfig
    ) -> dict[str, Any]:
        """Return 'dtype', and 'param_dtype' if the framework has it, for arguments of `from_pretrained`.

        Args:
            dtype: The argument `dtype`.
            parameter_dtypes: The arguments `torch_dtype` and `param_dtype`, for parameters only.
            entries: The stored parameters.
            config: The configuration.
        """
        name, *of_parameters = (
            x if x in cls._more_dtypes else requested_dtype(x, entries, config.torch_dtype)
            for x in (dtype, *parameter_dtypes)
        )
        separate = "param_dtype" in cls._options  # the computation may have another dtype than the parameters
        requested = {x for x in (of_parameters if separate else (name, *of_parameters)) if x is not None}
        if len(requested) > 1:
            names = "torch_dtype and param_dtype" if separate else "dtype and torch_dtype"
            raise InputError(f"{names} mean the same here, got {' and '.join(sorted(requested))}.")
        if not separate:
            return {"dtype": next(iter(requested), None)}
        if not requested and isinstance(dtype, str) and dtype == "auto":
            requested = {name}
        param_dtype = next(iter(requested), None)
        return {"dtype": choose(name, param_dtype)} | ({} if param_dtype is None else {"param_dtype": param_dtype})

    @classmethod
    def _device_of(cls, device_map: Any, device: Any) -> Any:
        """Return the device that `device_map` names, as this framework names it; None for the framework's choice."""
        mapped = one_device(device_map)
        if device is not None and mapped != device:
            raise TypeError(f"device_map and device are one argument, got {device_map!r} and {device!r}.")
        return cls._named_device(mapped)


def _open(
    source: str | Path,
    config: Any,
    tensor_type: str,
    selection: Selection,
    verify: bool,
    hub_options: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> tuple[Checkpoint, DistilBertConfig, object]:
    """Return a checkpoint, its configuration, and the state of their folder.

    If a save replaces the files in between, they are opened again, so that both are of one save.
    """
    for _ in range(ATTEMPTS):
        state = folder_state(source, hub_options.get("subfolder") or "")
        try:
            checkpoint = Checkpoint(source, tensor_type, selection, **hub_options)
            if verify:
                find_file(checkpoint.folder, CONFIG_FILE, **hub_options)  # is fetched before it is verified
                checkpoint.verify(source)
            chosen = _choose_config(config, source, checkpoint, hub_options, fields)
        except CheckpointError:
            if state == folder_state(source, hub_options.get("subfolder") or ""):
                raise
            continue
        if state == folder_state(source, hub_options.get("subfolder") or ""):
            return checkpoint, chosen, state
    raise _changed(source)


def _changed(source: str | Path) -> CheckpointError:
    return CheckpointError(f"{source} was changed while it was read; load it again.")


def _choose_config(
    config: Any, source: Any, checkpoint: Checkpoint, hub_options: Mapping[str, Any], fields: Mapping[str, Any]
) -> DistilBertConfig:
    """Return the configuration that a caller gives, else the checkpoint's, with some fields replaced."""
    given = checkpoint.config_fields() if config is None else config
    if given is not None:
        chosen = as_config(given).updated(**fields)
    else:
        chosen = DistilBertConfig.from_pretrained(checkpoint.folder or source, **hub_options, **fields)
    if config is None and checkpoint.paths and not fields.keys() & SIZES:  # else the caller decides
        check_fits(chosen, len(checkpoint.entries), checkpoint.paths, str(source))
    if source is not None:
        chosen.name_or_path = str(source)
    return chosen


def _check_report(
    report: LoadingReport, table: Iterable[Parameter], cls: type[ModelHooks], source: str, ignore_mismatched: bool
) -> None:
    """Raise CheckpointError if the checkpoint `source` does not fit the class of a model."""
    if report.mismatched and not ignore_mismatched:
        lines = [f"{name}: {tuple(stored)} stored, {shape} in the model" for name, stored, shape in report.mismatched]
        raise CheckpointError(
            f"{source} does not fit {cls.__name__}: " + "; ".join(lines) + ". Give ignore_mismatched_sizes=True to "
            "initialise these parameters, or a configuration of the checkpoint's sizes."
        )
    # The parameters that a user added are initialised already.
    required = {p.name for p in table if not p.of_head and p.kind is not Kind.OTHER}
    lacking = [name for name in report.missing_values(table) if name in required]
    if lacking:
        raise CheckpointError(
            f"{source} is not a complete DistilBERT checkpoint: it lacks {len(lacking)} parameter(s) of the base "
            f"model: {listed(lacking)}. It holds: {listed(report.unexpected) or 'nothing else'}."
        )


def _untied(report: LoadingReport, table: Iterable[Parameter], checkpoint: Checkpoint) -> list[str]:
    """Return, as text, the stored entries of tied parameters that differ from the parameter they are tied to."""
    differing = []
    for parameter in table:
        if parameter.name in report.tied and parameter.tied_to in report.entries:
            own, shared = (checkpoint.read(e) for e in (report.tied[parameter.name], report.entries[parameter.tied_to]))
            if own.shape != shared.shape or (own != shared).any():
                differing.append(
                    f"{parameter.name}, which differs from {parameter.tied_to} (tie_word_embeddings=False would use it)"
                )
    return differing


def _warn(cls: type[ModelHooks], source: str, fresh: list[str], unused: list[str], overflowing: list[str]) -> None:
    parts = []
    if fresh:
        parts.append(f"freshly initialised, train before use: {', '.join(fresh)}")
    if unused:
        parts.append(f"in the checkpoint but not used: {', '.join(unused)}")
    if overflowing:
        names = ", ".join(overflowing)
        parts.append(f"too large for float16, and infinite now (dtype='bfloat16' holds them): {names}")
    if parts:
        warnings.warn(f"{cls.__name__} from {source}: {'; '.join(parts)}.", CheckpointWarning, stacklevel=4)
