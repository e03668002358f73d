"""Sentence embeddings: the modules of a sentence-transformers folder as a pooling inside a graph, and back.

Shapes: B texts, T tokens, D model size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert_core.checks import check_choice
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.boundary import reading
from distilbert_core.files.json_files import parse_json, read_content
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from weight_conversion.sidecars import MODULES_FILE, SETTINGS_FILES

SENTENCE_EMBEDDING = "sentence_embedding"  # the output of a graph
MODES = ("mean", "cls")
KEYS = {  # mode -> its key in the configuration of a pooling
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
MODULE = "sentence_transformers.models."  # prefix of the types that every version of sentence-transformers reads


@dataclass(frozen=True)
class Pooling:
    """How token vectors become the vector of a text.

    Attributes:
        mode: 'mean': the mean over the real tokens; 'cls': the vector of the first token.
        normalize: Whether the vector is scaled to length 1.

    Example:
        >>> from weight_conversion.sentences import Pooling
        >>> Pooling("max", False)
        Traceback (most recent call last):
        ...
        distilbert_core.errors.InputError: pooling must be one of mean, cls, got 'max'.
    """

    mode: str
    normalize: bool

    def __post_init__(self) -> None:
        check_choice("pooling", self.mode, MODES)

    def __call__(self, ops: Any, hidden: Any, mask: Any) -> Any:
        """Return the vectors of texts.

        Args:
            ops: The module of a framework with `sum`, `sqrt`, `maximum` and `expand_dims`, such as NumPy and
                keras.ops; PyTorch's are in `formats/padded.py`.
            hidden: [B, T, D], token vectors.
            mask: [B, T], 1 at real tokens, in the dtype of `hidden`.

        Returns:
            [B, D].
        """
        if self.mode == "cls":
            vectors = hidden[:, 0]
        else:
            real = ops.expand_dims(mask, -1)  # [B, T, 1]; not mask[..., None], which LiteRT has no operation for
            vectors = ops.sum(hidden * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1e-9)
        if self.normalize:
            length = ops.sqrt(ops.sum(vectors * vectors, axis=1, keepdims=True))  # [B, 1]
            vectors = vectors / ops.maximum(length, 1e-12)
        return vectors

    def files(self, config: DistilBertConfig) -> dict[str, bytes]:
        """Return the files of a sentence-transformers folder beside the checkpoint, by name."""
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * self.normalize
        listing = [
            {"idx": index, "name": str(index), "path": path, "type": MODULE + kind}
            for index, (path, kind) in enumerate(modules)
        ]
        contents: dict[str, Any] = {
            MODULES_FILE: listing,
            SETTINGS_FILES[1]: {"max_seq_length": config.max_position_embeddings, "do_lower_case": False},
            "1_Pooling/config.json": {
                "word_embedding_dimension": config.dim,
                **{key: mode == self.mode for mode, key in KEYS.items()},
            },
        }
        return {name: (json.dumps(content, indent=2) + "\n").encode() for name, content in contents.items()}


def find_pooling(
    pooling: str | None, normalize: bool, modules: Mapping[str, Path], head: Head
) -> tuple[Pooling | None, list[str]]:
    """Return the pooling of a conversion, and notes.

    Args:
        pooling: The mode that was asked for; None: that of the source.
        normalize: Whether vectors are scaled to length 1, if `pooling` is given.
        modules: The files of the modules of the source, by name.
        head: The head of the result.

    Raises:
        CheckpointError: The modules cannot be read.
        InputError: `pooling` is given for a model with a head, or for a source that has modules; or `normalize` without
            `pooling`.
    """
    if pooling is None:
        if normalize:
            raise InputError("normalize (--normalize) needs pooling (--pooling).")
        return read_pooling(modules) if head is Head.BASE and modules else (None, [])
    if head is not Head.BASE:
        raise InputError(
            f"pooling (--pooling) is for the base model, got a {head.architecture}: give head=Head.BASE (--head "
            "DistilBertModel)."
        )
    if modules:
        raise InputError(
            f"pooling (--pooling) must be left out: {modules[MODULES_FILE]} has the modules of the source."
        )
    return Pooling(pooling, normalize), []


def read_pooling(modules: Mapping[str, Path]) -> tuple[Pooling | None, list[str]]:
    """Return the pooling that modules of sentence-transformers describe; None and a note if it is another one.

    Args:
        modules: Their files by name.

    Raises:
        CheckpointError: A file is damaged.
    """
    listing = modules[MODULES_FILE]
    entries = parse_json(listing, read_content(listing))
    with reading(listing, "a list of modules"):
        kinds = [str(entry["type"]).rpartition(".")[2] for entry in entries]
        paths = [str(entry["path"]).rstrip("/") for entry in entries]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        return None, [f"The graph has no {SENTENCE_EMBEDDING}: the modules {', '.join(kinds)} are not supported."]
    path = modules.get(f"{paths[1]}/config.json")
    if path is None:
        raise CheckpointError(f"{listing} names {paths[1]}, which has no config.json.")
    settings = parse_json(path, read_content(path))
    with reading(path, "the settings of a pooling"):
        mode = settings.get("pooling_mode") or [mode for mode, key in KEYS.items() if settings.get(key)]
        modes = [mode] if isinstance(mode, str) else list(mode)
        includes_prompt = settings.get("include_prompt", True)
    if len(modes) != 1 or modes[0] not in MODES or not includes_prompt:
        prompt = "" if includes_prompt else " without the prompt"
        return None, [
            f"The graph has no {SENTENCE_EMBEDDING}: the pooling {', '.join(modes)}{prompt} is not supported."
        ]
    return Pooling(modes[0], len(kinds) == 3), []
