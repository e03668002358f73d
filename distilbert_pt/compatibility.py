"""Members of PyTorch models that scripts and tools for Transformers use.

`TransformersMembers` is a base of all models. Members without a meaning here are in the table `REFUSED`: calling one is
an error that says what to do instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from distilbert_core.compatibility import refuse_methods, renames
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.pretrained import PretrainedModel
from distilbert_pt.tensors import stored_bytes

_PEFT = "Use the library peft: get_peft_model(model, LoraConfig(...)), PeftModel.from_pretrained(model, folder)."

# Methods of Transformers 4.53's models that are missing here, and what to do instead. Methods that tools look for by
# `hasattr`, such as `generate`, are not in the table.
REFUSED: dict[str, str] = {
    "add_adapter": _PEFT,
    "load_adapter": _PEFT,
    "set_adapter": _PEFT,
    "enable_adapters": _PEFT,
    "disable_adapters": _PEFT,
    "active_adapters": _PEFT,
    "get_adapter_state_dict": _PEFT,
    "to_bettertransformer": "PyTorch's fused attention is in use already: attn_implementation='sdpa' is the default.",
    "reverse_bettertransformer": "PyTorch's fused attention is chosen by model.attn_implementation.",
    "register_for_auto_class": "AutoModel of Transformers loads what save_pretrained writes with its own classes.",
    "create_extended_attention_mask_for_decoder": "DistilBERT is an encoder, and has no causal mask.",
    "add_memory_hooks": "torch.profiler measures memory: torch.profiler.profile(profile_memory=True).",
    "reset_memory_hooks_state": "torch.profiler measures memory: torch.profiler.profile(profile_memory=True).",
}


def _seen_class(model: object) -> type:
    """Return the class of a model: to Transformers' Trainer one that is a `PreTrainedModel` of Transformers too.

    Trainer saves the configuration beside the weights, and saves tied weights at all, only if `isinstance` says that
    a model is a `PreTrainedModel`. All other code sees the class itself.
    """
    cls: Any = type(model)
    caller = sys._getframe(1).f_globals.get("__name__")
    return _as_pretrained_model(cls) if caller == "transformers.trainer" else cls


@cache
def _as_pretrained_model(cls: type) -> type:
    from transformers import PreTrainedModel

    return type(cls.__name__, (cls, PreTrainedModel), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _set_class(model: object, cls: type) -> None:
    object.__dict__["__class__"].__set__(model, cls)  # torch's fully_shard sets it


class TransformersMembers(PretrainedModel, nn.Module):
    """Accessors that scripts and tools for Transformers use."""

    __class__ = property(_seen_class, _set_class)

    config_class = DistilBertConfig
    main_input_name = "input_ids"
    framework = "pt"
    supports_gradient_checkpointing = True
    is_parallelizable = False
    model_parallel = False
    is_loaded_in_4bit = False
    is_loaded_in_8bit = False
    is_quantized = False
    model_tags: list[str] | None = None
    generation_config = None
    tp_size = None
    load_tf_weights = None
    _no_split_modules: ClassVar[list[str]] = ["TransformerBlock"]
    _supports_sdpa = True
    _keep_in_fp32_modules = None
    _skip_keys_device_placement = None
    _keys_to_ignore_on_load_missing = None
    _keys_to_ignore_on_load_unexpected = None

    def _set_members(self) -> None:
        """Set the attributes that peft reads from the `__dict__` of an instance."""
        self.name_or_path = self.config.name_or_path
        self.num_labels = self.config.num_labels
        self.warnings_issued: dict[str, bool] = {}

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the parameters."""
        return next(self.parameters()).dtype

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs that every model takes: ids [3, 5]."""
        return {"input_ids": torch.tensor([[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]])}

    @property
    def _tied_weights_keys(self) -> list[str] | None:
        return [parameter.name for parameter in self.parameter_table if parameter.tied_to is not None] or None

    _keys_to_ignore_on_save = _tied_weights_keys  # for Trainer: they are missing in a checkpoint, and tied again

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the projector to the vocabulary, or None."""
        return None

    @renames(new_embeddings="embeddings")
    def set_output_embeddings(self, embeddings: nn.Module) -> None:
        """Use another projector to the vocabulary.

        Raises:
            InputError: The model has no projector.
        """
        raise InputError(f"{type(self).__name__} has no output embeddings; a masked-LM model has.")

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters, tied ones counted once.

        Args:
            only_trainable: Count trained parameters only.
            exclude_embeddings: Do not count word and position embeddings, nor a projector that is tied to them.
        """
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)} if exclude_embeddings else set()
        return sum(
            p.numel() for p in self.parameters() if (p.requires_grad or not only_trainable) and id(p) not in tables
        )

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Return the number of tokens, padding included, of the arguments of a call; 0 without `input_ids`."""
        ids = input_dict.get(self.main_input_name)
        return 0 if ids is None else ids.numel()

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Estimate the operations of a training step: 6 for each token and parameter (Kaplan et al. 2020, table 1)."""
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of all parameters, and of the buffers unless `return_buffers` is False."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(map(stored_bytes, tensors))

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Return factors of heads, [N] or [L, N], as `Transformer` takes them: [L, 1, N, 1, 1]; L times None for None.

        Raises:
            InputError: `head_mask` has another number of axes.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.ndim not in (1, 2):
            raise InputError(f"head_mask must have shape [heads] or [layers, heads], got {tuple(head_mask.shape)}.")
        factors = head_mask.to(self.dtype).expand(num_hidden_layers, -1)[:, None, :, None, None]
        return factors[..., None] if is_attention_chunked else factors

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Return the numbers to add to attention scores for a mask of 0 and 1, [B, T] or [B, Q, T]."""
        return self.get_extended_attention_mask(encoder_attention_mask, encoder_attention_mask.shape)

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: Sequence[int],
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return the numbers to add to attention scores for a mask of 0 and 1: the lowest number for 0, and 0 for 1.

        Args:
            attention_mask: [B, T] or [B, Q, T].
            input_shape: Ignored.
            device: Ignored; the result is on the device of the mask.
            dtype: Of the result; the model's if left out.

        Returns:
            [B, 1, 1 or Q, T].

        Raises:
            InputError: The mask has another number of axes.
        """
        if attention_mask.ndim not in (2, 3):
            raise InputError(f"attention_mask must have 2 or 3 axes, got shape {tuple(attention_mask.shape)}.")
        dtype = dtype or self.dtype
        mask = attention_mask[:, None] if attention_mask.ndim == 3 else attention_mask[:, None, None]
        return (1 - mask.to(dtype)) * torch.finfo(dtype).min

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        self.prune_heads(heads_to_prune)

    def enable_input_require_grads(self) -> None:
        """Let gradients reach the output of the word embeddings, even if all before it is frozen."""
        self.disable_input_require_grads()
        self._input_hook = self.get_input_embeddings().register_forward_hook(_require_gradient)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        hook = self.__dict__.pop("_input_hook", None)
        if hook is not None:
            hook.remove()

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: an encoder does not generate."""
        return False

    @classmethod
    def _from_config(cls, config: DistilBertConfig, **kwargs: Any) -> Self:
        dtype = kwargs.pop("torch_dtype", kwargs.pop("dtype", None))
        model = cls(config, **kwargs)
        return model if dtype is None else model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)

    def add_model_tags(self, tags: Sequence[str] | str) -> None:
        """Note tags for a model card in `model_tags`, each once."""
        tags = [tags] if isinstance(tags, str) else tags
        self.model_tags = list(dict.fromkeys([*(self.model_tags or []), *tags]))

    # Initialisation of a class of a user's own.

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise one layer in place; a class of your own may do it in another way."""
        match module:
            case nn.Linear() | nn.Embedding():
                module.weight.normal_(0.0, self.config.initializer_range)
                if isinstance(module, nn.Embedding):
                    if module.padding_idx is not None:
                        module.weight[module.padding_idx].zero_()
                elif module.bias is not None:
                    module.bias.zero_()
            case nn.LayerNorm() if module.elementwise_affine:
                module.weight.fill_(1.0)
                if module.bias is not None:
                    module.bias.zero_()

    @torch.no_grad()
    def post_init(self) -> None:
        """Initialise the layers of your own class that are not of this package, and tie weights.

        Call it at the end of a constructor. Layers of this package are initialised by their own models. The base
        model shares this model's configuration afterwards.
        """
        if self.base_model is not self:
            self._adopt(self.base_model)
        for module in self.modules():
            if not getattr(module, "_initialised", False):  # by `_initialise`
                self._init_weights(module)
        self.tie_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw all parameters again."""
        for model in dict.fromkeys((self.base_model, self)):
            model._initialise()
        self.post_init()


refuse_methods(TransformersMembers, REFUSED)


def _require_gradient(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
    output.requires_grad_(True)
