"""Models for inference, the same for all backends: NumPy arrays in, NumPy arrays out.

Shapes: B texts, C choices, T tokens of a padded batch, M tokens of all texts, K selected tokens, L labels, R packed
rows, S outputs of a packed row.
"""

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
from distilbert_core.model.contract import Device
from distilbert_core.model.forking import start
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.outputs import PLAIN_OUTPUTS
from distilbert_core.model.packing import Packing, Ragged
from distilbert_core.model.pretrained import PretrainedModel

# Tokens that are computed at a time on a CPU, approximately: outputs of a layer then stay in the cache for the next.
CHUNK_TOKENS = 1024

# On an accelerator, a pass uses this fraction of its memory, and has at most MOST_TOKENS tokens.
MEMORY_FRACTION, MOST_TOKENS = 1 / 8, 2**17

# The attribute or method by which the wrappers of other libraries return the model.
WRAPPERS = ("_orig_mod", "module", "get_base_model")  # torch.compile; data parallel; peft

# Methods that compute a model's outputs, in the three frameworks; a user's class may define its own.
CALLS = ("forward", "call", "__call__")


class Inference:
    """A model for inference, as `load_inference` returns it.

    Args:
        model: A model of the backend. It is not copied: later changes of the model, such as training, take effect here.

    Attributes:
        backend: Name of the backend or runtime: 'pt', 'tf', 'flax', 'onnx', 'openvino' or 'litert'.
        head: The head of the model.
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
    def device(self) -> Device:
        """Device of the model, as its framework names it; None if only its runtime knows."""
        return None

    @property
    def dtype(self) -> Any:
        """Dtype of the model, as its framework names it; None if only its runtime knows."""
        return getattr(self.model, "dtype", None)

    def move(self, device: Device) -> None:
        """Move the model to a device.

        Args:
            device: A device as the framework names it, or a number as for `find_device`.

        Raises:
            InputError: The device does not exist, or the framework cannot move models.
        """
        if not self._is_on(self.find_device(device)):
            raise InputError(
                f"device must be {self.device}, as the model cannot be moved, got {device!r}; load it with device=, or "
                "give its folder."
            )

    def _is_on(self, device: Device) -> bool:
        """Return whether the model is on a device that `find_device` returned."""
        return bool(device == self.device)

    @classmethod
    def accelerators(cls) -> list[Device]:
        """Return the devices of this framework other than the CPU."""
        return []

    @classmethod
    def find_device(cls, device: Device) -> Device:
        """Return a device as the framework names it.

        Args:
            device: Such a name, or a number as in Transformers: -1 the CPU, 0 the first accelerator.

        Raises:
            InputError: There are accelerators, but fewer than this number.

        Warns:
            InputWarning: There are no accelerators; the CPU is used.
        """
        if not isinstance(device, int) or isinstance(device, bool):
            return device
        accelerators = cls.accelerators()
        if device >= len(accelerators) > 0:
            raise InputError(
                f"device must be below {len(accelerators)}, the number of accelerators here, got {device}."
            )
        if device >= 0 and not accelerators:
            warnings.warn(f"device={device}: no accelerator was found; the CPU is used.", InputWarning, stacklevel=5)
        return accelerators[device] if 0 <= device < len(accelerators) else "cpu"

    def __call__(self, *, tokens: np.ndarray | None = None, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs by name, with zeros at padding.

        Args:
            tokens: [B, T] boolean, for heads that predict something for each token: True for the tokens whose outputs
                are returned, as [K, ...] in the order of the batch. Padding does not count.
            **arrays: input_ids [B, T], or [B, C, T] for multiple choice, and attention_mask of the same shape, nonzero
                for tokens; padding may be anywhere. The first token of a text is the first that is not padding. With
                other arguments of the model, it computes the padded batch.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        if tokens is not None:
            tokens = self._without_padding(tokens, arrays)
        if not self._are_texts(arrays):
            outputs = self.run(**arrays)
            return outputs if tokens is None else {name: array[tokens] for name, array in outputs.items()}
        ids = np.asarray(arrays["input_ids"])
        mask = np.asarray(arrays.get("attention_mask", np.ones_like(ids))).reshape(-1, ids.shape[-1]) != 0
        texts = Ragged.from_padded(ids, mask)
        if tokens is not None:
            return self.run_ragged(texts, np.flatnonzero(tokens[mask]))
        outputs = self.run_ragged(texts)
        if self.head.has_choices:
            return {name: array.reshape(ids.shape[:2]) for name, array in outputs.items()}
        if self.head.reads_tokens:
            return {name: _pad(array, mask) for name, array in outputs.items()}
        return outputs

    def _without_padding(self, tokens: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `tokens` of a call with False at padding, or raise InputError."""
        ids = arrays.get("input_ids")
        if not self.head.reads_tokens or ids is None or np.shape(tokens) != ids.shape:
            raise InputError(
                "tokens must have the shape of input_ids, for a head that predicts something for each token; got "
                f"{np.shape(tokens)} for {type(self.model).__name__}."
            )
        return np.asarray(tokens, bool) & (np.asarray(arrays.get("attention_mask", 1)) != 0)

    def _are_texts(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Return whether `run_ragged` can compute a call with these arguments; else `run` computes them."""
        return False

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""
        raise NotImplementedError

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the model's outputs for texts without padding, by name.

        Args:
            texts: The texts; for multiple choice, the choices of all texts, each by itself.
            selected: [K] indices of tokens, ascending, for heads that predict something for each token; None: all.

        Returns:
            [K, ...] or [M, ...] for heads that predict something for each token, [B, L] for the others, and [B, 1] for
            multiple choice.

        Raises:
            InputError: A text has no token and the head reads its first one, or an id is out of range.
        """
        arrays = texts.padded(self.config.pad_token_id or 0)
        if self.head.has_choices:
            arrays = {name: array[:, None] for name, array in arrays.items()}
        outputs = self.run(**arrays)
        if not self.head.reads_tokens:
            return outputs
        outputs = {name: texts.unpad(array) for name, array in outputs.items()}
        return outputs if selected is None else {name: array[selected] for name, array in outputs.items()}

    def _check_length(self, texts: Ragged) -> None:
        """Raise InputError if a text is longer than the model's table of positions."""
        longest, limit = int(texts.position_ids.max(initial=0)) + 1, self.config.max_position_embeddings
        if longest > limit:
            raise InputError(f"A text has {longest} tokens, more than max_position_embeddings={limit}.")


def _pad(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[M, ...] -> [B, T, ...], with zeros where the mask [B, T] is False."""
    padded = np.zeros((*mask.shape, *values.shape[1:]), values.dtype)
    padded[mask] = values
    return padded


class PackedInference(Inference):
    """Inference on packed rows, which have no padding: the base class of the three backends.

    A model of a user's own class that defines its own call gets a padded batch instead.
    """

    def __init__(self, model: Any):
        super().__init__(model)
        start(self.backend)
        self._is_ours = not has_own_call(model)

    def __reduce__(self) -> Any:
        return type(self), (self.model,)

    @classmethod
    def load(cls, head: Head, source: str | Path, **kwargs: Any) -> Self:
        """Load a checkpoint for inference.

        Args:
            head: The head of the model.
            source: Folder, embedded model or Hub id.
            **kwargs: Keywords of `from_pretrained`.

        Raises:
            CheckpointError: The checkpoint does not exist, is damaged, or lacks the head.
        """
        start(cls.backend)
        model_class = backend_class(cls.backend, head)
        if "dtype" in kwargs:  # weights are kept in the dtype of the computation; Flax distinguishes the two
            kwargs["torch_dtype"] = kwargs["dtype"]
        if "device" in kwargs:
            kwargs["device"] = cls.find_device(kwargs["device"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)  # missing parameters are an error below
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

    def _are_texts(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Return whether the arguments are well-formed ids and perhaps a mask; the model rejects malformed ones."""
        if not self._is_ours or not {"input_ids"} <= arrays.keys() <= {"input_ids", "attention_mask"}:
            return False
        ids = arrays["input_ids"]
        mask = arrays.get("attention_mask", np.ones_like(ids))
        well_formed = ids.ndim == (3 if self.head.has_choices else 2) and ids.shape == mask.shape
        # A batch of padding cannot be packed; heads that read the first token of each text raise for it.
        some = mask.any() or not self.head.reads_tokens
        return bool(well_formed and ids.size and some and ids.shape[-1] <= self.config.max_position_embeddings)

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the model's outputs for texts without padding; see `Inference.run_ragged`."""
        start(self.backend)
        if not self._is_ours:
            return super().run_ragged(texts, selected)
        self._check_length(texts)
        if not self.head.reads_tokens:
            selected = texts.first_tokens
        packing = self.pack(texts.lengths)
        if selected is None:
            return self.head.named(packing.unpack(self.run_packed(packing.rows(texts))))
        output_tokens, indices = packing.select(selected)
        values = self.run_packed({**packing.rows(texts), "output_tokens": output_tokens})  # [R, S, ...]
        return self.head.named(values.reshape(-1, values.shape[-1])[indices])

    # -- the part of a backend ------------------------------------------------------------------------------------

    def pack(self, lengths: np.ndarray) -> Packing:
        """Return the packing of texts with these lengths [B] that is best for this backend."""
        return self.packing(lengths, self.config)

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return the packing of texts with these lengths [B] that is best for this backend and a configuration."""
        raise NotImplementedError

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows.

        Args:
            rows: input_ids, position_ids and segment_ids [R, C], and perhaps output_tokens [R, S].

        Returns:
            [R, S, ...], or [R, C, ...] without output_tokens.
        """
        raise NotImplementedError


def warn_of_unused(model: PretrainedModel, source: str | Path, unused: Sequence[str], stacklevel: int) -> None:
    """Warn of entries of a checkpoint that a model does not use, except those of other heads.

    Args:
        model: A model of any backend.
        source: Folder, embedded model or Hub id of the checkpoint.
        unused: Names of the entries.
        stacklevel: Stack level of the warning, counted from here.
    """
    of_heads = {parameter.name for head in Head for parameter in parameter_table(model.config, head)}
    unknown = [name for name in unused if name not in of_heads]
    if unknown:
        message = f"{source} has entries that {type(model).__name__} does not use: {', '.join(unknown)}."
        warnings.warn(message, CheckpointWarning, stacklevel=stacklevel)


def backend_of(model: Any) -> str | None:
    """Return the name of a model's backend, or None for other objects."""
    if not isinstance(model, PretrainedModel):
        return None
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    return next((name for name, backend in BACKENDS.items() if backend.package in packages), None)


def has_own_call(model: Any) -> bool:
    """Return whether the model's class is a user's own and defines its own call."""
    packages = {backend.package for backend in BACKENDS.values()}
    derived = takewhile(lambda base: base.__module__.partition(".")[0] not in packages, type(model).__mro__)
    return any(name in vars(base) for base in derived for name in CALLS)


def unwrapped(model: Any) -> PretrainedModel:
    """Return the model of this package inside the wrappers of torch.compile, data parallelism or peft.

    Raises:
        InputError: The object is not a model of this package, or peft has learned a prompt, which is not in the model's
            layers.
    """
    inner = model
    while backend_of(inner) is None:
        name = next((name for name in WRAPPERS if getattr(inner, name, None) is not None), None)
        if name is None:
            raise InputError(
                "model must be a model of this package, a folder, an embedded model or a Hub id, got "
                f"{type(model).__module__}.{type(model).__qualname__}."
            )
        if getattr(getattr(inner, "active_peft_config", None), "is_prompt_learning", False):
            raise InputError("A prompt that peft has learned is not in the model's layers; a pipeline cannot use it.")
        inner = getattr(inner, name)
        inner = inner() if name == "get_base_model" else inner
    return inner


def token_budget(memory: int, config: DistilBertConfig, itemsize: int) -> int:
    """Return the number of tokens of packed rows to compute at a time on an accelerator.

    A token needs its hidden states, queries, keys, values and context, and the feed-forward units twice.

    Args:
        memory: Memory of the device in bytes.
        config: The architecture.
        itemsize: Bytes of a number.

    Example:
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.model.inference import token_budget
        >>> [token_budget(gigabytes * 2**30, DistilBertConfig(), itemsize=2) for gigabytes in (2, 8, 80)]
        [10922, 43690, 131072]
    """
    of_a_token = (8 * config.dim + 2 * config.hidden_dim) * itemsize
    return min(max(int(memory * MEMORY_FRACTION) // of_a_token, CHUNK_TOKENS), MOST_TOKENS)
