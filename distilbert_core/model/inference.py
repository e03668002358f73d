"""NumPy in, NumPy out: models as the pipelines see them, whatever the framework."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError, InputWarning
from distilbert_core.model.backends import BACKENDS, backend_class
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.outputs import PLAIN_OUTPUTS
from distilbert_core.model.packing import Packing, first_tokens
from distilbert_core.model.pretrained import PretrainedModel

# About so many tokens are computed at a time on a CPU: what a layer hands to the next then stays in its cache.
BLOCK_TOKENS = 1024

# What other libraries put a model into, by the attribute or method that gives the model back.
WRAPPERS = ("_orig_mod", "module", "get_base_model")  # torch.compile; data parallel; peft

# Methods of a framework that compute what a model says; a user's class may have its own.
CALLS = ("forward", "call", "__call__")


class Inference:
    """A model for inference, as `load_inference` returns it.

    Args:
        model: A model of the backend; what is done to it later, such as training, is seen here.

    Attributes:
        backend: What runs it: 'pt', 'tf', 'flax', 'onnx' or 'openvino'.
        head: What it predicts.
    """

    backend: str

    def __init__(self, model: Any):
        self.model = model
        self.head: Head = model.head

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def device(self) -> Any:
        """Where the model is, as its framework says it; None: only its engine knows."""
        return None

    @property
    def dtype(self) -> Any:
        """Dtype of the model, as its framework says it; None: only its engine knows."""
        return getattr(self.model, "dtype", None)

    def move(self, device: Any) -> None:
        """Move the model to a device, if it is not there: as the framework names it, or a number as for `load`.

        Raises:
            InputError: There is no such device, or models of this framework stay where they are.
        """
        wanted = self.find_device(device)
        if not self._is_on(wanted):
            raise InputError(
                f"device must be {self.device}, where the model is and stays, got {device!r}; load it with device=, or "
                "give its folder."
            )

    def _is_on(self, device: Any) -> bool:
        """Return whether the model is on a device that `find_device` gave."""
        return bool(device == self.device)

    @classmethod
    def accelerators(cls) -> list[Any]:
        """Return the devices of this framework other than the CPU."""
        return []

    @classmethod
    def find_device(cls, device: Any) -> Any:
        """Return a device as the framework names it.

        Args:
            device: Such a name, or a number as in Transformers: -1 the CPU, 0 the first accelerator.

        Raises:
            InputError: There are accelerators, but not one of this number.

        Warns:
            InputWarning: There are none; it is the CPU.
        """
        if not isinstance(device, int) or isinstance(device, bool):
            return device
        found = cls.accelerators()
        if device >= len(found) > 0:
            raise InputError(f"device must be below {len(found)}, the number of accelerators here, got {device}.")
        if device >= 0 and not found:
            warnings.warn(
                f"device={device}: there is no accelerator here; the CPU is used.", InputWarning, stacklevel=5
            )
        return found[device] if 0 <= device < len(found) else "cpu"

    def __call__(self, *, tokens: np.ndarray | None = None, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name.

        Args:
            tokens: [B, T] boolean, for heads that predict something for each token: the real tokens whose outputs are
                wanted; these are [M, ...] then, in the batch's order.
            **arrays: input_ids [B, T], or [B, C, T] for multiple choice, attention_mask, or other arguments.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        raise NotImplementedError

    def _real(self, tokens: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tokens that are wanted and no padding, or raise InputError."""
        ids = arrays.get("input_ids")
        if not self.head.reads_tokens or ids is None or np.shape(tokens) != ids.shape:
            raise InputError(
                "tokens must have the shape of input_ids, for a head that predicts something for each token; got "
                f"{np.shape(tokens)} for {type(self.model).__name__}."
            )
        return np.asarray(tokens, bool) & (np.asarray(arrays.get("attention_mask", 1)) != 0)


