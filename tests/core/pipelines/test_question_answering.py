"""From scores of tokens to answers in a context."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast, Head, InputError
from distilbert_core.pipelines import PIPELINE_CLASSES
from distilbert_core.pipelines.question_answering import _Answers
from distilbert_core.pipelines.scores import softmax
from support.fake_inference import TOKENIZER, FakeInference

QUESTION = {"question": "Who is it?", "context": "It is the old keeper, said Zoë."}


class Certain(FakeInference):
    """Gives the highest scores to an answer between two given words, and keeps the ids of its inputs."""

    def run(self, **arrays):
        self.ids = ids = arrays["input_ids"]
        first, last = (TOKENIZER.convert_tokens_to_ids(word) for word in ("old", "keeper"))
        return {"start_logits": 20.0 * (ids == first), "end_logits": 20.0 * (ids == last)}


def certain():
    return PIPELINE_CLASSES["question-answering"](Certain(Head.QUESTION_ANSWERING), TOKENIZER)


def test_answer_in_the_context():
    answer = certain()(QUESTION)
    assert (answer["answer"], answer["start"], answer["end"]) == ("old keeper", 10, 20)
    assert answer["score"] == pytest.approx(1, abs=1e-6)


def test_context_comes_first_where_padding_is_left():
    # As in Transformers.
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL, padding_side="left")
    ask = PIPELINE_CLASSES["question-answering"](Certain(Head.QUESTION_ANSWERING), tokenizer)
    context = "Words, more words. " * 20 + "It is the old keeper."
    answer = ask({"question": "The old keeper?", "context": context}, max_seq_len=50, doc_stride=10)
    assert (answer["answer"], context[answer["start"] : answer["end"]]) == ("old keeper", "old keeper")
    assert tokenizer.decode(ask.inference.ids[0]).startswith("[CLS] words")


def test_scores_of_equal_answers_in_several_windows_add_up():
    context = "It is an Old Keeper. " + "Words, more words. " * 20 + "He is the OLD KEEPER."
    answer = certain()({"question": "Who?", "context": context}, max_seq_len=60, doc_stride=20)
    assert (answer["answer"], answer["start"]) == ("Old Keeper", 9)
    assert answer["score"] == pytest.approx(2, abs=1e-3)


def test_impossible_answer_takes_part():
    ask = PIPELINE_CLASSES["question-answering"](FakeInference(Head.QUESTION_ANSWERING), TOKENIZER)
    answers = ask(QUESTION, handle_impossible_answer=True, top_k=100)
    (impossible,) = (answer for answer in answers if answer["answer"] == "")
    context = np.array(TOKENIZER(QUESTION["context"])["input_ids"][:-1])  # [CLS] and the context
    score = softmax(np.sin(context))[0] * softmax(np.sin(2 * context))[0]
    assert (impossible["start"], impossible["end"]) == (0, 0)
    assert impossible["score"] == pytest.approx(score, rel=1e-12)  # measured: 0.0
    assert [answer["score"] for answer in answers] == sorted((answer["score"] for answer in answers), reverse=True)
    assert all(answer["answer"] == QUESTION["context"][answer["start"] : answer["end"]] for answer in answers)
    assert impossible not in ask(QUESTION, top_k=100)


def test_answers_of_several_windows():
    """Equal answers add up; that there is none is as certain as in the window that is least certain of it."""
    ask = certain()
    options = {**ask.options, "top_k": 9, "handle_impossible_answer": True}
    windows = [_Answers([(0.3, 10, 13), (0.1, 27, 30)], 0.5), _Answers([(0.25, 27, 30)], 0.2)]
    answers = ask.combine({"question": "Who?", "context": QUESTION["context"]}, [], windows, options)
    assert [(answer["answer"], answer["score"]) for answer in answers] == [("Zoë", 0.35), ("old", 0.3), ("", 0.2)]


def test_no_answer_in_a_context_without_tokens():
    answer = certain()({"question": "Who?", "context": "\x07"})
    assert (answer["answer"], answer["start"], answer["end"]) == ("", 0, 0)


def test_long_questions_are_truncated_on_request():
    ask = certain()
    long = {"question": "Who is " * 300, "context": QUESTION["context"]}
    with pytest.raises(InputError, match=r"leaves room for 0 tokens .*; give max_question_len"):
        ask(long)
    assert ask(long, max_question_len=10)["answer"] == "old keeper"
    with pytest.raises(InputError, match=r"leaves room for 0 tokens"):
        ask(long, max_question_len=10**30)
