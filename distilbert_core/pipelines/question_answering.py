"""Answers to a question, as spans of a context of any length."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from distilbert_core.batching import positive_integer
from distilbert_core.errors import InputError
from distilbert_core.parameters import Head
from distilbert_core.pipelines.base import Options, Outputs, Pipeline, Text, check_flag
from distilbert_core.pipelines.scores import best, softmax
from distilbert_core.tokenization.encodings import Encoding

NO_SCORE = -10000.0  # logit of what cannot be an answer


class _Answers(NamedTuple):
    """The best spans of a window, (score, start, end) with places in the context, and the score of none."""

    spans: list[tuple[float, int, int]]
    null_score: float


class QuestionAnsweringPipeline(Pipeline):
    """The answer to a question: {'score', 'start', 'end', 'answer'}, where answer is context[start:end].

    An input is a dict with the texts 'question' and 'context'. A context that is too long is read in windows; the
    scores of equal answers, upper and lower case aside, add up. Results are those of Transformers 4.53.3.

    Options:
        top_k: How many answers; for more than one, and where more than one was found, the result is a list.
        max_answer_len: Most tokens of an answer.
        max_seq_len: Most tokens of a window, question included; None: 384, or what the model can take if less.
        doc_stride: How many tokens of the context neighbouring windows share; None: 128, or half of `max_seq_len` if
            less.
        max_question_len: Cut longer questions to this many tokens; None: they stay whole.
        handle_impossible_answer: Let the empty answer take part.
        align_to_words: Extend answers to whole words.
    """

    task = "question-answering"
    head = Head.QUESTION_ANSWERING
    defaults: ClassVar[Options] = {
        "top_k": 1,
        "max_answer_len": 15,
        "max_seq_len": None,
        "doc_stride": None,
        "max_question_len": None,
        "handle_impossible_answer": False,
        "align_to_words": True,
    }

    @property
    def _question_first(self) -> bool:
        return self.tokenizer.padding_side == "right"  # how such models are trained

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise InputError if an option is impossible; lengths that were left out get their values."""
        for name in ("top_k", "max_answer_len"):
            positive_integer(name, options[name])
        if options["max_question_len"] is not None:
            positive_integer("max_question_len", options["max_question_len"])
        for name in ("handle_impossible_answer", "align_to_words"):
            check_flag(name, options[name])
        if options["max_seq_len"] is None:
            options["max_seq_len"] = min(self.max_length, 384)
        longest = positive_integer("max_seq_len", options["max_seq_len"])
        if longest > self.max_length:
            raise InputError(f"max_seq_len must be at most the model's {self.max_length}, got {longest}.")
        if options["doc_stride"] is None:
            options["doc_stride"] = min(longest // 2, 128)
        if options["doc_stride"] != 0:
            positive_integer("doc_stride", options["doc_stride"])

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return question and context as a pair."""
        match value:
            case {"question": str(question), "context": str(context), **rest} if not rest:
                for name, text in value.items():
                    if not text.strip():
                        raise InputError(f"{name} must not be empty, got {reprlib.repr(value)}.")
                question = self._cut(question, options["max_question_len"])
                return [(question, context) if self._question_first else (context, question)]
        raise InputError(
            f"{self.task} takes a dict with the texts 'question' and 'context', got {reprlib.repr(value)}."
        )

    def _cut(self, question: str, most: int | None) -> str:
        if most is None:
            return question
        (tokens,) = self.tokenizer([question], truncation=True, max_length=most, add_special_tokens=False).encodings
        return question[: tokens.offsets[-1][1]] if tokens.overflowing else question

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Cut the context into windows, each with the whole question."""
        return {
            "truncation": "only_second" if self._question_first else "only_first",
            "max_length": options["max_seq_len"],
            "stride": options["doc_stride"],
            "return_overflowing_tokens": True,
        }

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the windows of each context, or name a question that leaves no room for one."""
        try:
            return super().tokenize(texts, options)
        except InputError:
            questions = [pair[not self._question_first] for (pair,) in texts]
            longest, stride = options["max_seq_len"], options["doc_stride"]
            for question, tokens in zip(questions, self.tokenizer(questions)["input_ids"], strict=True):
                room = longest - len(tokens) - 1  # one more [SEP]
                if room <= stride:
                    raise InputError(
                        f"{reprlib.repr(question)} leaves room for {max(room, 0)} tokens of its context in windows of "
                        f"max_seq_len={longest}, which must be more than doc_stride={stride}; give max_question_len."
                    ) from None
            raise

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> _Answers:
        """Start and end logits [T] -> the best spans of the window."""
        context = np.array(window.sequence_ids) == int(self._question_first)  # [T]; None for special tokens
        possible = context.copy()
        possible[0] = True  # [CLS]: no answer
        start, end = (softmax(np.where(possible, outputs[f"{name}_logits"], NO_SCORE)) for name in ("start", "end"))
        tokens = np.flatnonzero(context)
        scores = np.outer(start[tokens], end[tokens])  # [context, context]
        length = 1 + np.arange(tokens.size) - np.arange(tokens.size)[:, None]
        scores = np.where((length >= 1) & (length <= options["max_answer_len"]), scores, 0.0).ravel()
        spans = []
        for index in best(scores, options["top_k"]):
            if scores[index] > 0:
                first, last = (int(tokens[i]) for i in np.unravel_index(index, length.shape))
                spans.append((float(scores[index]), *self._characters(window, first, last, options)))
        return _Answers(spans, float(start[0] * end[0]))

    def _characters(self, window: Encoding, first: int, last: int, options: Options) -> tuple[int, int]:
        """Return where in the context a span of tokens begins and ends."""
        if options["align_to_words"]:
            words = window.word_ids
            while words[first - 1] == words[first]:
                first -= 1
            while words[last + 1] == words[last]:
                last += 1
        return window.offsets[first][0], window.offsets[last][1]

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[_Answers], options: Options) -> Any:
        """Return the best answers of all windows."""
        answers: dict[str, dict[str, Any]] = {}
        for score, start, end in (span for window in kept for span in window.spans):
            text = value["context"][start:end]
            answer = answers.setdefault(text.lower(), {"score": 0.0, "start": start, "end": end, "answer": text})
            answer["score"] += score
        found = list(answers.values())
        if options["handle_impossible_answer"] or not found:
            null_score = min(window.null_score for window in kept)
            found.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
        found = sorted(found, key=lambda answer: -answer["score"])[: options["top_k"]]
        return found[0] if len(found) == 1 else found
