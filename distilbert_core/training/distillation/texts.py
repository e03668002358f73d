"""Running text to learn from: whole lines packed into rows, and words hidden the more often the rarer they are.

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
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.batches import Batch, replace_hidden
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.sources import Source
from distilbert_core.training.tasks.base import Feature, Row
from distilbert_core.training.tasks.masked_lm import MaskedLM

FEWEST = 5  # tokens in the last row of a document; fewer tell little about each other
LINES_AT_ONCE = 4096  # tokenized together: encodings are many times larger than the ids that are kept


@dataclass(frozen=True)
class Piece:
    """A line, or as much of it as a row holds.

    Attributes:
        document: Number of its document.
        row: Number of its line.
        ids: Token ids, at least one and none of [CLS] and [SEP].
    """

    document: int
    row: int
    ids: Sequence[int]


class PackedMaskedLM(MaskedLM):
    """The tokens that were hidden in running text, as DistilBERT learned them.

    A file of lines has a sentence or a paragraph a line, and a blank line between documents. In a .tsv, .csv or .jsonl
    file each text is a document. Lines of a document fill a row together, as the pair [CLS] A [SEP] B [SEP].

    In training the words of a batch are drawn with a chance that falls with how common they are, so that the many
    'the' and ',' do not take the place of words that say more: after Lample & Conneau 2019, "Cross-lingual Language
    Model Pretraining", section 3.3, as Sanh et al. 2019 trained DistilBERT. Evaluation is that of `MaskedLM`.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        recipe: Says how long rows may be, what part of the tokens is hidden, and how little common words count.

    Raises:
        InputError: A row has no room for a word.

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

    optional = ()  # rows are filled with texts: there is nothing that a weight could be of

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: DistillationRecipe):
        super().__init__(tokenizer, config, recipe)
        if self.max_length < 3:
            raise InputError(f"max_length must be at least 3, for [CLS], a word and [SEP]; got {self.max_length}.")
        self.smoothing = recipe.mask_smoothing
        self.weights: np.ndarray | None = None

    # -- from a source to rows ----------------------------------------------------------------------------------

    @classmethod
    def _records(cls, source: Source, names: Mapping[str, str]) -> Iterator[Row]:
        """Yield texts with the numbers of their documents."""
        document = 0
        for row in super()._records(source, names):
            document += source.has_columns or not row["text"].strip()
            yield {**row, "document": document}

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if its text is one."""
        return {**super().check({"text": row["text"]}), "document": row["document"]}

    # -- from rows to batches -----------------------------------------------------------------------------------

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return rows of whole lines, each of consecutive lines of one document, with the number of the first.

        A line that is longer than a row goes on in the next. The last tokens of a document are left out where they are
        fewer than `FEWEST` and not all that it has, and so is a row that has only special tokens.

        Args:
            rows: The lines, with their `text` and the number of their `document`; those of a document follow each
                other.
        """
        special = set(self.special.tolist())
        features = []
        for _, pieces in groupby(self._pieces(rows), key=lambda piece: piece.document):
            filled = list(self._fill(pieces))
            if len(filled) > 1 and sum(len(piece.ids) for piece in filled[-1]) < FEWEST:
                filled.pop()
            features += [Feature(self._join(held), None, held[0].row) for held in filled]
        return [feature for feature in features if not special.issuperset(feature.ids)]

    def _pieces(self, rows: Sequence[Row]) -> Iterator[Piece]:
        room = self.max_length - 2  # [CLS] and [SEP]
        for start in range(0, len(rows), LINES_AT_ONCE):
            texts = [row["text"] for row in rows[start : start + LINES_AT_ONCE]]
            tokens = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            for number, ids in enumerate(tokens, start):
                for first in range(0, len(ids), room):
                    yield Piece(rows[number]["document"], number, ids[first : first + room])

    def _fill(self, pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
        """Yield the pieces of each row: as many as there is room for."""
        held: list[Piece] = []
        size = 0
        for piece in pieces:
            size += len(piece.ids)
            if held and size > self.max_length - 3:  # [CLS] and two [SEP]
                yield held
                held, size = [], len(piece.ids)
            held.append(piece)
        yield held

    def _join(self, pieces: Sequence[Piece]) -> array:
        """Return [CLS] A [SEP] B [SEP], the parts as near to equal as lines allow; [CLS] A [SEP] for a single line."""
        start, end = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        ends = list(accumulate(len(piece.ids) for piece in pieces))
        first = min(range(1, len(pieces)), key=lambda count: abs(2 * ends[count - 1] - ends[-1]), default=1)
        a, b = ([*chain.from_iterable(piece.ids for piece in part)] for part in (pieces[:first], pieces[first:]))
        return array("i", start + a + end + (b + end if b else []))  # a ninth of the memory of a list

    def fit(self, features: Sequence[Feature]) -> None:
        """Learn from the features of the training texts how common each token is; see `Task.fit`."""
        ids = np.fromiter(chain.from_iterable(feature.ids for feature in features), np.int64)
        counts = np.bincount(ids, minlength=len(self.tokenizer))
        self.weights = np.zeros(len(counts))  # [V]; special tokens are never hidden
        self.weights[self.words] = np.maximum(counts[self.words], 1.0) ** -self.smoothing

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments with some tokens hidden; labels [B, T] are -100 for all others.

        Raises:
            InputError: It is not known how common tokens are.
        """
        if self.weights is None:
            raise InputError("batch needs to know how common tokens are: call fit(features) before.")
        inputs = self.inputs(features)
        rng = np.random.default_rng(seed)
        hidden = choose(rng, self.weights[inputs["input_ids"]], self.recipe.mask_probability)
        mask_id = self.tokenizer.special_id("mask_token")
        ids, labels = replace_hidden(rng, inputs["input_ids"], hidden, mask_id, self.words)
        return {**inputs, "input_ids": ids, "labels": labels}

    # -- from outputs to metrics --------------------------------------------------------------------------------

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return the metrics of `MaskedLM`, where each token is as likely to be hidden, the same at each call."""
        return MaskedLM(self.tokenizer, self.config, self.recipe).evaluate(inference, rows, features)


def choose(rng: np.random.Generator, weights: np.ndarray, part: float) -> np.ndarray:
    """Choose places one after the other, each time with chances in proportion to the weights of those that are left.

    An exponential race: the places whose waiting times, at rates of their weights, are the shortest. It draws from the
    same distribution as one draw after the other (Efraimidis & Spirakis 2006).

    Args:
        rng: Where chance comes from.
        weights: Not negative, of any shape; places of weight 0 are never chosen.
        part: Part of the other places to choose, in [0, 1]; their number is rounded up.

    Returns:
        Booleans of the shape of `weights`.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.distillation.texts import choose
        >>> choose(np.random.default_rng(0), np.array([[0.0, 1.0, 1e9], [0.0, 1.0, 1.0]]), part=0.25).tolist()
        [[False, False, True], [False, False, False]]
    """
    places = np.flatnonzero(weights)
    times = rng.standard_exponential(len(places)) / weights.ravel()[places]
    chosen = np.zeros(weights.shape, bool)
    chosen.flat[places[np.argsort(times)[: math.ceil(part * len(places))]]] = True
    return chosen
