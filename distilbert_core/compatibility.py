"""Arguments of Transformers that have no effect here: the accepted values, and advice for all others.

One table for each public function; `accept` takes the arguments of a table out of the rest. Arguments that have
another name here get it by `renames`. Methods that have no meaning here are errors by `refuse_methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Accepted:
    """An argument that has no effect.

    Attributes:
        values: The values it may have; None: any value, because whatever it asks for is done anyway.
        instead: Advice for another value, as a sentence.
    """

    values: tuple[Any, ...] | None = None
    instead: str = ""

    def takes(self, value: Any) -> bool:
        """Return whether a value is accepted; 1 is not True here."""
        return self.values is None or any(value is allowed or _equal(value, allowed) for allowed in self.values)


def _equal(value: Any, allowed: Any) -> bool:
    return type(value) is type(allowed) and bool(value == allowed)


def accept(arguments: Mapping[str, Any], table: Mapping[str, Accepted]) -> dict[str, Any]:
    """Return the arguments that are not in a table, and check that the others have accepted values.

    Args:
        arguments: Keyword arguments of a call. They are not changed.
        table: The accepted arguments by name.

    Raises:
        TypeError: An argument of the table has a value that would have an effect elsewhere.

    Example:
        >>> from distilbert_core.compatibility import Accepted, accept
        >>> table = {"trust_remote_code": Accepted((False, None), "No code of a checkpoint is run.")}
        >>> accept({"trust_remote_code": False, "num_labels": 3}, table)
        {'num_labels': 3}
    """
    for name, value in arguments.items():
        if name in table and not table[name].takes(value):
            allowed = " or ".join(map(repr, table[name].values or ()))
            raise TypeError(f"{name} must be {allowed}, got {value!r}. {table[name].instead}".rstrip())
    return {name: value for name, value in arguments.items() if name not in table}


def accept_only(arguments: Mapping[str, Any], table: Mapping[str, Accepted], function: str) -> None:
    """Raise TypeError for arguments that are not in a table, or do ask for something special; see `accept`."""
    for name in accept(arguments, table):
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def refuse_methods(cls: type, table: Mapping[str, str], error: type[Exception] = NotImplementedError) -> None:
    """Add the methods of a table to a class; calling one raises an error with advice.

    Args:
        cls: The class.
        table: What to do instead, as a sentence, by name of the method.
        error: The type of the error.

    Example:
        >>> from distilbert_core.compatibility import refuse_methods
        >>> class Model:
        ...     pass
        >>> refuse_methods(Model, {"generate": "An encoder does not generate."})
        >>> Model().generate()
        Traceback (most recent call last):
        NotImplementedError: Model has no generate. An encoder does not generate.
    """
    for name, instead in table.items():
        setattr(cls, name, _refusal(cls, name, instead, error))


def _refusal(cls: type, name: str, instead: str, error: type[Exception]) -> Callable[..., NoReturn]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise error(f"{type(self).__name__} has no {name}. {instead}")

    refuse.__name__, refuse.__qualname__ = name, f"{cls.__qualname__}.{name}"
    refuse.__doc__ = f"Raise {error.__name__}. {instead}"
    return refuse


# Arguments that Transformers' classes take by position after the first, by framework.
LOADING_ORDER = {"torch": (), "keras": (), "flax": ("dtype",)}
SAVING_ORDER = {
    "torch": (
        *("is_main_process", "state_dict", "save_function", "push_to_hub", "max_shard_size", "safe_serialization"),
        *("variant", "token", "save_peft_format"),
    ),
    "keras": (
        *("saved_model", "version", "push_to_hub", "signatures", "max_shard_size", "create_pr", "safe_serialization"),
        "token",
    ),
    "flax": ("params", "push_to_hub", "max_shard_size", "token", "safe_serialization"),
}


def renames(
    order: Mapping[str, tuple[str, ...]] | None = None, /, **names: str
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Return a decorator by which a function also takes arguments under the names that Transformers gives them.

    Args:
        order: The names of the arguments after the first, in the order in which Transformers takes them by position, by
            the framework of a method's owner. None: the function's own order.
        **names: The name here of each name there. None under a name there is the same as no argument.

    Example:
        >>> from distilbert_core.compatibility import renames
        >>> @renames(save_directory="folder")
        ... def save(folder):
        ...     return folder
        >>> save("out"), save(save_directory="out")
        ('out', 'out')
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def renamed(*args: Any, **kwargs: Any) -> Result:
            if order is not None and len(args) > 2:
                args, kwargs = args[:2], _by_name(function.__name__, order[args[0]._framework], args[2:], kwargs)
            for theirs in names.keys() & kwargs.keys():
                value, ours = kwargs.pop(theirs), names[theirs]
                if value is not None and kwargs.setdefault(ours, value) is not value:
                    raise TypeError(f"{theirs} and {ours} are one argument: give one of them.")
            return function(*args, **kwargs)

        return renamed

    return decorate


def _by_name(
    function: str, order: tuple[str, ...], values: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return keywords together with the arguments after the first that are given by position."""
    if len(values) > len(order):
        taken = f", then {', '.join(order)}" if order else ""
        kinds = ", ".join(type(value).__name__ for value in values[len(order) :])
        raise TypeError(
            f"{function}() takes one argument by position{taken}; got further ones: {kinds}. Give them by keyword, "
            "such as config= or dtype=."
        )
    found = dict(zip(order, values, strict=False))
    for name in found.keys() & kwargs.keys():
        raise TypeError(f"{function}() got {name} by position and by keyword: give one of them.")
    return {**kwargs, **found}


