"""The reference: DistilBERT in plain NumPy and float64.

Forward only. Every step is the formula, without optimization; nothing is shared with the backends.
"""

from __future__ import annotations

import math

import numpy as np

from distilbert_core import DistilBertConfig, Head

Arrays = dict[str, np.ndarray]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
    "gelu_10": lambda x: np.clip(x * 0.5 * (1 + _erf(x / math.sqrt(2))), -10, 10),
    "gelu_accurate": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_fast": lambda x: 0.5 * x * (1 + np.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    "gelu_python": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_pytorch_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "laplace": lambda x: 0.5 * (1 + _erf((x - 0.707107) / (0.282095 * math.sqrt(2)))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "sigmoid": lambda x: _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
}


def softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def layer_norm(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def dense(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def attention_weights(query: np.ndarray, key: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[B, N, T, H], [B, N, T, H], [B, T] -> [B, N, T, T]; a row of the mask without any key gives equal weights."""
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    hidden = np.where(mask[:, None, None, :] != 0, scores, -np.inf)
    empty = (mask == 0).all(-1)
    hidden[empty] = 0
    return softmax(hidden)


def base_model(
    config: DistilBertConfig,
    arrays: Arrays,
    input_ids: np.ndarray | None = None,
    attention_mask: np.ndarray | None = None,
    head_mask: np.ndarray | None = None,
    inputs_embeds: np.ndarray | None = None,
    position_ids: np.ndarray | None = None,
) -> Arrays:
    """The outputs of the base model; 'hidden_states' and 'attentions' are tuples."""
    arrays = {name.removeprefix("distilbert."): array.astype(np.float64) for name, array in arrays.items()}
    words = arrays["embeddings.word_embeddings.weight"][input_ids] if inputs_embeds is None else inputs_embeds
    batch, tokens, _ = words.shape
    mask = np.ones((batch, tokens)) if attention_mask is None else attention_mask
    positions = np.arange(tokens) if position_ids is None else position_ids
    x = words + arrays["embeddings.position_embeddings.weight"][positions]
    x = layer_norm(x, arrays, "embeddings.LayerNorm")
    hidden_states, attentions = [x], []
    for layer in range(config.n_layers):
        name = f"transformer.layer.{layer}"
        heads = config.kept_heads(layer)
        query, key, value = (
            dense(x, arrays, f"{name}.attention.{part}_lin")
            .reshape(batch, tokens, len(heads), config.head_size)
            .swapaxes(1, 2)
            for part in "qkv"
        )
        weights = attention_weights(query, key, mask)
        if head_mask is not None:
            factors = np.broadcast_to(head_mask, (config.n_layers, config.n_heads))[layer, heads]
            weights = weights * factors[:, None, None]
        context = (weights @ value).swapaxes(1, 2).reshape(batch, tokens, -1)
        x = layer_norm(dense(context, arrays, f"{name}.attention.out_lin") + x, arrays, f"{name}.sa_layer_norm")
        inner = ACTIVATIONS[str(config.activation)](dense(x, arrays, f"{name}.ffn.lin1"))
        x = layer_norm(dense(inner, arrays, f"{name}.ffn.lin2") + x, arrays, f"{name}.output_layer_norm")
        hidden_states.append(x)
        attentions.append(weights)
    return {"last_hidden_state": x, "hidden_states": tuple(hidden_states), "attentions": tuple(attentions)}


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    counted = np.flatnonzero(labels != -100)
    probabilities = softmax(logits)[counted, labels[counted]]
    return float(-np.log(probabilities).mean()) if len(counted) else 0.0


def sequence_loss(config: DistilBertConfig, logits: np.ndarray, labels: np.ndarray) -> float:
    if config.problem_type == "regression" or config.num_labels == 1:
        return float(((logits.ravel() - labels.ravel()) ** 2).mean())
    if config.problem_type == "multi_label_classification" or labels.dtype.kind == "f":
        p = 1 / (1 + np.exp(-logits))
        return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())
    return cross_entropy(logits, labels)


def forward(config: DistilBertConfig, head: Head, arrays: Arrays, **inputs: np.ndarray) -> Arrays:
    """Every output of a model, with the loss if labels are given."""
    labels = {name: inputs.pop(name) for name in ("labels", "start_positions", "end_positions") if name in inputs}
    leading: tuple[int, ...] = ()
    if head is Head.MULTIPLE_CHOICE:
        leading = next(inputs[name] for name in ("input_ids", "inputs_embeds") if name in inputs).shape[:2]
        inputs = {n: x if n == "head_mask" else x.reshape(-1, *x.shape[2:]) for n, x in inputs.items()}
    outputs = base_model(config, arrays, **inputs)
    if head is Head.BASE:
        return outputs
    x = outputs.pop("last_hidden_state")
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    match head:
        case Head.MASKED_LM:
            x = ACTIVATIONS[str(config.activation)](dense(x, arrays, "vocab_transform"))
            tied = arrays["distilbert.embeddings.word_embeddings.weight"]
            projector = {"vocab_projector.weight": tied, **arrays}
            logits = dense(layer_norm(x, arrays, "vocab_layer_norm"), projector, "vocab_projector")
        case Head.SEQUENCE_CLASSIFICATION | Head.MULTIPLE_CHOICE:
            logits = dense(np.maximum(dense(x[:, 0], arrays, "pre_classifier"), 0), arrays, "classifier")
            logits = logits.reshape(leading) if leading else logits
        case Head.TOKEN_CLASSIFICATION:
            logits = dense(x, arrays, "classifier")
        case Head.QUESTION_ANSWERING:
            start, end = np.moveaxis(dense(x, arrays, "qa_outputs"), -1, 0)
            outputs |= {"start_logits": start, "end_logits": end}
            if labels:
                positions = (np.maximum(labels[f"{name}_positions"], 0) for name in ("start", "end"))
                inside = (np.where(p >= start.shape[1], -100, p) for p in positions)
                losses = [cross_entropy(scores, p) for scores, p in zip((start, end), inside, strict=True)]
                outputs["loss"] = np.float64(sum(losses) / 2)
            return outputs
    if labels:
        sequence = head is Head.SEQUENCE_CLASSIFICATION
        loss = sequence_loss(config, logits, **labels) if sequence else cross_entropy(logits, **labels)
        outputs["loss"] = np.float64(loss)
    return {**outputs, "logits": logits}
