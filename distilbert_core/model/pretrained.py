"""Loading, saving, resizing and pruning, decided once for the three backends.

A backend's models inherit `PretrainedModel` and add only how their framework makes a model from arrays, and how it
gives an array out or takes one in.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np

from distilbert_core.compatibility import LOADING, LOADING_ORDER, SAVING, SAVING_ORDER, accept, one_device, renames
from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError, listed
from distilbert_core.files.checkpoint import DTYPES, Checkpoint, Entry, Selection, save_checkpoint
from distilbert_core.files.conversion import save_native
from distilbert_core.files.hub import PUSHING, PushToHub, find_file, split_hub_options
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig, as_config
from distilbert_core.model.inputs import choose
from distilbert_core.model.parameters import BODY, Head, Kind, Parameter, parameter_table, sinusoidal_table
from distilbert_core.model.report import LoadingReport

HALF_LIMIT = 65520.0  # the smallest number that becomes infinite in float16


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype given as a name or as an object of NumPy, PyTorch, TensorFlow or JAX.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.model.pretrained import dtype_name
        >>> dtype_name("bfloat16"), dtype_name(np.float32)
        ('bfloat16', 'float32')
    """
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    name = name.removeprefix("torch.")
    if name not in DTYPES.values():
        raise InputError(f"dtype must be 'auto' or one of {', '.join(DTYPES.values())}, got {dtype!r}.")
    return name


def find_config(source: str | Path, **where: Any) -> DistilBertConfig:
    """Return the configuration of a checkpoint of any format: that of its config.json, or what it has in its place.

    Args:
        source: As of `from_pretrained`.
        **where: Where to look.

    Raises:
        CheckpointError: There is no such checkpoint, or it has none.
        ConfigError: A field has an impossible value.
    """
    folder: str | Path = source
    if Path(source).is_file() or _has_other_config(source, where):
        checkpoint = Checkpoint(source, **where)
        found, folder = checkpoint.config(), checkpoint.folder
        if found is not None:
            return found
    return cast(DistilBertConfig, DistilBertConfig.from_pretrained(folder, **where))