def one_device(device_map: Any) -> Any:
    """Return the one device that a `device_map` of Transformers names, or 'auto'.

    Raises:
        TypeError: It spreads a model over several devices.

    Example:
        >>> from distilbert_core.compatibility import one_device
        >>> one_device({"": "cuda:0"}), one_device("balanced"), one_device("cpu")
        ('cuda:0', 'auto', 'cpu')
    """
    if isinstance(device_map, str) and device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return "auto"
    if not isinstance(device_map, Mapping):
        return device_map
    devices = list(device_map.values())
    if not devices or any(device != devices[0] for device in devices) or devices[0] == "disk":
        raise TypeError(f"device_map must name one device, as a model is not spread over several, got {device_map!r}.")
    return devices[0]


_ONE_DEVICE = "A model is on one device: give device, or device_map with one."
_QUANTIZE = (
    "Quantize the loaded model: torchao.quantization.quantize_, keras.Model.quantize, qwix.quantize_model, or "
    "distilbert convert --to onnx-int8."
)
_PROXIES = "Set HTTP_PROXY and HTTPS_PROXY in the environment."
_REPOSITORY = "Give repo_id, 'name/model'."
_ADAPTERS = "Give the adapter's own folder or Hub id: its base is loaded, and the adapter added to it."

# Of everything that may fetch files from the Hub.
FETCHING: dict[str, Accepted] = {
    "trust_remote_code": Accepted(),  # a permission that is not used
    "resume_download": Accepted(),
    "mirror": Accepted(),
    "proxies": Accepted((None, {}), _PROXIES),
    "local_dir": Accepted((None,), "Give cache_dir, or download with `hf download`."),
    "_from_auto": Accepted(),
    "_from_pipeline": Accepted(),
    "_commit_hash": Accepted(),
    "user_agent": Accepted(),
}

# Of `from_pretrained` of models.
LOADING: dict[str, Accepted] = FETCHING | {
    "from_pt": Accepted(),  # every framework opens every format
    "weights_only": Accepted(),  # they always are
    "low_cpu_mem_usage": Accepted(),  # parameters are never made twice
    "_fast_init": Accepted(),
    "tf_to_pt_weight_rename": Accepted(),  # every known name is understood
    "load_weight_prefix": Accepted(),
    "attn_implementation": Accepted(("eager", "sdpa", None), "Keras and Flax models choose it at each call."),
    "max_memory": Accepted((None,), _ONE_DEVICE),
    "offload_folder": Accepted((None,), _ONE_DEVICE),
    "offload_state_dict": Accepted((False, None), _ONE_DEVICE),
    "offload_buffers": Accepted((False, None), _ONE_DEVICE),
    "tp_plan": Accepted((None,), _ONE_DEVICE),
    "tp_size": Accepted((None,), _ONE_DEVICE),
    "device_mesh": Accepted((None,), _ONE_DEVICE),
    "quantization_config": Accepted((None,), _QUANTIZE),
    "load_in_8bit": Accepted((False, None), _QUANTIZE),
    "load_in_4bit": Accepted((False, None), _QUANTIZE),
    "gguf_file": Accepted((None,), "Take the checkpoint that the GGUF file was made from."),
    "adapter_kwargs": Accepted((None, {}, {"revision": None}), _ADAPTERS),
    "adapter_name": Accepted((None, "default"), _ADAPTERS),
    "generation_config": Accepted((None,), "DistilBERT does not generate."),
    "use_kernels": Accepted((False, None), "There are no kernels to fetch."),
    "key_mapping": Accepted((None, {}), "Rename the entries, and give them as state_dict."),
}