class PackedInference(Inference):
    """Inference that computes only real tokens, packed by `distilbert_core.model.packing`: the base of the frameworks'.

    Given ids and perhaps a mask, what stands at padding is 0, and a text's first token is the first that is no padding.
    Other arguments go to the model as they are. So does everything where a user's class says itself what is computed.
    """

    def __init__(self, model: Any):
        super().__init__(model)
        self._is_ours = not has_own_call(model)

    def __reduce__(self) -> Any:
        return type(self), (self.model,)

    @classmethod
    def load(cls, head: Head, source: str | Path, **kwargs: Any) -> Self:
        """Load a checkpoint; see `load_inference`."""
        model_class = backend_class(cls.backend, head)
        if "dtype" in kwargs:  # weights are kept in what is computed in; Flax distinguishes the two
            kwargs["torch_dtype"] = kwargs["dtype"]
        if "device" in kwargs:
            kwargs["device"] = cls.find_device(kwargs["device"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)  # parameters that are missing are an error below
            model, info = model_class.from_pretrained(source, output_loading_info=True, **PLAIN_OUTPUTS, **kwargs)
        fresh = [*info["missing_keys"], *(name for name, _, _ in info["mismatched_keys"])]
        of_head = {parameter.name for parameter in model.parameter_table if parameter.of_head}
        fresh = [name for name in fresh if name in of_head]
        if fresh:
            raise CheckpointError(
                f"{source} has no weights for {model_class.__name__}: it lacks {', '.join(fresh)}. Give a checkpoint "
                "with this head, or train one."
            )
        warn_of_unused(model, source, info["unexpected_keys"], stacklevel=4)
        return cls(model)

    def __call__(self, *, tokens: np.ndarray | None = None, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs; see `Inference`."""
        if tokens is not None:
            tokens = self._real(tokens, arrays)
        if not self._can_be_packed(arrays):
            outputs = self.run(**arrays)
            return outputs if tokens is None else {name: array[tokens] for name, array in outputs.items()}
        ids = arrays["input_ids"]
        mask = arrays.get("attention_mask", np.ones_like(ids)).reshape(-1, ids.shape[-1]) != 0
        wanted = tokens if self.head.reads_tokens else first_tokens(mask)
        packing = self.pack(mask)
        if wanted is None:
            return self.head.named(packing.unpack(self.run_packed(packing.rows(ids))))
        places, order = packing.select(wanted)
        values = self.run_packed({**packing.rows(ids), "output_tokens": places})  # [R, S, ...]
        values = values.reshape(-1, values.shape[-1])[order]  # [M, ...]
        return self.head.named(values.reshape(ids.shape[:2]) if self.head.has_choices else values)

    def _can_be_packed(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether there are ids and a mask alone; what is malformed is left to the model to refuse."""
        if not self._is_ours or not {"input_ids"} <= arrays.keys() <= {"input_ids", "attention_mask"}:
            return False
        ids = arrays["input_ids"]
        mask = arrays.get("attention_mask", np.ones_like(ids))
        well_formed = ids.ndim == (3 if self.head.has_choices else 2) and ids.shape == mask.shape
        # Where all is padding there is nothing to pack, and heads that read a token of each text say so.
        some = mask.any() or not self.head.reads_tokens
        return bool(well_formed and ids.size and some and ids.shape[-1] <= self.config.max_position_embeddings)

    # -- what a backend says ------------------------------------------------------------------------------------

    def pack(self, mask: np.ndarray) -> Packing:
        """Return how the real tokens of a batch [B, T] are best packed for this framework."""
        raise NotImplementedError

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        raise NotImplementedError

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows.

        Args:
            rows: input_ids, position_ids and segment_ids [R, C], and perhaps output_tokens [R, S].

        Returns:
            [R, S, ...], or [R, C, ...] without output_tokens.
        """
        raise NotImplementedError


def warn_of_unused(model: Any, source: str | Path, unused: Sequence[str], stacklevel: int) -> None:
    """Warn of entries of a checkpoint that a model does not use, those of other heads left out: they are not asked for.

    Args:
        model: A model of any backend.
        source: Where it was loaded from.
        unused: Names of the entries.
        stacklevel: Of the warning, counted from here.
    """
    of_heads = {parameter.name for head in Head for parameter in parameter_table(model.config, head)}
    strange = [name for name in unused if name not in of_heads]
    if strange:
        message = f"{source} holds what {type(model).__name__} does not use: {', '.join(strange)}."
        warnings.warn(message, CheckpointWarning, stacklevel=stacklevel)


def framework_of(model: Any) -> str | None:
    """Return the name of the backend that a model is of, or None if it is of none."""
    if not isinstance(model, PretrainedModel):
        return None
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    return next((name for name, backend in BACKENDS.items() if backend.package in packages), None)


def has_own_call(model: Any) -> bool:
    """Return whether a class of a user's own says what a model computes."""
    packages = {backend.package for backend in BACKENDS.values()}
    derived = takewhile(lambda base: base.__module__.partition(".")[0] not in packages, type(model).__mro__)
    return any(name in vars(base) for base in derived for name in CALLS)


def unwrapped(model: Any) -> PretrainedModel:
    """Return the model of this package in what torch.compile, data parallelism or peft put around it.

    Raises:
        InputError: There is none, or peft has learned a prompt, which is not in the model's layers.
    """
    inside = model
    while framework_of(inside) is None:
        name = next((name for name in WRAPPERS if getattr(inside, name, None) is not None), None)
        if name is None:
            raise InputError(
                "model must be a model of this package, a folder, an embedded model or a Hub id, got "
                f"{type(model).__module__}.{type(model).__qualname__}."
            )
        if getattr(getattr(inside, "active_peft_config", None), "is_prompt_learning", False):
            raise InputError("A prompt that peft has learned is not in the model's layers; a pipeline cannot use it.")
        inside = getattr(inside, name)
        inside = inside() if name == "get_base_model" else inside
    return inside
