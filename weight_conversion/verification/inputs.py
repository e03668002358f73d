"""The inputs of a verification: texts, or random ids without a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from distilbert_core.files.hub import find_file
from distilbert_core.files.names import TOKENIZER_FILE, VOCAB_FILE
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head

TEXTS = (
    "Yes.",
    "A lovely film.",
    "The plot is thin, the acting is thinner, and yet I could not look away.",
    "Zoë Ångström ordered crème brûlée in São Paulo.",
    "東京は日本の首都です。",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "ما أجمل هذا اليوم!",
    "It cost £3.50 (≈ €4.10) — 17 % more than in 1999… 😀",
    "def area(radius): return 3.14159 * radius ** 2",
    "antidisestablishmentarianism",
    "Who wrote the first program? Ada Lovelace wrote it, in 1843, for a machine that was never built.",
    "Two hours that I will not get back: the first half is spent on people who walk through corridors, the second on "
    "the same people walking through the same corridors in the dark, and when at last somebody opens a door there is "
    "nothing behind it but another corridor and the names of those who made this.",
)
CHOICES = 2  # texts per example of a multiple-choice model
SEED_LENGTH = 48  # tokens of the longest input without a tokenizer


def make_inputs(folders: Iterable[Path], config: DistilBertConfig, head: Head) -> tuple[dict[str, np.ndarray], str]:
    """Return texts, tokenized by the first tokenizer in the folders, or random ids if there is no tokenizer.

    Args:
        folders: Folders that may hold a tokenizer.
        config: Configuration, which limits the length of a text.
        head: Head of the model. For multiple choice, `CHOICES` texts form an example.

    Returns:
        input_ids and attention_mask, int64 [B, T], or [B, C, T] for multiple choice; and a description of them.
    """
    folder = next((f for f in folders if any(find_file(f, name) for name in (TOKENIZER_FILE, VOCAB_FILE))), None)
    if folder is None:
        arrays = _random_ids(config)
        kind = f"{len(TEXTS)} rows of random ids (no tokenizer)"
    else:
        from distilbert_core.tokenization import DistilBertTokenizerFast

        tokenizer = DistilBertTokenizerFast.from_pretrained(folder)
        limit = config.max_position_embeddings
        batch = tokenizer(list(TEXTS), padding=True, truncation=True, max_length=limit, return_tensors="np")
        arrays = {name: np.asarray(batch[name], np.int64) for name in ("input_ids", "attention_mask")}
        kind = f"{len(TEXTS)} texts"
    lengths = arrays["attention_mask"].sum(axis=1)
    kind += f" of {lengths.min()} to {lengths.max()} tokens"
    if head.has_choices:
        arrays = {name: array.reshape(-1, CHOICES, array.shape[1]) for name, array in arrays.items()}
    return arrays, kind


def _random_ids(config: DistilBertConfig) -> dict[str, np.ndarray]:
    longest = min(SEED_LENGTH, config.max_position_embeddings)
    lengths = np.linspace(1, longest, len(TEXTS)).astype(int)
    mask = np.arange(longest) < lengths[:, None]
    ids = np.random.default_rng(0).integers(0, config.vocab_size, mask.shape)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
