"""The base of the PyTorch models: the hooks of `PretrainedModel`, and the usual accessors."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilbert_core.compatibility import renames
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig, validated
from distilbert_core.model.forking import WORKS_ALONE
from distilbert_core.model.inputs import choose
from distilbert_core.model.outputs import ModelOutput
from distilbert_core.model.parameters import Parameter
from distilbert_pt.compatibility import TransformersMembers
from distilbert_pt.layers import blank_parameters, initialise_, set_parameter
from distilbert_pt.tensors import is_quantized, to_array, to_tensor

Output = TypeVar("Output", bound=ModelOutput)

WORKS_ALONE["pt"] = lambda: torch.get_num_threads() == 1


class DistilBertPreTrainedModel(TransformersMembers):
    """Base of the six models, and of models of your own; state_dict names are the canonical ones.

    A model of your own makes its base model under the name `distilbert`, its other layers under any name, and calls
    `post_init` at the end of its constructor. `from_pretrained` reads the base model from any checkpoint, and the other
    layers from a checkpoint that `save_pretrained` of this class wrote. A warning names layers that are new.

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertModel, DistilBertPreTrainedModel
        >>> class Scorer(DistilBertPreTrainedModel):
        ...     def __init__(self, config):
        ...         super().__init__(config)
        ...         self.distilbert = DistilBertModel(config)
        ...         self.score = torch.nn.Linear(config.dim, 1)
        ...         self.post_init()
        ...
        ...     def forward(self, input_ids, attention_mask=None):
        ...         return self.score(self.distilbert(input_ids, attention_mask).last_hidden_state[:, 0])
        >>> model = Scorer(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
        >>> model(torch.tensor([[101, 7592, 102]])).shape
        torch.Size([1, 1])
    """

    _reader = "pt"
    _options = frozenset({"attn_implementation"})
    _framework = "torch"
    _adapter_advice = (
        "Where peft wrapped it, call merge_and_unload() first, or save the adapter by its own model. Where it was "
        "parametrized or pruned by torch.nn.utils, call remove_parametrizations or prune.remove."
    )

    def __init_subclass__(cls, **kwargs: Any):
        """Let `from_pretrained` of a user's class take the arguments of its constructor."""
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and cls._is_derived():
            fields = vars(DistilBertConfig())
            names = inspect.signature(cls).parameters.keys() - fields - {"config", "args", "kwargs"}
            cls._options = cls._options | names

    def __init__(self, config: DistilBertConfig):
        nn.Module.__init__(self)
        validated(config)
        self.config = copy.deepcopy(config)
        self._set_members()

    @renames(value="embeddings", new_embeddings="embeddings")
    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Use other word embeddings, which must have the size of the vocabulary.

        Raises:
            InputError: They have another size; a masked-LM projector and the configuration would keep theirs.
        """
        shape = (self.config.vocab_size, self.config.dim)
        if tuple(embeddings.weight.shape) != shape:
            raise InputError(
                f"embeddings must have a weight of shape {shape}, got {tuple(embeddings.weight.shape)}; "
                "resize_token_embeddings changes the vocabulary."
            )
        self.base_model.embeddings.word_embeddings = embeddings
        self.tie_weights()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward pass computes blocks again to save memory; also `is_activation_checkpointing`."""
        return self.base_model.transformer.checkpointing is not None

    is_activation_checkpointing = is_gradient_checkpointing

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep only the input of each block for the backward pass, which computes the rest again.

        Losses and gradients stay the same, also with dropout. It has an effect in training mode only.

        Args:
            gradient_checkpointing_kwargs: Keywords for `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False
                unless given.
            every_n_layers: Do so for every n-th block.
            offload: Must be False.

        Raises:
            InputError: `every_n_layers` is not positive, or `offload` is True.
        """
        if every_n_layers < 1:
            raise InputError(f"every_n_layers must be at least 1, got {every_n_layers}.")
        if offload:
            raise InputError(
                "offload must be False: call the model inside torch.autograd.graph.save_on_cpu() to keep activations "
                "in the memory of the processor."
            )
        transformer = self.base_model.transformer
        transformer.checkpointing = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        transformer.checkpoint_interval = every_n_layers

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Call `gradient_checkpointing_enable`; this is its name in Transformers 5.

        Args:
            activation_checkpointing_kwargs: The first argument of that method.
            **kwargs: The others.
        """
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, **kwargs)

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`; also `activation_checkpointing_disable`."""
        self.base_model.transformer.checkpointing = None

    activation_checkpointing_disable = gradient_checkpointing_disable

    def _as_requested(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """Return an output as an object or a tuple: by the argument of a call, else by the configuration."""
        config = self.config
        default = config.return_dict and not config.torchscript  # a trace returns tensors and tuples
        return output if choose(return_dict, default) else output.to_tuple()

    def tie_weights(self) -> None:
        """Make tied parameters one again."""
        for parameter in self.parameter_table:
            if parameter.tied_to is not None:
                set_parameter(*self._find(parameter), self.get_parameter(parameter.tied_to))
        own = None if self.head is not None else self.get_output_embeddings()  # of a user's class
        if own is not None and self.config.tie_word_embeddings:
            set_parameter(own, "weight", self.get_input_embeddings().weight)
            if own.bias is not None and len(own.bias) != len(own.weight):  # the vocabulary was resized
                longer = F.pad(own.bias.detach(), (0, len(own.weight) - len(own.bias)))
                own.bias = nn.Parameter(longer, requires_grad=own.bias.requires_grad)

    def _find(self, parameter: Parameter) -> tuple[nn.Module, str]:
        """Return the layer that has a parameter, and the parameter's name in it."""
        path, _, leaf = parameter.name.rpartition(".")
        return self.get_submodule(path), leaf

    def _finish_init(self) -> None:
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Initialise this model's own parameters; a base model inside a model with a head keeps its values."""
        own = [p for p in self.parameter_table if self.base_model is self or p.of_head]
        for parameter in own:
            if parameter.computed:
                self.get_parameter(parameter.name).requires_grad_(False)
        if self.device.type != "meta":  # parameters on it have no values
            for parameter in own:
                if parameter.tied_to is None:
                    initialise_(self.get_parameter(parameter.name), parameter, self.config)
                vars(self._find(parameter)[0])["_initialised"] = True  # for `post_init`
        self.tie_weights()

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        torch_dtype = getattr(torch, dtype or "float32")
        config.attn_implementation = options.pop("attn_implementation", None) or config.attn_implementation
        if cls._is_derived():
            return cls(config, **options).to(device=device, dtype=torch_dtype).eval()
        with blank_parameters(torch_dtype):
            return cls(config, **options).eval()

    @classmethod
    def _named_device(cls, device: Any) -> Any:
        if device == "auto":
            return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return device

    def _as_array(self, value: Any) -> np.ndarray:
        if not isinstance(value, Tensor):
            return np.asarray(value)
        _check_not_quantized({"A tensor of state_dict": value})
        return to_array(value)

    def _stored_parameters(self) -> list[Parameter]:
        _check_not_quantized(self._variables())
        return super()._stored_parameters()

    def _variables(self) -> dict[str, Tensor]:
        state = self.state_dict(keep_vars=True)  # with buffers
        strange = sorted(name for name, value in state.items() if not isinstance(value, Tensor))
        if strange:
            raise InputError(f"state_dict must hold tensors only to be saved, got {', '.join(strange)}.")
        first = {id(tensor): name for name, tensor in reversed(state.items())}  # a shared tensor has several names
        return {name: tensor for name, tensor in state.items() if first[id(tensor)] == name}

    def _place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        return parameter.name, parameter.shape

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        layer, leaf = self._find(parameter)
        tensor = getattr(layer, leaf)
        if hasattr(tensor, "full_tensor"):  # a DTensor, whose import takes long
            raise InputError(
                f"{parameter.name} must be whole, got a part of it: the model is sharded over processes. Gather the "
                "weights with torch.distributed.checkpoint.state_dict.get_model_state_dict, with "
                "StateDictOptions(full_state_dict=True, cpu_offload=True), and load them into a whole model."
            )
        _check_not_quantized({parameter.name: tensor})
        return to_array(tensor)

    def _set_array(self, parameter: Parameter, array: np.ndarray | Tensor, device: Any = None) -> None:
        layer, leaf = self._find(parameter)
        old = getattr(layer, leaf)
        tensor = array if isinstance(array, Tensor) else to_tensor(array)
        if not old.is_meta and old.shape == tensor.shape:
            with torch.no_grad():  # others may hold this very parameter: a tied layer, an optimizer
                old.copy_(tensor)
            return
        if device is None:
            device = torch.get_default_device() if old.is_meta else old.device
        tensor = tensor.to(device=device, dtype=old.dtype)  # without a copy, if nothing changes
        new = nn.Parameter(tensor, requires_grad=old.requires_grad)
        for module in self.modules():  # others may hold this very parameter: a tied layer
            for name, held in list(module._parameters.items()):
                if held is old:
                    set_parameter(module, name, new)

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return torch.empty(shape, dtype=torch.float32, device="cpu").normal_().numpy()


def _check_not_quantized(tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError if a tensor is quantized."""
    for name, tensor in tensors.items():
        if is_quantized(tensor):
            raise InputError(
                f"{name} is quantized (a {type(tensor).__name__}), and cannot be resized or pruned, nor written to a "
                "checkpoint, which holds floating numbers. Do that before quantizing. Save the quantized weights with "
                "torch.save(model.state_dict(), file)."
            )
