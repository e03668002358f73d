"""A label for each token, or for each name: tokens that belong together become one entity."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from distilbert_core.batching import positive_integer
from distilbert_core.errors import InputError, InputWarning
from distilbert_core.parameters import Head
from distilbert_core.pipelines.base import Options, Outputs, Pipeline, check_choice
from distilbert_core.pipelines.scores import softmax
from distilbert_core.tokenization.encodings import Encoding

Entity = dict[str, Any]

# Strategy that labels words -> the scores [L] of a word from those of its tokens [T, L].
WORD_STRATEGIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": lambda scores: scores[0],
    "average": lambda scores: scores.mean(axis=0),
    "max": lambda scores: scores.max(axis=0),  # its best label is that of the token with the highest score
}
STRATEGIES = ("none", "simple", *WORD_STRATEGIES)


@dataclass(frozen=True)
class _Token:
    """A token: its text, its place in the window and in the input's text, and whether it continues a word."""

    word: str
    index: int
    start: int
    end: int
    continues: bool


class TokenClassificationPipeline(Pipeline):
    """Entities of a text, in order: {'entity' or 'entity_group', 'score', 'index', 'word', 'start', 'end'}.

    An input is a text. 'start' and 'end' are places in it; 'word' is made from the tokens, and so in lower case where
    the model is. 'index' is the place among the tokens, and only there without aggregation.

    Options:
        aggregation_strategy: 'none': each token ('entity'). Otherwise neighbours of one label form an 'entity_group',
            a new one begins at each B- label: 'simple' groups tokens; 'first', 'average' and 'max' group words, whose
            label is that of their first token, of the average of their tokens, or of the token with the highest score.
        ignore_labels: Labels that are left out; with aggregation, those of groups ('PER', not 'B-PER').
        stride: Read a text that is too long for the model in windows that share this many tokens, and keep the longer
            of two entities that overlap. None: see `truncation`.
        truncation: True: cut texts that are too long for the model. False: they are an InputError. Left out: cut them,
            with a warning. It does not go with `stride`.
    """

    task = "token-classification"
    head = Head.TOKEN_CLASSIFICATION
    defaults: ClassVar[Options] = {
        "aggregation_strategy": "none",
        "ignore_labels": ("O",),
        "stride": None,
        "truncation": None,
    }
    advice_on_length = f"give stride and an aggregation_strategy to read all of it; {Pipeline.advice_on_length}"

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise InputError if an option is impossible."""
        super().check_options(options)
        check_choice("aggregation_strategy", options["aggregation_strategy"], STRATEGIES)
        self._check_ignored(options["ignore_labels"], options["aggregation_strategy"])
        stride = options["stride"]
        if stride is None:
            return
        most = self.max_length - 3  # beside [CLS] and [SEP] a window brings at least one new token
        if stride != 0 and positive_integer("stride", stride) > most:
            raise InputError(f"stride must be at most {most} in windows of {self.max_length} tokens, got {stride}.")
        if options["aggregation_strategy"] == "none":
            raise InputError("stride needs an aggregation_strategy other than 'none', to join what windows share.")
        if options["truncation"] is not None:
            raise InputError("stride reads texts of any length; leave out truncation.")
        options["truncation"] = True  # into windows

    def _check_ignored(self, ignored: Any, strategy: str) -> None:
        """Raise InputError if labels are not texts, and warn of those that no result can have."""
        is_list = isinstance(ignored, Collection) and not isinstance(ignored, str)
        if not is_list or not all(isinstance(label, str) for label in ignored):
            raise InputError(f"ignore_labels must be a list of labels, got {ignored!r}.")
        labels = [self.config.label_name(index) for index in range(self.config.num_labels)]
        possible = labels if strategy == "none" else list(dict.fromkeys(map(_group_label, labels)))
        unknown = [label for label in ignored if label not in (*possible, *self.defaults["ignore_labels"])]
        if unknown:
            warnings.warn(
                f"ignore_labels has {', '.join(map(repr, unknown))}, which no result has: with aggregation_strategy="
                f"{strategy!r}, labels are {', '.join(possible[:8])}{', ...' if len(possible) > 8 else ''}.",
                InputWarning,
                stacklevel=5,
            )

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Cut at the model's length, into one window or into all that it takes."""
        cut = super().tokenizer_options(options)
        if options["stride"] is None:
            return cut
        return {**cut, "stride": options["stride"], "return_overflowing_tokens": True}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Logits [T, L] -> scores [T, L]."""
        return softmax(outputs["logits"])

    def combine(self, value: str, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the entities of all windows that are not to be ignored."""
        label = "entity" if options["aggregation_strategy"] == "none" else "entity_group"
        entities = [
            entity
            for window, scores in zip(windows, kept, strict=True)
            for entity in self._entities(_tokens(value, window, self.tokenizer.unk_token), scores, options)
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


def _tokens(text: str, window: Encoding, unknown: str) -> list[_Token]:
    """Return the tokens of a window but for the special ones."""
    tokens = []
    rows = zip(window.tokens, window.offsets, window.special_tokens_mask, strict=True)
    for index, (word, (start, end), special) in enumerate(rows):
        if special:
            continue
        # A token that continues a word has a '##' more than its text has; an unknown one has nothing in common with it.
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
    """Split entities where the label changes, and before each B- label."""
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
    """Of entities that overlap keep the longest; of equally long ones that of the higher score."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: entity["start"]):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(entity)
        elif _rank(entity) > _rank(kept[-1]):
            kept[-1] = entity
    return kept


def _rank(entity: Entity) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