def _has_other_config(source: str | Path, where: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has no config.json, or one of a Keras object."""
    path = find_file(source, CONFIG_FILE, **where)
    return path is None or b'"registered_name"' in path.read_bytes()


class PretrainedModel(PushToHub):
    """What all models of all backends can do with checkpoints, vocabularies and heads."""

    base_model_prefix: ClassVar[str] = BODY
    head: ClassVar[Head | None] = None  # None: a user's own, on a body that has the name BODY
    config: DistilBertConfig
    _inside: Head | None = None  # the head of the model that this one is the base of

    # What a backend sets and defines.
    _reader: ClassVar[str] = "np"  # framework of the arrays that a checkpoint gives to `_set_array`
    _options: ClassVar[frozenset[str]] = frozenset()  # further keywords of `from_pretrained`, for the constructor
    _more_dtypes: ClassVar[frozenset[str]] = frozenset()  # names of dtypes that only this framework has
    _framework: ClassVar[str]  # the package whose layers are used as they are
    _adapter_advice: ClassVar[str]  # how adapters become part of the layers that they wrap, as a sentence

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        """Make a model for inference whose parameters are about to be set, at no cost where the framework can.

        A class that a user derived is constructed as it is: its layers may compute what they like from values.
        `dtype` is None where the caller did not say: float32, or what the framework has been told to use.
        """
        raise NotImplementedError

    def _variables(self) -> dict[str, Any]:
        """Return all that the model stores, each once, by its path of attributes; the values have a shape."""
        raise NotImplementedError

    def _place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        """Return the path of attributes, and the shape, that a parameter of the table has in this framework."""
        raise NotImplementedError

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        """Return a parameter in the layout of a checkpoint."""
        raise NotImplementedError

    def _set_array(self, parameter: Parameter, array: Any, device: Any = None) -> None:
        """Replace a parameter by an array in the layout of a checkpoint; its shape may be another one."""
        raise NotImplementedError

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 numbers from the standard normal distribution, by the framework's own generator."""
        raise NotImplementedError

    def tie_weights(self) -> None:
        """Let tied parameters be one and the same again; where they cannot be anything else, do nothing."""

    def _fresh_array(self, parameter: Parameter) -> np.ndarray:
        """Return initial values: matrices from N(0, initializer_range), scales one, the rest and the pad row zero."""
        match parameter.kind:
            case Kind.KERNEL | Kind.EMBEDDING:
                array = self.config.initializer_range * self._draw_normal(parameter.shape)
                if parameter.pad_row is not None:
                    array[parameter.pad_row] = 0
                return array
            case Kind.NORM_SCALE:
                return np.ones(parameter.shape, np.float32)
            case _:
                return np.zeros(parameter.shape, np.float32)

    def _adopt(self, base: PretrainedModel) -> None:
        """Make a model the base of this one: they share a configuration, so that resizing either changes both."""
        base.config = self.config
        base._inside = self.head

    @property
    def base_model(self) -> Any:
        """The body: `distilbert` inside a model with a head, else the model itself."""
        return getattr(self, BODY, self)

    def get_input_embeddings(self) -> Any:
        """Return the word embeddings, a layer of the framework."""
        return self.base_model.embeddings.word_embeddings

    def get_position_embeddings(self) -> Any:
        """Return the position embeddings, a layer of the framework."""
        return self.base_model.embeddings.position_embeddings

    @property
    def parameter_table(self) -> tuple[Parameter, ...]:
        """Every parameter of this model: canonical name, shape and kind."""
        return parameter_table(self.config, self.head)

    @classmethod
    def _is_derived(cls) -> bool:
        """Whether this is a class of a user's own, which may make other layers than the table's."""
        return cls.__module__.partition(".")[0] not in {backend.package for backend in BACKENDS.values()}

    @classmethod
    def _dtype_options(cls, dtype: Any, stored: Sequence[Any], entries: Mapping[str, Entry]) -> dict[str, Any]:
        """Return 'dtype', and 'param_dtype' where a framework has it, for arguments of `from_pretrained`.

        Args:
            dtype: Its `dtype`.
            stored: Its `torch_dtype` and `param_dtype`: of the parameters only.
            entries: Where the parameters are stored.
        """
        name, *of_parameters = (x if x in cls._more_dtypes else _wanted_dtype(x, entries) for x in (dtype, *stored))
        apart = "param_dtype" in cls._options  # whether parameters may have another dtype than the computation
        given = {x for x in (of_parameters if apart else (name, *of_parameters)) if x is not None}
        if len(given) > 1:
            names = "torch_dtype and param_dtype" if apart else "dtype and torch_dtype"
            raise InputError(f"{names} mean the same here, got {' and '.join(sorted(given))}.")
        if not apart:
            return {"dtype": next(iter(given), None)}
        if not given and isinstance(dtype, str) and dtype == "auto":
            given = {name}
        stored_in = next(iter(given), None)
        return {"dtype": choose(name, stored_in)} | ({} if stored_in is None else {"param_dtype": stored_in})

    def _foreign_layers(self, path: str) -> Iterator[str]:
        """Yield the layers on a path of attributes that neither this package nor the framework made, as text."""
        layer: Any = self
        for step in path.split(".")[:-1]:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
            if not self._is_plain(layer):
                yield f"a {type(layer).__name__} of {type(layer).__module__}, whose way of computing would be lost"

    def _is_plain(self, layer: Any) -> bool:
        """Whether what a layer computes follows from its class and its parameters."""
        packages = {*(backend.package for backend in BACKENDS.values()), self._framework}
        return type(layer).__module__.partition(".")[0] in packages

    def _stored_parameters(self) -> list[Parameter]:
        """Return what a checkpoint of this model holds: the table's parameters, then further ones by their own names.

        Raises:
            InputError: The class makes layers that this model does not have: it could not be loaded again.
        """
        variables = self._variables()
        stored, misfits, untied = [], [], []
        for parameter in self.parameter_table:
            path, shape = self._place(parameter)
            found = variables.get(path)
            if found is not None and parameter.tied_to is not None:
                untied.append(f"{parameter.name} is not {parameter.tied_to}, to which the configuration ties it")
            elif found is not None and tuple(found.shape) == shape:
                stored.append(parameter)
                del variables[path]
                misfits += [f"{path} is in {layer}" for layer in self._foreign_layers(path)]
            elif parameter.tied_to is None:
                there = "is not there" if found is None else f"has shape {tuple(found.shape)}"
                misfits.append(f"{path} must have shape {shape}, it {there}")
        misfits = untied + ([] if self._is_derived() else misfits)
        if misfits:
            raise InputError(
                f"This {type(self).__name__} could not be loaded again: {listed(misfits, '; ')}. Where the number of "
                "labels or tokens is another, set it in model.config (num_labels, vocab_size). Where a layer was "
                f"replaced, derive a class whose constructor makes it. {self._adapter_advice}"
            )
        return stored + [Parameter(path, tuple(found.shape), Kind.OTHER) for path, found in variables.items()]

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
        **kwargs: Any,
    ) -> Any:
        """Load a model from a local folder, an embedded model or the Hugging Face Hub.

        Args:
            source: A folder with config.json and model.safetensors (or shards with an index), the name of an embedded
                model ('sst2-tiny'), or a Hub id. It may hold any other format that is read, such as pytorch_model.bin,
                tf_model.h5, flax_model.msgpack, what Orbax wrote, or an adapter of peft (docs/conversion.md): each
                array is converted when its turn comes. Or one weight file, with config.json beside it. None with
                `config` and `state_dict`.
            config: Configuration to use in place of the checkpoint's: an object, a dict of its fields, a folder, a path
                of a config.json, or a Hub id.
            dtype: Dtype of the parameters, 'float64', 'float32', 'bfloat16', 'float16', or 'auto' for the
                checkpoint's; float32 if left out. In Flax it is the computation's, and the parameters stay in float32
                unless `param_dtype` says otherwise; 'auto' is for both.
            device: Where to put them, as the framework names it.
            device_map: The same as Transformers has it: one device, {'': device}, or 'auto' for the fastest.
            state_dict: Arrays by name to use in place of the checkpoint's.
            variant: Read model.VARIANT.safetensors ('fp16', say) in place of model.safetensors.
            use_safetensors: Read safetensors only (True), or other formats only (False).
            ignore_mismatched_sizes: Freshly initialise parameters whose shape differs from the checkpoint's, such
                as a classifier for another number of labels.
            output_loading_info: Also return a dict with 'missing_keys', 'unexpected_keys', 'mismatched_keys' and
                'error_msgs'.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), fields of the configuration to replace (`num_labels=5`), options of the backend, and
                `torch_dtype`: the dtype of the parameters in every framework. `from_tf=True` and `from_flax=True` read
                the own format of that framework where there are several. What else Transformers takes is in
                `distilbert_core.compatibility.LOADING`.

        Returns:
            The model, ready for inference; with `output_loading_info` (model, info).

        Raises:
            CheckpointError: The checkpoint is not there, is damaged, lacks a parameter of the body, or has one of
                another shape.
            ConfigError: The configuration is impossible.
            TypeError: A keyword is unknown, or has a value that would have an effect in Transformers and has none here.

        Warns:
            CheckpointWarning: Names the parameters that are new, those that float16 makes infinite, and the entries
                that were not used.
        """
        where, kwargs = split_hub_options(kwargs)
        options = {name: kwargs.pop(name) for name in cls._options & kwargs.keys()}
        stored_dtypes = [kwargs.pop("torch_dtype", None), options.pop("param_dtype", None)]
        apart = not options.pop("_do_init", True)
        saved_by = [name for name in ("tf", "flax") if kwargs.pop(f"from_{name}", False)]
        kwargs = accept(kwargs, LOADING)
        if device_map is not None:
            device = cls._device_of(device_map, device)
        if source is not None and not isinstance(source, str | os.PathLike):
            raise TypeError(f"source must be a folder, a weight file or a Hub id, got a {type(source).__name__}.")
        shown = source if state_dict is None else "state_dict"
        if state_dict is not None:
            checkpoint = Checkpoint.of_arrays(state_dict)
        elif source is not None:
            checkpoint = Checkpoint(
                source, cls._reader, Selection(variant, use_safetensors, next(iter(saved_by), None)), **where
            )
        else:
            raise InputError("Give source: a folder, a weight file or a Hub id; or config and state_dict.")
        given = checkpoint.config() if config is None else as_config(config)
        if given is not None:
            config = given.updated(**kwargs)
        else:
            config = DistilBertConfig.from_pretrained(checkpoint.folder or source, **where, **kwargs)
        if source is not None:
            config.name_or_path = str(source)
        table: Sequence[Parameter] = parameter_table(config, cls.head)
        report = LoadingReport.of(table, checkpoint.shapes)
        if not cls._is_derived():  # else only an instance can tell what it has
            fresh = _check_report(report, table, cls, shown, ignore_mismatched_sizes)

        entries = {name: checkpoint.entries[entry] for name, entry in report.entries.items()}
        options |= cls._dtype_options(dtype, stored_dtypes, entries)
        half = options.get("param_dtype" if "param_dtype" in cls._options else "dtype") == "float16"
        model: Any = cls._blank(config, options.pop("dtype"), device, **options)
        if cls._is_derived():
            model.tie_weights()
            table = [*model._stored_parameters(), *(p for p in table if p.tied_to is not None)]
            report = LoadingReport.of(table, checkpoint.shapes)
            fresh = _check_report(report, table, cls, shown, ignore_mismatched_sizes)
        infinite: list[str] = []
        for parameter in table:
            if parameter.name in report.entries:
                array = checkpoint.read(report.entries[parameter.name])
                if half and checkpoint.entries[report.entries[parameter.name]].dtype != "F16" and _overflows(array):
                    infinite.append(parameter.name)
            elif parameter.computed:
                array = sinusoidal_table(*parameter.shape)
            elif parameter.tied_to is None and parameter.kind is not Kind.OTHER:
                array = model._fresh_array(parameter)
            else:
                continue
            with np.errstate(over="ignore"):  # said below, by name
                model._set_array(parameter, array, device)
        model.tie_weights()
        unused = _untied(report, table, checkpoint) + report.unexpected + checkpoint.dropped
        _warn(cls, shown, fresh, unused, infinite)
        if apart:
            return model.without_values()
        if not output_loading_info:
            return model
        return model, {
            "missing_keys": report.missing,
            "unexpected_keys": report.unexpected,
            "mismatched_keys": report.mismatched,
            "error_msgs": [],  # whatever is wrong is raised
        }

    @classmethod
    def _device_of(cls, device_map: Any, device: Any) -> Any:
        """Return the device that `device_map` names, as this framework names it; None where it has its own choice."""
        found = one_device(device_map)
        if device is not None and found != device:
            raise TypeError(f"device_map and device are one argument, got {device_map!r} and {device!r}.")
        return cls._named_device(found)

    @classmethod
    def _named_device(cls, device: Any) -> Any:
        """Return a device that is given as PyTorch names it: 'cuda:1', 1, or 'auto' for the fastest."""
        if isinstance(device, int):
            return f"gpu:{device}"
        if device == "auto":
            return None  # Keras and JAX use an accelerator where there is one
        return device.replace("cuda", "gpu") if isinstance(device, str) else device

    @renames(SAVING_ORDER, save_directory="folder", use_auth_token="token", save_config="is_main_process")
    def save_pretrained(
        self,
        folder: str | Path,
        *,
        max_shard_size: int | str = "5GB",
        variant: str | None = None,
        state_dict: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        is_main_process: bool = True,
        safe_serialization: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write config.json and model.safetensors, as the Hub has them and every backend reads them.

        Parameters and other state that a user added are written too, under their paths of attributes; a class that
        makes them in its constructor reads them again. The files appear whole or not at all; what was in the folder
        stays if writing fails.

        Args:
            folder: Destination; made if it is not there.
            max_shard_size: Split weights that are larger than this, in bytes or as a text ('5GB').
            variant: Write model.VARIANT.safetensors ('fp16', say) in place of model.safetensors.
            state_dict: Arrays by name to write in place of the model's: all that a checkpoint holds.
            params: The same as a nested dict like `params`, of Flax models.
            is_main_process: False in all processes but one; then nothing is written.
            safe_serialization: False writes the format that Transformers 4 wrote so for this framework
                (pytorch_model.bin, tf_model.h5, flax_model.msgpack) in place of model.safetensors.
            push_to_hub: Also upload the files; see the method of this name. The repository is `repo_id`, or what the
                folder is called.
            **kwargs: Of `push_to_hub`. What else Transformers takes is in `distilbert_core.compatibility.SAVING`.

        Raises:
            ConfigError: The configuration holds a function, which cannot be written.
            InputError: A layer was replaced or wrapped, so that the class could not load what was written; or
                `state_dict` or `params` lack a parameter, or have one of another shape.
            OSError: The disk is full, or the folder may not be written to.
            TypeError: A keyword is unknown.
        """
        kwargs = accept(kwargs, SAVING)
        hub = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        if kwargs:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(kwargs))}.")
        if not is_main_process:
            return
        if params is not None:
            if not hasattr(self, "with_params"):
                raise TypeError("params is an argument of Flax models; give state_dict, arrays by name.")
            self.with_params(params).save_pretrained(
                folder, max_shard_size=max_shard_size, variant=variant, safe_serialization=safe_serialization
            )
        else:
            self._save(folder, max_shard_size, variant, state_dict, safe_serialization is not False)
        if push_to_hub:
            how = {"max_shard_size": max_shard_size, "variant": variant, "safe_serialization": safe_serialization}
            given = {"state_dict": state_dict, "params": params}
            self.push_to_hub(**{"repo_id": Path(folder).expanduser().absolute().name, **hub, **how, **given})

    def _save(
        self,
        folder: str | Path,
        max_shard_size: int | str,
        variant: str | None,
        state_dict: Mapping[str, Any] | None,
        safe_serialization: bool,
    ) -> None:
        if state_dict is not None:
            arrays = self._given_arrays(state_dict)
        else:
            arrays = {parameter.name: self._get_array(parameter) for parameter in self._stored_parameters()}
        dtype = next(iter(arrays.values())).dtype.name
        architecture = type(self).__name__ if self.head is None else self.head.architecture
        config = self.config.updated(architectures=[architecture], torch_dtype=dtype)
        if safe_serialization:
            files = {CONFIG_FILE: config.to_json_string().encode()}
            save_checkpoint(folder, arrays, files, max_shard_size, variant)
        elif self.head is None or self._is_derived():
            raise InputError("Layers of your own are written to model.safetensors only: leave out safe_serialization.")
        else:
            save_native(folder, self._framework, config, self.head, arrays, max_shard_size, variant)

    def _given_arrays(self, state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the arrays of a checkpoint that a caller gives, without those of tied parameters.

        Raises:
            InputError: A parameter is missing, or has another shape.
        """
        tied = {parameter.name for parameter in self.parameter_table if parameter.tied_to is not None}
        given = {name: value for name, value in state_dict.items() if name not in tied}
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in given.items()}
        wrong = [p.name for p in self.parameter_table if p.name not in tied and shapes.get(p.name) != p.shape]
        if wrong:
            raise InputError(f"state_dict lacks parameters, or has them in another shape: {listed(wrong)}.")
        return {name: self._as_array(value) for name, value in given.items()}

    def _as_array(self, value: Any) -> np.ndarray:
        """Return a caller's array, of this framework or NumPy's, as NumPy has it."""
        return np.asarray(value)

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = False,
    ) -> Any:
        """Give the vocabulary another size, and return the word embeddings; the projector of a masked-LM head follows.

        Rows that stay keep their values. New rows are drawn as at initialisation, new biases are zero. Make a new
        optimizer afterwards: the parameters are new ones.

        Args:
            new_num_tokens: Size of the new vocabulary; the present one if left out.
            pad_to_multiple_of: Round the size up to a multiple of this.
            mean_resizing: Must be False; the default of Transformers, True, draws new rows around the mean of the old.

        Raises:
            ConfigError: The size is not a positive number, or cuts off the padding token.
            InputError: This is the base of a masked-LM model, whose projector must follow: resize that model; or
                `mean_resizing` is asked for.
        """
        if mean_resizing:
            raise InputError(
                f"mean_resizing must be False, got {mean_resizing!r}. New rows are drawn as at initialisation; write "
                "others into get_input_embeddings() afterwards."
            )
        if self._inside is Head.MASKED_LM:
            raise InputError(
                f"The base of a {self._inside.architecture} has a projector above it that must have the same "
                "vocabulary: call resize_token_embeddings of the masked-LM model."
            )
        size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
        self._resize(vocab_size=size)
        return self.get_input_embeddings()

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Give the position table another length; kept rows keep their values, a sinusoidal table is extended.

        Args:
            new_num_position_embeddings: Longest input afterwards, in tokens.

        Raises:
            ConfigError: The length is not a positive number.
        """
        self._resize(max_position_embeddings=new_num_position_embeddings)

    def _resize(self, **sizes: int) -> None:
        changes = {}
        for old, new in self._reshaped_parameters(self.config.updated(**sizes)):
            present = self._get_array(old)
            fresh = sinusoidal_table(*new.shape) if new.computed else self._fresh_array(new)
            kept = min(old.shape[0], new.shape[0])
            changes[new] = np.concatenate([present[:kept], fresh[kept:].astype(present.dtype)])
        self._replace_parameters(changes)
        self._change_config(**sizes)

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads for good; the result equals a head_mask of zeros for them.

        The pruned heads are kept in the configuration, so that a saved model loads again. A head_mask still has one
        entry per original head.

        Args:
            heads_to_prune: {layer: [head, ...]}, in the numbering of the unpruned model; -1 is the last layer.

        Raises:
            ConfigError: There is no such layer or head, or a layer would be left without heads.
        """
        pruned = {layer: set(heads) for layer, heads in self.config.pruned_heads.items()}
        for layer, heads in heads_to_prune.items():
            pruned.setdefault(layer, set()).update(heads)
        new_config = self.config.updated(pruned_heads={layer: sorted(heads) for layer, heads in pruned.items()})
        changes = {}
        for old, new in self._reshaped_parameters(new_config):
            layer = int(old.name.split("transformer.layer.")[1].split(".")[0])
            rows = _kept_rows(self.config.kept_heads(layer), new_config.kept_heads(layer), self.config.head_size)
            axis = 1 if ".out_lin." in old.name else 0
            changes[new] = self._get_array(old).take(rows, axis=axis)
        self._replace_parameters(changes)
        self._change_config(pruned_heads=new_config.pruned_heads)

    def _reshaped_parameters(self, config: DistilBertConfig) -> list[tuple[Parameter, Parameter]]:
        """Return the parameters whose shape another configuration changes, as they are and as they will be.

        Raises:
            InputError: A layer that has one of them was replaced, wrapped or parametrized. Nothing is changed then.
        """
        pairs = zip(self.parameter_table, parameter_table(config, self.head), strict=True)
        reshaped = [(old, new) for old, new in pairs if old.shape != new.shape and new.tied_to is None]
        variables = self._variables()
        absent = [path for path, _ in (self._place(old) for old, _ in reshaped) if path not in variables]
        if absent:
            raise InputError(
                "A layer that was replaced, wrapped or parametrized cannot be resized or pruned: it does not have "
                f"{listed(absent)}. {self._adapter_advice}"
            )
        return reshaped

    def _change_config(self, **fields: Any) -> None:
        """Set fields of the configuration that this model and its base share."""
        if self.base_model is not self:
            self._adopt(self.base_model)  # which may be one that the user put there
        for name, value in fields.items():
            setattr(self.config, name, value)

    def _replace_parameters(self, changes: Mapping[Parameter, np.ndarray]) -> None:
        for parameter, array in changes.items():
            self._set_array(parameter, array)
        self.tie_weights()