# Of `save_pretrained` of models.
SAVING: dict[str, Accepted] = {
    "save_function": Accepted(),  # safetensors are written in any case, as there
    "save_peft_format": Accepted(),
    "saved_model": Accepted((False, None), "Call model.export(FOLDER) for a SavedModel."),
    "signatures": Accepted((None,), "Call model.export(FOLDER, input_signature=...) for a SavedModel."),
    "version": Accepted(),
    "tags": Accepted((None, []), "Write them into the README.md of the repository."),
    "ignore_metadata_errors": Accepted(),
    "save_jinja_files": Accepted(),  # of tokenizers
    "use_temp_dir": Accepted(),
    "repo_path_or_name": Accepted((None,), _REPOSITORY),
    "repo_url": Accepted((None,), _REPOSITORY),
    "organization": Accepted((None,), _REPOSITORY),
}

# Of `save_pretrained` of configurations.
CONFIG_SAVING: dict[str, Accepted] = SAVING | {
    "max_shard_size": Accepted(),  # of weights
    "safe_serialization": Accepted(),
    "variant": Accepted(),
}

# Of `from_pretrained` and `from_dict` of configurations.
CONFIGURING: dict[str, Accepted] = FETCHING | {
    "gguf_file": LOADING["gguf_file"],
    "_configuration_file": Accepted((None, "config.json"), "Give the path of the file as the source."),
}

# Of `from_pretrained` of tokenizers, of their calls, and of the rest of their methods.
_NO_CHAT = "DistilBERT is not a chat model."
TOKENIZER_LOADING: dict[str, Accepted] = FETCHING | {
    "use_fast": Accepted(),  # the class says which, and both give the same
    "from_slow": Accepted(),
    "gguf_file": Accepted((None,), "Give vocab.txt or tokenizer.json."),
    "add_prefix_space": Accepted((False, None), "WordPiece has no tokens that begin with a space."),
    "processor_class": Accepted((None,), "DistilBERT has no processor."),
    "chat_template": Accepted((None,), _NO_CHAT),
    "extra_special_tokens": Accepted((None, {}), "Give additional_special_tokens, a list."),
    "max_len": Accepted((None,), "Give model_max_length."),
}
TOKENIZER_SAVING: dict[str, Accepted] = CONFIG_SAVING | {
    "is_main_process": Accepted((True, None), "Call save_pretrained in one process."),
}
TOKENIZER_DECODING: dict[str, Accepted] = {
    "spaces_between_special_tokens": Accepted((True, None), "Words and added tokens are joined by spaces."),
    "use_source_tokenizer": Accepted((False, None), "A tokenizer has one vocabulary."),
}

# Of `pipeline` and of calls of pipelines.
PIPELINES: dict[str, Accepted] = {
    **dict.fromkeys(
        ("feature_extractor", "image_processor", "processor"), Accepted((None,), "DistilBERT reads texts only.")
    ),
    "modelcard": Accepted((None,), "No model card is written."),
    "args_parser": Accepted((None,), "Derive a class from the pipeline's, and give it a method read."),
    "trust_remote_code": FETCHING["trust_remote_code"],
    "_commit_hash": Accepted(),
    "code_revision": Accepted(),
    "assistant_model": Accepted((None,), "DistilBERT does not generate."),
    "assistant_tokenizer": Accepted((None,), "DistilBERT does not generate."),
    "binary_output": Accepted((False, None), "Results are Python's own objects; pickle them."),
    "num_workers": Accepted(),  # the tokenizer has threads of its own
    "padding": Accepted(),  # no result depends on padding
    "offset_mapping": Accepted((None,), "The tokenizer gives the offsets."),
    "return_token_type_ids": Accepted((False, None), "DistilBERT has no token types."),
}
