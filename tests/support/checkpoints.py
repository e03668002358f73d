"""Small random checkpoints and inputs, made with NumPy only. Each size is a different number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from distilbert_core import DistilBertConfig, Head, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.model.parameters import sinusoidal_table

SIZES: dict[str, Any] = {
    "vocab_size": 47,
    "max_position_embeddings": 23,
    "n_layers": 2,
    "n_heads": 3,
    "dim": 12,
    "hidden_dim": 20,
    "num_labels": 7,
}
BATCH, CHOICES, TOKENS = 5, 4, 11


def small_config(**changes: Any) -> DistilBertConfig:
    return DistilBertConfig(**{**SIZES, **changes})


def random_arrays(config: DistilBertConfig, head: Head, seed: int = 0, dtype: Any = "float64") -> dict[str, np.ndarray]:
    """Values for every stored parameter, far from the values of a fresh model."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for parameter in parameter_table(config, head):
        if parameter.tied_to is None:
            array = rng.uniform(-0.5, 0.5, parameter.shape) + (1.0 if "orm.weight" in parameter.name else 0.0)
            arrays[parameter.name] = (sinusoidal_table(*parameter.shape) if parameter.computed else array).astype(dtype)
    return arrays


def save_random(
    folder: Path, config: DistilBertConfig, head: Head, seed: int = 0, dtype: Any = "float64", **kwargs: Any
) -> dict[str, np.ndarray]:
    """Write a random checkpoint and return its arrays."""
    arrays = random_arrays(config, head, seed, dtype)
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()}, **kwargs)
    return arrays


def ragged_mask(batch: int = BATCH, tokens: int = TOKENS) -> np.ndarray:
    """Rows: all real, padded right, padded left, with a hole, all zero; then again."""
    mask = np.ones((batch, tokens), np.int64)
    for row in range(batch):
        match row % 5:
            case 1:
                mask[row, tokens // 2 :] = 0
            case 2:
                mask[row, : tokens // 3] = 0
            case 3:
                mask[row, 2:4] = 0
            case 4:
                mask[row] = 0
    return mask


def random_inputs(config: DistilBertConfig, head: Head, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids, a ragged mask, and labels for a head, of which some are ignored."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (BATCH, TOKENS)
    if head is Head.MULTIPLE_CHOICE:
        shape = (BATCH, CHOICES, TOKENS)
    ids = rng.integers(0, config.vocab_size, shape)
    mask = ragged_mask(int(np.prod(shape[:-1]))).reshape(shape)
    return {"input_ids": ids, "attention_mask": mask, **random_labels(config, head, rng)}


def training_inputs(config: DistilBertConfig, head: Head, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs whose loss is the same packed and padded: rows begin with a token, and padding has no label.

    The padded loss of question answering counts padding, so there is none.
    """
    inputs = random_inputs(config, head, seed)
    mask = inputs["attention_mask"]
    mask[..., 0] = 1
    if head is Head.QUESTION_ANSWERING:
        mask[:] = 1
    if head in (Head.MASKED_LM, Head.TOKEN_CLASSIFICATION):
        inputs["labels"] = np.where(mask == 1, inputs["labels"], -100)
    return inputs


def random_labels(config: DistilBertConfig, head: Head, rng: np.random.Generator) -> dict[str, np.ndarray]:
    match head:
        case Head.BASE:
            return {}
        case Head.MASKED_LM | Head.TOKEN_CLASSIFICATION:
            classes = config.vocab_size if head is Head.MASKED_LM else config.num_labels
            labels = rng.integers(0, classes, (BATCH, TOKENS))
            return {"labels": np.where(rng.random(labels.shape) < 0.4, -100, labels)}
        case Head.MULTIPLE_CHOICE:
            return {"labels": rng.integers(0, CHOICES, BATCH)}
        case Head.QUESTION_ANSWERING:
            start, end = rng.integers(0, TOKENS, (2, BATCH))
            start[0], end[1] = -3, TOKENS + 5  # clamped to 0; not counted
            return {"start_positions": start, "end_positions": end}
    if config.problem_type == "multi_label_classification":
        return {"labels": rng.integers(0, 2, (BATCH, config.num_labels)).astype(np.float64)}
    if config.problem_type == "regression" or config.num_labels == 1:
        return {"labels": rng.normal(size=(BATCH,) if config.num_labels == 1 else (BATCH, config.num_labels))}
    labels = rng.integers(0, config.num_labels, BATCH)
    labels[1] = -100
    return {"labels": labels}


HEADS = tuple(Head)
HEADS_WITH_LOSS = HEADS[1:]

# (name, head, changes to the small config): every head, and every option of the architecture on some head.
CASES: list[tuple[str, Head, dict[str, Any]]] = [
    *((head.value, head, {}) for head in HEADS),
    *((f"{head.value}-sinusoidal", head, {"sinusoidal_pos_embds": True}) for head in HEADS),
    *((name, Head.MASKED_LM, {"activation": name}) for name in ("gelu_new", "relu", "silu")),
    *((f"{head.value}-one-layer", head, {"n_layers": 1}) for head in HEADS),
    *(
        (f"{head.value}-odd-sizes", head, {"n_heads": 1, "dim": 13, "hidden_dim": 7, "vocab_size": 31})
        for head in HEADS
    ),
    ("untied", Head.MASKED_LM, {"tie_word_embeddings": False}),
    ("no-padding-token", Head.MASKED_LM, {"pad_token_id": None}),
    ("other-padding-token", Head.MASKED_LM, {"pad_token_id": 5}),
    ("pruned", Head.TOKEN_CLASSIFICATION, {"pruned_heads": {0: [1], 1: [0, 2]}}),
    ("regression-1", Head.SEQUENCE_CLASSIFICATION, {"num_labels": 1}),
    ("regression-3", Head.SEQUENCE_CLASSIFICATION, {"num_labels": 3, "problem_type": "regression"}),
    ("multi-label", Head.SEQUENCE_CLASSIFICATION, {"problem_type": "multi_label_classification"}),
]
CASE_IDS = [name for name, _, _ in CASES]


def write_adapter(folder: Path, base: Path | str, arrays: Mapping[str, np.ndarray], **settings: Any) -> Path:
    """Write an adapter of peft from arrays, named as in the base model, and settings; return the folder."""
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 2, "lora_alpha": 6, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({f"base_model.model.{key}": array for key, array in arrays.items()}, folder / "adapter_model.safetensors")
    return folder