def _kept_rows(old_heads: list[int], new_heads: list[int], head_size: int) -> np.ndarray:
    """Return the rows of a projection that belong to `new_heads`, where it has those of `old_heads`."""
    starts = np.array([old_heads.index(head) * head_size for head in new_heads])
    return (starts[:, None] + np.arange(head_size)).ravel()


def _wanted_dtype(dtype: Any, stored: Mapping[str, Any]) -> str | None:
    """Return the name of the dtype asked for, if any; every stored entry must be of a floating dtype."""
    for name, entry in stored.items():
        if entry.dtype not in DTYPES:
            raise CheckpointError(f"{entry.path}: {name} must be of a floating dtype, got {entry.dtype}.")
    if isinstance(dtype, str) and dtype == "auto":
        first = next(iter(stored.values()), None)
        return None if first is None else DTYPES[first.dtype]
    return None if dtype is None else dtype_name(dtype)


def _check_report(
    report: LoadingReport, table: Iterable[Parameter], cls: type[PretrainedModel], source: Any, ignore_mismatched: bool
) -> list[str]:
    """Return the parameters to initialise afresh, or raise CheckpointError if the checkpoint does not fit."""
    if report.mismatched and not ignore_mismatched:
        lines = [f"{name}: {tuple(stored)} stored, {shape} in the model" for name, stored, shape in report.mismatched]
        raise CheckpointError(
            f"{source} does not fit {cls.__name__}: " + "; ".join(lines) + ". Give ignore_mismatched_sizes=True to "
            "initialise these afresh, or a configuration of the checkpoint's sizes."
        )
    computed = {parameter.name for parameter in table if parameter.computed}
    missing = [name for name in report.missing if name not in computed]
    own = {parameter.name for parameter in table if parameter.kind is Kind.OTHER}  # a user's, which has its values
    body = [name for name in missing if name not in own and (cls.head is Head.NONE or name.startswith(f"{BODY}."))]
    if body:
        raise CheckpointError(
            f"{source} is no complete DistilBERT checkpoint: it lacks {len(body)} parameter(s) of the body: "
            f"{listed(body)}. It holds: {listed(report.unexpected) or 'nothing else'}."
        )
    return missing + [name for name, _, _ in report.mismatched]


