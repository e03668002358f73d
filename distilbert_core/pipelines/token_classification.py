"""Labels of tokens, or of entities: groups of neighbouring tokens with one label."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import (
    FLAG_OFF,
    RUNNING,
    TOKENIZING,
    Older,
    Option,
    Options,
    check_text,
    not_negative,
    one_of,
    warn,
)
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import softmax
from distilbert_core.tokenization.engine import Encoding

Entity = dict[str, Any]

# Strategies that label words: the function returns the scores [L] of a word, given the scores [T, L] of its tokens.
WORD_STRATEGIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": lambda scores: scores[0],
    "average": lambda scores: scores.mean(axis=0),
    "max": lambda scores: scores.max(axis=0),  # the token with the highest score decides
}


class AggregationStrategy(StrEnum):
    """How `TokenClassificationPipeline` groups tokens into entities. A member equals its value, a text."""

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"


@dataclass(frozen=True)
class _Token:
    """A token: its text, its index in the window, its characters of the input, and whether it continues a word."""

    word: str
    index: int
    start: int
    end: int
    continues: bool


def _check_labels(name: str, value: Any) -> None:
    is_list = isinstance(value, Collection) and not isinstance(value, str)
    if not is_list or not all(isinstance(label, str) for label in value):
        raise InputError(f"{name} must be a list of labels, got {value!r}.")


def _strategy_of(value: Any, given: Options) -> dict[str, Any]:
    """Return the present option for two older ones; `value` is the value of one of them."""
    grouped, words = given.get("grouped_entities"), given.get("ignore_subwords")
    strategy = ("first" if words else "simple") if grouped else "none"
    warn(f"grouped_entities and ignore_subwords are deprecated: give aggregation_strategy={strategy!r}.", UserWarning)
    return {"aggregation_strategy": strategy}


class TokenClassificationPipeline(Pipeline):
    """Entities of a text, in order: {'entity' or 'entity_group', 'score', 'index', 'word', 'start', 'end'}.

    An input is a text, or a list of words. 'start' and 'end' are characters of the text. 'word' is made from the
    tokens, in lower case if the tokenizer lowers case. 'index' is the index of the token; entity groups have none.

    Options:
        aggregation_strategy: 'none': each token is an 'entity'. Otherwise neighbours of one label form an
            'entity_group', and a B- label begins a new group. 'simple' groups tokens; 'first', 'average' and 'max'
            group words. The first token of a word, the average of its tokens, or the token with the highest score
            decides its label.
        ignore_labels: Labels that are left out; with aggregation, labels of groups ('PER', not 'B-PER').
        stride: Read a text that is too long for the model in windows that share this number of tokens, and keep the
            longer of two entities that overlap. None: `truncation` cuts the text.
        is_split_into_words: An input is a list of words. 'start' and 'end' are characters of the words joined by
            `delimiter`.
        delimiter: A space if left out.
        truncation, max_length, add_special_tokens: As in `Pipeline`; `truncation` cannot be combined with `stride`.
        grouped_entities: Older form of aggregation_strategy. True: 'simple', or 'first' together with
            `ignore_subwords=True`; False: 'none'.
    """

    task = "token-classification"
    head = Head.TOKEN_CLASSIFICATION
    option_table: ClassVar[Mapping[str, Option]] = {
        "aggregation_strategy": Option("none", one_of(*(strategy.value for strategy in AggregationStrategy))),
        "ignore_labels": Option(("O",), _check_labels),
        "stride": Option(None, not_negative),
        "is_split_into_words": FLAG_OFF,
        "delimiter": Option(" ", check_text),
        **TOKENIZING,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = dict.fromkeys(("grouped_entities", "ignore_subwords"), _strategy_of)
    advice_on_length = f"give stride and an aggregation_strategy to read all of it; {Pipeline.advice_on_length}"

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options, with truncation if the text is read in windows."""
        prepared = super().prepare_options(options)
        self._warn_of_labels(options["ignore_labels"], options["aggregation_strategy"])
        stride, length = options["stride"], prepared["max_length"]
        if stride is None:
            return prepared
        limit = length - 3  # a window holds [CLS], [SEP] and at least one new token
        if stride > limit:
            raise InputError(f"stride must be at most {limit} in windows of {length} tokens, got {stride}.")
        if options["aggregation_strategy"] == "none":
            raise InputError("stride needs an aggregation_strategy other than 'none', to join what windows share.")
        if options["truncation"] is not None:
            raise InputError("stride reads texts of any length; leave out truncation.")
        return {**prepared, "truncation": True}

    def _warn_of_labels(self, ignored: Collection[str], strategy: str) -> None:
        """Warn of ignored labels that no result can have."""
        labels = [self.config.label_name(index) for index in range(self.config.num_labels)]
        possible = labels if strategy == "none" else list(dict.fromkeys(map(_group_label, labels)))
        unknown = [label for label in ignored if label not in (*possible, "O")]
        if unknown:
            warn(
                f"ignore_labels has {', '.join(map(repr, unknown))}, which no result has: with aggregation_strategy="
                f"{str(strategy)!r}, labels are {', '.join(possible[:8])}{', ...' if len(possible) > 8 else ''}."
            )

    def is_one(self, inputs: Any, options: Options) -> bool:
        """Return whether this is one text, or the words of one."""
        if options["is_split_into_words"] and isinstance(inputs, list):
            return bool(inputs) and all(isinstance(word, str) for word in inputs)
        return super().is_one(inputs, options)

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the text, or its words."""
        if not options["is_split_into_words"]:
            if isinstance(value, list):
                raise InputError(
                    f"{self.task} takes a text, got {reprlib.repr(value)}; give is_split_into_words=True for words."
                )
            return super().read(value, options)
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise InputError(
                f"With is_split_into_words=True {self.task} takes a list of words, got {reprlib.repr(value)}."
            )
        return [list(value)]

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Cut the text to one window, or into several if there is a stride."""
        chosen = {**super().tokenizer_options(options), "is_split_into_words": options["is_split_into_words"]}
        if options["stride"] is None:
            return chosen
        return {**chosen, "stride": options["stride"], "return_overflowing_tokens": True}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Logits [T, L] -> scores [T, L]."""
        return softmax(outputs["logits"])

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the entities of all windows, without ignored labels."""
        label = "entity" if options["aggregation_strategy"] == "none" else "entity_group"
        text, starts = (value, None) if isinstance(value, str) else _joined(value, options["delimiter"])
        entities = [
            entity
            for window, scores in zip(windows, kept, strict=True)
            for entity in self._entities(_tokens(text, starts, window, self.tokenizer.unk_token), scores, options)
            if entity[label] not in options["ignore_labels"]
        ]
        return _without_overlaps(entities) if len(windows) > 1 else entities

    def _entities(self, tokens: Sequence[_Token], scores: np.ndarray, options: Options) -> list[Entity]:
        strategy = options["aggregation_strategy"]
        words = _words(tokens) if strategy in WORD_STRATEGIES else [[token] for token in tokens]
        word_scores = WORD_STRATEGIES.get(strategy, WORD_STRATEGIES["first"])
        entities = [
            {
                **self._best_label(word_scores(scores[[token.index for token in word]])),
                "index": word[0].index,
                "word": self.tokenizer.convert_tokens_to_string([token.word for token in word]),
                "start": word[0].start,
                "end": word[-1].end,
            }
            for word in words
        ]
        return entities if strategy == "none" else [self._merge(group) for group in _groups(entities)]

    def _best_label(self, scores: np.ndarray) -> Entity:
        best = int(scores.argmax())
        return {"entity": self.config.label_name(best), "score": float(scores[best])}

    def _merge(self, group: Sequence[Entity]) -> Entity:
        return {
            "entity_group": _group_label(group[0]["entity"]),
            "score": float(np.mean([entity["score"] for entity in group])),
            "word": self.tokenizer.convert_tokens_to_string([entity["word"] for entity in group]),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }


def _joined(words: Sequence[str], delimiter: str) -> tuple[str, list[int]]:
    """Return the words as one text, and the character at which each begins."""
    ends = accumulate(len(word) + len(delimiter) for word in words)
    return delimiter.join(words), [0, *ends][: len(words)]


def _tokens(text: str, starts: Sequence[int] | None, window: Encoding, unknown: str) -> list[_Token]:
    """Return the tokens of a window, without special ones.

    Args:
        text: The input's text.
        starts: The character at which each word begins, if the input is a list of words.
        window: The window.
        unknown: The token for unknown words.
    """
    tokens = []
    rows = zip(window.tokens, window.offsets, window.word_ids, window.special_tokens_mask, strict=True)
    for index, (word, (start, end), number, special) in enumerate(rows):
        if special:
            continue
        if starts is not None and number is not None:
            start, end = start + starts[number], end + starts[number]
        # The '##' makes a token that continues a word longer than its characters.
        continues = word != unknown and len(word) != end - start
        tokens.append(_Token(text[start:end] if word == unknown else word, index, start, end, continues))
    return tokens


def _words(tokens: Iterable[_Token]) -> list[list[_Token]]:
    words: list[list[_Token]] = []
    for token in tokens:
        if words and token.continues:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _groups(entities: Iterable[Entity]) -> list[list[Entity]]:
    """Group neighbouring entities of one label; a B- label begins a new group."""
    groups: list[list[Entity]] = []
    for entity in entities:
        begins, label = _split_label(entity["entity"])
        if groups and not begins and label == _split_label(groups[-1][-1]["entity"])[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return groups


def _group_label(label: str) -> str:
    return label.split("-", 1)[-1]


def _split_label(label: str) -> tuple[bool, str]:
    """'B-PER' -> (True, 'PER'); 'I-PER' and 'PER' -> (False, 'PER')."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _without_overlaps(entities: Iterable[Entity]) -> list[Entity]:
    """Return entities without overlaps: the longest is kept, or of equally long ones the one with the higher score."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: entity["start"]):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(entity)
        elif _rank(entity) > _rank(kept[-1]):
            kept[-1] = entity
    return kept


def _rank(entity: Entity) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
