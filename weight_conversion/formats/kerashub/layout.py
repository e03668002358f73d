"""Groups, order and shapes of the variables in a preset."""

from __future__ import annotations

from dataclasses import replace

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter
from weight_conversion.formats.hdf5 import VARIABLES
from weight_conversion.weights import LazyTensor

MODULES = {  # canonical module -> group of its layer, and name of the layer in KerasHub
    "embeddings.word_embeddings": ("token_and_position_embedding/token_embedding", "token_embedding"),
    "embeddings.position_embeddings": ("token_and_position_embedding/position_embedding", "position_embedding"),
    "embeddings.LayerNorm": ("layer_normalization", "embeddings_layer_norm"),
    "transformer.layer.{}.attention.q_lin": ("{}/_self_attention_layer/query_dense", "query"),
    "transformer.layer.{}.attention.k_lin": ("{}/_self_attention_layer/key_dense", "key"),
    "transformer.layer.{}.attention.v_lin": ("{}/_self_attention_layer/value_dense", "value"),
    "transformer.layer.{}.attention.out_lin": ("{}/_self_attention_layer/output_dense", "attention_output"),
    "transformer.layer.{}.sa_layer_norm": ("{}/_self_attention_layer_norm", "self_attention_layer_norm"),
    "transformer.layer.{}.ffn.lin1": ("{}/_feedforward_intermediate_dense", "feedforward_intermediate_dense"),
    "transformer.layer.{}.ffn.lin2": ("{}/_feedforward_output_dense", "feedforward_output_dense"),
    "transformer.layer.{}.output_layer_norm": ("{}/_feedforward_layer_norm", "feedforward_layer_norm"),
}
TASK_MODULES = {  # the same for the layers in the file of the task
    "pre_classifier": ("dense", "pooled_dense"),
    "classifier": ("dense_1", "logits"),
    "vocab_transform": ("masked_lm_head/_intermediate_dense", "intermediate_dense"),
    "vocab_layer_norm": ("masked_lm_head/_intermediate_layer_norm", "intermediate_layer_norm"),
    "vocab_projector": ("masked_lm_head", "mlm_head"),
}
PROJECTOR_BIAS = "vocab_projector.bias"  # the first variable of its layer: the kernel is tied to the word embeddings


def layer_of(parameter: Parameter) -> tuple[str, str]:
    """Return the group of the layer of a parameter, below 'layers', and the name of the layer."""
    module = module_of(parameter)
    if module in TASK_MODULES:
        return TASK_MODULES[module]
    layer = parameter.layer
    if layer is None:
        return MODULES[module]
    group, name = MODULES[module.replace(f".{layer}.", ".{}.")]
    return group.format(f"transformer_encoder_{layer}" if layer else "transformer_encoder"), name


def module_of(parameter: Parameter) -> str:
    """Return the canonical module of a parameter, without the prefix of the base model."""
    return parameter.name.removeprefix(f"{BASE_MODEL}.").rpartition(".")[0]


def place(parameter: Parameter) -> str:
    """Return the path of a parameter in its file. The bias of a layer comes after its kernel or scale."""
    index = int(parameter.kind in (Kind.BIAS, Kind.NORM_BIAS) and parameter.name != PROJECTOR_BIAS)
    return f"layers/{layer_of(parameter)[0]}/{VARIABLES}/{index}"


def dense_shape(parameter: Parameter) -> tuple[int, ...]:
    """Return the shape of a parameter in Keras, where dense kernels are [in, out]."""
    return parameter.shape[::-1] if parameter.kind is Kind.KERNEL else parameter.shape


def stored_shape(parameter: Parameter, heads: int) -> tuple[int, ...]:
    """Return the shape of a parameter in a preset, where the projections of the attention are split into heads."""
    shape = dense_shape(parameter)
    if parameter.axes[0] == "heads":
        return (*shape[:-1], heads, shape[-1] // heads)
    if parameter.axes[-1] == "heads":
        return (heads, shape[0] // heads, shape[1])
    return shape


def stored_parameters(config: DistilBertConfig, head: Head) -> list[Parameter]:
    """Return the parameters that have arrays of their own."""
    return [parameter for parameter in parameter_table(config, head) if parameter.tied_to is None]


def is_of_backbone(parameter: Parameter) -> bool:
    """Return whether a parameter is stored in the file of the backbone, not in that of the task."""
    return module_of(parameter) not in TASK_MODULES


def reshaped(tensor: LazyTensor, shape: tuple[int, ...]) -> LazyTensor:
    """Return a tensor that is reshaped when it is read."""
    return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))