def _untied(report: LoadingReport, table: Iterable[Parameter], checkpoint: Checkpoint) -> list[str]:
    """Return, as text, the stored entries of tied parameters that differ from what they are tied to."""
    found = []
    for parameter in table:
        if parameter.name in report.tied and parameter.tied_to in report.entries:
            own, shared = (checkpoint.read(e) for e in (report.tied[parameter.name], report.entries[parameter.tied_to]))
            if own.shape != shared.shape or (own != shared).any():
                found.append(
                    f"{parameter.name}, which differs from {parameter.tied_to} (tie_word_embeddings=False would use it)"
                )
    return found


def _overflows(array: Any) -> bool:
    """Whether a finite value of an array, of NumPy or PyTorch, is too large for float16."""
    return 0 not in array.shape and HALF_LIMIT <= float(abs(array).max()) < np.inf


def _warn(cls: type[PretrainedModel], source: Any, fresh: list[str], unused: list[str], infinite: list[str]) -> None:
    parts = []
    if fresh:
        parts.append(f"freshly initialised, train before use: {', '.join(fresh)}")
    if unused:
        parts.append(f"in the checkpoint but not used: {', '.join(unused)}")
    if infinite:
        parts.append(f"too large for float16, and infinite now (dtype='bfloat16' holds them): {', '.join(infinite)}")
    if parts:
        warnings.warn(f"{cls.__name__} from {source}: " + "; ".join(parts) + ".", CheckpointWarning, stacklevel=4)
