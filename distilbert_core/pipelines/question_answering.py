"""Answers to a question, as spans of a context of any length."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import FLAG_OFF, FLAG_ON, RUNNING, Older, Option, Options, not_negative
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import best, softmax
from distilbert_core.tokenization.engine import Encoding

NO_SCORE = -10000.0  # logit of tokens that cannot begin or end an answer


class _Answers(NamedTuple):
    """The best spans of a window, (score, start, end) with characters of the context, and the score of no answer."""

    spans: list[tuple[float, int, int]]
    null_score: float


def examples_of(question: str | Iterable[str] | None, context: str | Iterable[str] | None) -> Any:
    """Return the input of a question with its context, or a list of them.

    Args:
        question: A text, or a list of texts.
        context: A text, or a list of texts. A single question or context is paired with all of the others.

    Raises:
        InputError: The question or the context is missing, or the lists differ in length.
    """
    columns = {"question": question, "context": context}
    for name, value in columns.items():
        if value is None:
            raise InputError(
                f"Give {name}: a text, or a list of texts; got question={question!r}, context={context!r}."
            )
    several = {name: list(value) for name, value in columns.items() if not isinstance(value, str)}  # type: ignore[arg-type]
    if not several:
        return columns
    if len(set(map(len, several.values()))) > 1:
        raise InputError(
            f"question and context must be lists of one length, got {len(several['question'])} and "
            f"{len(several['context'])}."
        )
    count = len(next(iter(several.values())))
    return [
        {name: several[name][index] if name in several else value for name, value in columns.items()}
        for index in range(count)
    ]


def _texts(value: Any) -> tuple[Any, Any]:
    """Return question and context of an input; None for a missing one."""
    if isinstance(value, Mapping):
        return value.get("question"), value.get("context")
    return getattr(value, "question_text", None), getattr(value, "context_text", None)


class QuestionAnsweringPipeline(Pipeline):
    """The answer to a question: {'score', 'start', 'end', 'answer'}, where answer is context[start:end].

    An input is a dict with the texts 'question' and 'context', or an object with question_text and context_text. Other
    entries, such as the other columns of a row of SQuAD, are ignored. A context that is too long is read in windows.
    The scores of equal answers add up; upper and lower case are the same. Results equal those of Transformers 4.53.3.

    Options:
        top_k: Number of answers. If it is more than one and several answers were found, the result is a list.
        max_answer_len: Maximum tokens of an answer.
        max_seq_len: Maximum tokens of a window, including the question; None: 384, or the model's limit if smaller.
        doc_stride: Tokens of the context that neighbouring windows share; None: 128, or half of `max_seq_len` if
            smaller.
        max_question_len: Cut longer questions to this number of tokens; None: do not cut them.
        handle_impossible_answer: Include the empty answer.
        align_to_words: Extend answers to whole words.
        topk: Older name of top_k.

    Example:
        >>> from distilbert_core.pipelines.question_answering import examples_of
        >>> examples_of(["Who?", "Where?"], "Ada lives in Paris.")[1]
        {'question': 'Where?', 'context': 'Ada lives in Paris.'}
    """

    task = "question-answering"
    head = Head.QUESTION_ANSWERING
    option_table: ClassVar[Mapping[str, Option]] = {
        "top_k": Option(1, positive_integer),
        "max_answer_len": Option(15, positive_integer),
        "max_seq_len": Option(None, positive_integer),
        "doc_stride": Option(None, not_negative),
        "max_question_len": Option(None, positive_integer),
        "handle_impossible_answer": FLAG_OFF,
        "align_to_words": FLAG_ON,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = {"topk": lambda value, given: {"top_k": value}}

    def __call__(self, *inputs: Any, question: Any = None, context: Any = None, **options: Any) -> Any:
        """Answer one question, each of a list, or lazily each of any other iterable.

        Args:
            *inputs: An input, a list of inputs, or another iterable; or a question and its context; or several inputs.
                As in Transformers, a list of one input has the result of that input; `stream` yields a result for
                each input.
            question: In place of inputs: the question, or a list of questions.
            context: The context, or a list of contexts. A single question or context is paired with all of the others.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown, or no input is given.
        """
        for name in ("data", "X"):  # older names of the inputs
            if name in options:
                inputs += (options.pop(name),)
        if inputs and (question is not None or context is not None):
            raise TypeError("Give inputs, or question and context, not both.")
        match inputs:
            case ():
                examples: Any = examples_of(question, context)
            case (str(), str()):
                examples = examples_of(*inputs)
            case ({"question": [*_]} | {"context": [*_]} as columns,):
                examples = examples_of(columns.get("question"), columns.get("context"))
            case (examples,):
                pass
            case _:
                examples = list(inputs)
        result = super().__call__(examples, **options)
        return result[0] if isinstance(examples, list) and len(examples) == 1 else result

    @property
    def _question_first(self) -> bool:
        return self.tokenizer.padding_side == "right"  # how such models are trained

    create_sample = staticmethod(examples_of)

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options with values for the lengths that were left out."""
        length = self._length("max_seq_len", options["max_seq_len"], min(self.max_length, 384))
        stride = min(length // 2, 128) if options["doc_stride"] is None else options["doc_stride"]
        return {**options, "max_seq_len": length, "doc_stride": stride}

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return question and context as a pair."""
        question, context = _texts(value)
        for name, text in (("question", question), ("context", context)):
            if not isinstance(text, str):
                raise InputError(
                    f"{self.task} takes a dict with the texts 'question' and 'context', got {reprlib.repr(value)}."
                )
            if not text.strip():
                raise InputError(f"{name} must not be empty, got {reprlib.repr(value)}.")
        question = self._cut(question, options["max_question_len"])
        return [(question, context) if self._question_first else (context, question)]

    def _cut(self, question: str, length: int | None) -> str:
        if length is None:
            return question
        most = min(length, sys.maxsize)  # the tokenizer takes no larger integer
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
        """Return the windows of each context.

        Raises:
            InputError: A question leaves no room for its context; the message names it.
        """
        try:
            return super().tokenize(texts, options)
        except InputError:
            questions = [pair[not self._question_first] for (pair,) in texts]
            longest, stride = options["max_seq_len"], options["doc_stride"]
            for question, tokens in zip(questions, self.tokenizer(questions, verbose=False)["input_ids"], strict=True):
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
        """Return the characters of the context at which a span of tokens begins and ends."""
        if options["align_to_words"]:
            words = window.word_ids
            while words[first - 1] == words[first]:
                first -= 1
            while words[last + 1] == words[last]:
                last += 1
        return window.offsets[first][0], window.offsets[last][1]

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[_Answers], options: Options) -> Any:
        """Return the best answers of all windows."""
        _, context = _texts(value)
        answers: dict[str, dict[str, Any]] = {}
        for score, start, end in (span for window in kept for span in window.spans):
            text = context[start:end]
            answer = answers.setdefault(text.lower(), {"score": 0.0, "start": start, "end": end, "answer": text})
            answer["score"] += score
        results = list(answers.values())
        if options["handle_impossible_answer"] or not results:
            null_score = min(window.null_score for window in kept)
            results.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
        results = sorted(results, key=lambda answer: -answer["score"])[: options["top_k"]]
        return results[0] if len(results) == 1 else results
