"""The texts from which `make_sst2_tiny.py` makes the embedded model: reading, splitting, batching, word replacement."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TokenIds = list[int]


class Labelled(NamedTuple):
    """Texts, or their token ids, with their classes."""

    rows: list
    labels: list[int]


def read_text(path: Path) -> str:
    """Return the text of a file, gzipped or not; a byte order mark is dropped."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")


def read_sst2(path: Path) -> Labelled:
    """Read one split of SST-2 in the GLUE format."""
    rows = [line.split("\t") for line in read_text(path).splitlines()[1:]]
    return Labelled([text.strip() for text, _ in rows], [int(label) for _, label in rows])


def phrases_within(text: str) -> Iterator[str]:
    """Yield all runs of consecutive words of a text, and the whole text."""
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def hold_back(data: Labelled, count: int) -> tuple[Labelled, Labelled, list[str]]:
    """Hold back sentences of a training set, together with all of their phrases.

    The rows of SST-2 are sentences and the phrases of their parse trees, without a mark of which is which. Here a
    sentence is a row of at least 6 words that is not part of another row.

    Returns:
        The remaining rows, the held-back sentences, and the sentences among the remaining rows.
    """
    inside: set[str] = set()
    sentences = []
    for text in sorted(data.rows, key=lambda text: -len(text.split())):
        if text not in inside and len(text.split()) >= 6:
            sentences.append(text)
            inside.update(phrases_within(text))
    random.Random(0).shuffle(sentences)  # the same for all seeds, so that they can share a teacher
    held = sentences[:count]
    excluded = {phrase for text in held for phrase in phrases_within(text)}
    label_of = dict(zip(data.rows, data.labels, strict=True))
    rest = [(text, y) for text, y in zip(data.rows, data.labels, strict=True) if text not in excluded]
    left = Labelled([text for text, _ in rest], [label for _, label in rest])
    return left, Labelled(held, [label_of[text] for text in held]), sentences[count:]


def read_prose(data: Path, count: int) -> list[str]:
    """Draw unlabelled sentences: half of them Reddit comments, a quarter Wikipedia, a quarter novels."""
    comments = first_column(data / "goemotions/train.tsv.gz")
    encyclopedia = list(chain.from_iterable(map(first_column, sorted((data / "wikisplit").glob("*.tsv")))))
    novels = list(chain.from_iterable(map(book_sentences, sorted((data / "gutenberg").glob("*.txt.gz")))))
    quarter = count // 4
    sources = ((comments, 2 * quarter), (encyclopedia, quarter), (novels, quarter))
    return [text for texts, share in sources for text in random.sample(texts, share)]


def first_column(path: Path) -> list[str]:
    """Return the first column of a tab-separated file without a header."""
    return [line.split("\t")[0] for line in read_text(path).splitlines()]


def book_sentences(path: Path) -> list[str]:
    """Return the sentences of 5 to 40 words of a Project Gutenberg file, without its header and licence."""
    body = re.split(r"\*\*\* ?(?:START|END) OF[^\n]*", read_text(path))[1]
    sentences = re.split(r"(?<=[.!?])\W*\s(?=\W?[A-Z])", " ".join(body.split()))
    return [sentence for sentence in sentences if 5 <= len(sentence.split()) <= 40]


def join_negations(texts: Iterable[str]) -> list[str]:
    """Write "does n't" as "doesn't" in every other text, so that the model learns the usual spelling too."""
    return [text.replace(" n't", "n't") if random.random() < 0.5 else text for text in texts]


def pad(rows: Sequence[TokenIds]) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask` [B, T] of a batch."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def length_batches(rows: Sequence[TokenIds], size: int, shuffle: bool = True) -> list[list[int]]:
    """Group row indices into batches of similar length, which need little padding.

    With `shuffle`, rows are sorted only within groups of 50 batches, so that each epoch has other batches.
    """
    order = list(range(len(rows)))
    if shuffle:
        random.shuffle(order)
    group = 50 * size if shuffle else len(rows)
    batches = []
    for start in range(0, len(rows), group):
        near = sorted(order[start : start + group], key=lambda index: len(rows[index]))
        batches += [near[first : first + size] for first in range(0, len(near), size)]
    if shuffle:
        random.shuffle(batches)
    return batches


def near_words(table: Tensor, words: list[int], count: int = 8) -> dict[int, list[int]]:
    """Return for each word the words with the most similar embeddings, by cosine."""
    directions = F.normalize(table[words], dim=-1)
    nearest = torch.cat([(block @ directions.T).topk(count + 1).indices for block in directions.split(1000)])
    # The nearest word is the word itself.
    return {words[first]: [words[index] for index in others] for first, *others in nearest.tolist()}


def with_near_words(row: TokenIds, near: dict[int, list[int]], fraction: float = 0.15) -> TokenIds:
    """Replace some words of a row by similar words; the teacher then labels the changed row."""
    return [random.choice(near[word]) if word in near and random.random() < fraction else word for word in row]
