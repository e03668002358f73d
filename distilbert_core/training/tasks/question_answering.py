"""Question answering: the answer as a span of a context of any length.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.files.boundary import reading
from distilbert_core.files.json_files import parse_json
from distilbert_core.files.records import decoded_lines
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.packed_batches import Batch
from distilbert_core.pipelines.question_answering import QuestionAnsweringPipeline
from distilbert_core.tokenization.engine import Encoding
from distilbert_core.training import metrics
from distilbert_core.training.features import Feature
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.tasks.base import WEIGHT_COLUMN, Row, Task, text_of

MOST_ANSWER_TOKENS = 30  # the usual limit in evaluations on SQuAD
NO_ANSWER = (0, 0)  # [CLS]: the window does not hold the whole answer, or the question has none
IMPOSSIBLE = "is_impossible"  # column of SQuAD 2.0: whether the question has no answer


def read_squad(path: Path) -> Iterator[Row]:
    """Yield the questions of a .json file in the format of SQuAD 1.1 or 2.0."""
    with reading(path, "questions in SQuAD's format", InputError):
        data = parse_json(path, "".join(decoded_lines(path)), InputError, "records")
        try:
            for article in data["data"]:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        yield {
                            "question": question["question"],
                            "context": paragraph["context"],
                            "answers": question["answers"],
                            **({IMPOSSIBLE: question[IMPOSSIBLE]} if IMPOSSIBLE in question else {}),
                        }
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not in SQuAD's format: {error!r}.") from error


class QuestionAnswering(Task):
    """The answer to a question as a span of a context, which is read in windows."""

    name = "question-answering"
    head = Head.QUESTION_ANSWERING
    columns = ("question", "context", "answers")
    optional = (IMPOSSIBLE, WEIGHT_COLUMN)
    readers = {".json": read_squad}  # noqa: RUF012
    default_length = 384
    cut_rows = "have an answer that does not fit into a window of {} tokens and is not learned"
    metric = "f1"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with lists of answers, which may be empty, if each is at its position in the context."""
        for column in ("question", "context"):
            if not text_of(column, row[column]).strip():
                raise InputError(f"{column} must not be empty.")
        answers = row["answers"]
        if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):  # as in SQuAD's files
            answers = {key: [answer.get(key) for answer in answers] for key in ("text", "answer_start")}
        match answers:
            case {"text": [*texts], "answer_start": [*starts]} if len(texts) == len(starts):
                for text, start in zip(texts, starts, strict=True):
                    fits = isinstance(text, str) and text and isinstance(start, int) and start >= 0
                    if not fits or row["context"][start : start + len(text)] != text:
                        actual = row["context"].find(text) if isinstance(text, str) and text else -1
                        hint = f" It is at {actual}: answer_start counts characters from 0." if actual >= 0 else ""
                        raise InputError(
                            f"answers: {reprlib.repr(text)} is not at position {start!r} of the context.{hint}"
                        )
            case _:
                raise InputError(
                    'answers must be {"text": [...], "answer_start": [...]} of one length, and empty lists if the '
                    f"context has no answer; got {reprlib.repr(row['answers'])}."
                )
        impossible = row.get(IMPOSSIBLE)
        if impossible is not None and impossible is not (not texts):
            raise InputError(
                f"{IMPOSSIBLE} must be true where answers are empty, and false elsewhere; got {impossible!r} with "
                f"{len(texts)} answers."
            )
        return {**{column: row[column] for column in cls.columns}, "answers": {"text": texts, "answer_start": starts}}

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return windows with the first and last token of the first answer, or [CLS] if it is not inside."""
        self._check_room(rows)
        encoding = self.tokenizer(
            [row["question"] for row in rows],
            [row["context"] for row in rows],
            truncation="only_second",
            max_length=self.max_length,
            stride=self._stride,
            return_overflowing_tokens=True,
        )
        features = [
            Feature(window.ids, _answer_tokens(window, rows[source]["answers"]), source)
            for source, window in zip(encoding["overflow_to_sample_mapping"], encoding.encodings, strict=True)
        ]
        learned = {feature.row for feature in features if feature.target != NO_ANSWER}
        learned |= {index for index, row in enumerate(rows) if not row["answers"]["text"]}
        return [feature if feature.row in learned else replace(feature, cut=True) for feature in features]

    @property
    def _stride(self) -> int:
        return min(self.recipe.doc_stride, self.max_length // 2)

    def _check_room(self, rows: Sequence[Row]) -> None:
        """Raise InputError if a question leaves too little room for the windows of its context."""
        questions = self.tokenizer([row["question"] for row in rows], verbose=False)["input_ids"]
        for record, (row, question) in enumerate(zip(rows, questions, strict=True), 1):
            room = self.max_length - len(question) - 1  # one more [SEP]
            if room > self._stride:
                continue
            if len(self.tokenizer([row["context"]], add_special_tokens=False, verbose=False)["input_ids"][0]) > room:
                raise InputError(
                    f"record {record}: question leaves room for {max(room, 0)} tokens of its context in windows of "
                    f"max_length={self.max_length}, which must be more than doc_stride={self._stride}; shorten it, or "
                    "give a larger max_length or a smaller doc_stride."
                )

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments, with two positions for each row."""
        start, end = np.array([feature.target for feature in features]).T
        return {**self.inputs(features), "start_positions": start, "end_positions": end}

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return exact match and F1 of the best span of all windows; the metrics of SQuAD 2.0 if some have no answer.

        No answer is predicted if its score is above that of the best span, as with the option
        `handle_impossible_answer` of the pipeline. Its probability is its fraction of the sum of both scores.
        """
        find_spans = _SpanOrNone(
            inference,
            self.tokenizer,
            progress=False,
            batch_tokens=self.evaluation_tokens,
            max_seq_len=self.max_length,
            doc_stride=self._stride,
            max_answer_len=MOST_ANSWER_TOKENS,
        )
        predicted = find_spans.stream({"question": row["question"], "context": row["context"]} for row in rows)
        spans, no_answer = zip(*((answer["answer"], answer["no_answer"]) for answer in predicted), strict=True)
        true = [row["answers"]["text"] for row in rows]
        return metrics.answers(spans, true) if all(true) else metrics.answers_or_none(spans, no_answer, true)


class _SpanOrNone(QuestionAnsweringPipeline):
    """Answers with a further field 'no_answer': the probability of no answer, compared with the best span."""

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[Any], options: Mapping[str, Any]) -> Any:
        best = super().combine(value, windows, kept, options)
        none = min(window.null_score for window in kept)
        return {**best, "no_answer": none / ((none + best["score"]) or 1.0)}


def _answer_tokens(window: Encoding, answers: Mapping[str, list[Any]]) -> tuple[int, int]:
    if not answers["text"]:
        return NO_ANSWER
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    inside = [
        token
        for token, (sequence, (first, last)) in enumerate(zip(window.sequence_ids, window.offsets, strict=True))
        if sequence == 1 and first < end and last > start
    ]
    context = [token for token, sequence in enumerate(window.sequence_ids) if sequence == 1]
    whole = inside and window.offsets[context[0]][0] <= start and window.offsets[context[-1]][1] >= end
    return (inside[0], inside[-1]) if whole else NO_ANSWER
