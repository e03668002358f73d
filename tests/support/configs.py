"""Configurations as fields and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distilbert_core import DistilBertConfig

# The documented signature of Transformers 4.53, in its order.
POSITIONAL: dict[str, Any] = {
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "sinusoidal_pos_embds": False,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation": "gelu",
    "initializer_range": 0.02,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "pad_token_id": 0,
}

# The other fields of every configuration of Transformers 4.53.
INHERITED: dict[str, Any] = {
    "tie_word_embeddings": True,
    "tie_weights_": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "use_return_dict": True,
    "num_labels": 2,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "problem_type": None,
    "architectures": None,
    "pruned_heads": {},
    "name_or_path": "",
    "attn_implementation": None,
    "torch_dtype": None,
    "torchscript": False,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "finetuning_task": None,
    "task_specific_params": None,
    "tokenizer_class": None,
    "prefix": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
}
DEFAULTS = POSITIONAL | INHERITED

# config.json of distilbert-base-uncased and of distilbert-base-uncased-finetuned-sst-2-english on the Hub.
HUB_BASE: dict[str, Any] = {
    "activation": "gelu",
    "architectures": ["DistilBertForMaskedLM"],
    "attention_dropout": 0.1,
    "dim": 768,
    "dropout": 0.1,
    "hidden_dim": 3072,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "distilbert",
    "n_heads": 12,
    "n_layers": 6,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
    "transformers_version": "4.10.0.dev0",
    "vocab_size": 30522,
}
ALIASES = {
    "hidden_size": ("dim", 24),
    "num_attention_heads": ("n_heads", 6),
    "num_hidden_layers": ("n_layers", 3),
    "dtype": ("torch_dtype", "float16"),
}


def write_config(folder: Path, fields: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(fields))
    return path


def written(config: DistilBertConfig) -> dict[str, Any]:
    return json.loads(config.to_json_string())


def function_activation(x: float) -> float:
    return x


def case_id(fields: dict[str, Any]) -> str:
    """The fields of a case; a function by its name, for its address is another one in each process."""
    return str({name: getattr(value, "__name__", value) for name, value in fields.items()})


NAMES = {0: "NEGATIVE", 1: "POSITIVE"}
IDS = {"NEGATIVE": 0, "POSITIVE": 1}
