"""Running text: whole lines packed into rows, and tokens masked with a probability that falls with their frequency.

Shapes: B batch, T tokens of its longest row, V vocabulary.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import Inference
from distilbert_core.model.packed_batches import Batch
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.batches import replace_hidden
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.features import Feature, Features
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.sources import Source
from distilbert_core.training.tasks.base import Row
from distilbert_core.training.tasks.masked_lm import MaskedLM

LONGEST_DOCUMENT = 1 << 16  # lines; those that follow are another document
FEWEST = 5  # tokens in the last row of a document; fewer give too little context
LINES_AT_ONCE = 4096  # lines tokenized together: encodings are many times larger than the ids


@dataclass(frozen=True)
class Piece:
    """A line, or the part of it that fits into a row.

    Attributes:
        document: Index of its document.
        row: Index of its line.
        ids: Token ids, at least one, without [CLS] and [SEP].
    """

    document: int
    row: int
    ids: Sequence[int]


class PackedMaskedLM(MaskedLM):
    """The masked tokens of running text, in the way in which DistilBERT was trained.

    A file of lines has a sentence or a paragraph in each line, and a blank line between documents. In a .tsv, .csv or
    .jsonl file each text is a document. Lines of a document fill a row together, as the pair [CLS] A [SEP] B [SEP].

    In training, a token is masked with a probability that falls with its frequency, so that frequent tokens such as
    'the' and ',' do not replace more informative ones: after Lample & Conneau 2019, "Cross-lingual Language Model
    Pretraining", section 3.3, as Sanh et al. 2019 trained DistilBERT. Evaluation is that of `MaskedLM`.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        recipe: Gives the maximum length of rows, the fraction of masked tokens, and the smoothing of frequencies.

    Raises:
        InputError: `max_length` leaves no room for a word.

    Example:
        >>> from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast
        >>> from distilbert_core.training.distillation import DistillationRecipe
        >>> from distilbert_core.training.distillation.texts import PackedMaskedLM
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
        >>> config = DistilBertConfig.from_pretrained(DEFAULT_MODEL)
        >>> task = PackedMaskedLM(tokenizer, config, DistillationRecipe(max_length=12))
        >>> lines = ["It was late.", "He went home.", "She stayed on."]
        >>> features = task.encode([{"text": line, "document": 0} for line in lines])
        >>> [tokenizer.decode(feature.ids) for feature in features]
        ['[CLS] it was late. [SEP] he went home. [SEP]']
        >>> task.fit(features)
        >>> int((task.batch(features, seed=[0])["labels"] >= 0).sum())  # 15 % of 8 tokens, rounded up
        2
    """

    optional = ()  # a row holds several lines, so a line cannot have a weight

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: DistillationRecipe):
        super().__init__(tokenizer, config, recipe)
        if self.max_length < 3:
            raise InputError(f"max_length must be at least 3, for [CLS], a word and [SEP]; got {self.max_length}.")
        self.smoothing = recipe.mask_smoothing
        self.weights: np.ndarray | None = None

    # -- from a source to rows ----------------------------------------------------------------------------------

    @classmethod
    def _records(cls, source: Source, names: Mapping[str, str]) -> Iterator[Row]:
        """Yield texts with the indices of their documents."""
        document = lines = 0
        for row in super()._records(source, names):
            lines += 1
            if source.has_columns or not row["text"].strip() or lines > LONGEST_DOCUMENT:
                document, lines = document + 1, 0
            yield {**row, "document": document}

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if its text is a string."""
        return {**super().check({"text": row["text"]}), "document": row["document"]}

    # -- from rows to batches -----------------------------------------------------------------------------------

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return rows that consist of consecutive lines of one document, with the index of the first line.

        A line that is longer than a row continues in the next row. The remainder of a document is dropped if it is
        shorter than `FEWEST` tokens, unless it is the whole document. Rows of special tokens only are dropped too.

        Args:
            rows: The lines, with their `text` and the index of their `document`. The lines of a document are
                neighbours.
        """
        special = set(self.special.tolist())
        features = []
        for _, pieces in groupby(self._pieces(rows), key=lambda piece: piece.document):
            filled = list(self._fill(pieces))
            if len(filled) > 1 and sum(len(piece.ids) for piece in filled[-1]) < FEWEST:
                filled.pop()
            features += [Feature(self._join(row), None, row[0].row) for row in filled]
        return [feature for feature in features if not special.issuperset(feature.ids)]

    def _pieces(self, rows: Sequence[Row]) -> Iterator[Piece]:
        room = self.max_length - 2  # [CLS] and [SEP]
        for start in range(0, len(rows), LINES_AT_ONCE):
            texts = [row["text"] for row in rows[start : start + LINES_AT_ONCE]]
            tokens = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            for row, ids in enumerate(tokens, start):
                for first in range(0, len(ids), room):
                    yield Piece(rows[row]["document"], row, ids[first : first + room])

    def _fill(self, pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
        """Yield the pieces of each row: as many as fit."""
        row: list[Piece] = []
        size = 0
        for piece in pieces:
            size += len(piece.ids)
            if row and size > self.max_length - 3:  # [CLS] and two [SEP]
                yield row
                row, size = [], len(piece.ids)
            row.append(piece)
        yield row

    def _join(self, pieces: Sequence[Piece]) -> array[int]:
        """Return [CLS] A [SEP] B [SEP], with parts of similar length; [CLS] A [SEP] for a single line."""
        start, end = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        ends = list(accumulate(len(piece.ids) for piece in pieces))
        first = min(range(1, len(pieces)), key=lambda count: abs(2 * ends[count - 1] - ends[-1]), default=1)
        a, b = ([*chain.from_iterable(piece.ids for piece in half)] for half in (pieces[:first], pieces[first:]))
        return array("i", start + a + end + (b + end if b else []))  # an array needs a ninth of the memory of a list

    def fit(self, features: Sequence[Feature]) -> None:
        """Count the tokens of the training features."""
        counts = Features.of(features).token_counts(len(self.tokenizer))
        self.weights = np.zeros(len(counts))  # [V]; special tokens are never masked
        self.weights[self.words] = np.maximum(counts[self.words], 1.0) ** -self.smoothing

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments with some tokens masked. Labels [B, T] are -100 for all others.

        Raises:
            InputError: `fit` has not been called.
        """
        if self.weights is None:
            raise InputError("batch needs the frequencies of tokens: call fit(features) first.")
        inputs = self.inputs(features)
        rng = np.random.default_rng(seed)
        masked = draw_masked(rng, self.weights[inputs["input_ids"]], self.recipe.mask_probability)
        mask_id = self.tokenizer.special_id("mask_token")
        ids, labels = replace_hidden(rng, inputs["input_ids"], masked, mask_id, self.words)
        return {**inputs, "input_ids": ids, "labels": labels}

    # -- from outputs to metrics --------------------------------------------------------------------------------

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return the metrics of `MaskedLM`, which masks all tokens with the same probability."""
        return MaskedLM(self.tokenizer, self.config, self.recipe).evaluate(inference, rows, features)


def draw_masked(rng: np.random.Generator, weights: np.ndarray, fraction: float) -> np.ndarray:
    """Draw the tokens to mask: weighted sampling without replacement, by exponential keys.

    The keys are waiting times at rates of the weights; the shortest are selected (Efraimidis & Spirakis 2006).

    Args:
        rng: Generator of random numbers.
        weights: Weights >= 0, of any shape. Tokens of weight 0 are never drawn.
        fraction: Fraction of the other tokens to draw, in [0, 1]; their number is rounded up.

    Returns:
        Booleans of the shape of `weights`.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.distillation.texts import draw_masked
        >>> draw_masked(np.random.default_rng(0), np.array([[0.0, 1.0, 1e9], [0.0, 1.0, 1.0]]), fraction=0.25).tolist()
        [[False, False, True], [False, False, False]]
    """
    indices = np.flatnonzero(weights)
    times = rng.standard_exponential(len(indices)) / weights.ravel()[indices]
    drawn = np.zeros(weights.shape, bool)
    drawn.flat[indices[np.argsort(times)[: math.ceil(fraction * len(indices))]]] = True
    return drawn
