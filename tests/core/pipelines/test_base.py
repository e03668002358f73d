"""Every pipeline around a model of a few lines: batches, inputs in several forms, options, and refusals."""

from __future__ import annotations

import reprlib
from collections import UserList
from itertools import count, islice

import numpy as np
import pytest
from oracle.pipeline_cases import MASKED, STORY, largest_difference

from distilbert_core import Head, InputError, InputWarning
from distilbert_core.pipelines import PIPELINE_CLASSES
from distilbert_core.pipelines.running import PORTION_SIZE
from support.fake_inference import SENTENCES, FakeInference, make

INPUTS = {
    "text-classification": [(text, "and this") if i % 3 else text for i, text in enumerate(SENTENCES)],
    "fill-mask": [f"[MASK] {text}" for text in SENTENCES[:5]],
    "token-classification": SENTENCES,
    "question-answering": [{"question": "Who?", "context": text} for text in SENTENCES],
    "feature-extraction": SENTENCES,
    "multiple-choice": [{"prompt": text, "choices": SENTENCES[i : i + 1 + i % 4]} for i, text in enumerate(SENTENCES)],
    "zero-shot-classification": SENTENCES,
}
OPTIONS = {
    "text-classification": {"top_k": None},
    "question-answering": {"top_k": 3},
    "zero-shot-classification": {"candidate_labels": ["good", "very long", "東京"]},
}


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_no_result_depends_on_the_batch_it_was_in(task):
    """Alone, in a list, streamed, in batches of any size: the same results in the order of the inputs."""
    inputs, options = INPUTS[task], OPTIONS.get(task, {})
    answer = make(task, options)
    expected = [answer(value, **options) for value in inputs]
    streamed = (
        answer(inputs),
        list(answer(iter(inputs))),
        list(answer.stream(inputs)),
        make(task, {**options, "batch_tokens": 50})(inputs),
        make(task, {**options, "batch_size": 1})(inputs),
    )
    for results in streamed:
        assert largest_difference(results, expected) <= 1e-12  # measured: 0.0
    assert len({repr(result) for result in expected}) > len(expected) / 3  # the order can be seen


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_batches_keep_to_their_limits(task):
    limits = {"batch_tokens": 120, "batch_size": 7}
    of_pipeline, of_call = make(task, {**OPTIONS.get(task, {}), **limits}), make(task, OPTIONS.get(task))
    of_pipeline(INPUTS[task])
    of_call(INPUTS[task], **limits)
    shapes = [(shape[0], shape[-1]) for shape in of_pipeline.inference.shapes]
    assert all(rows <= 7 and (rows == 1 or rows * tokens <= 120) for rows, tokens in shapes)
    assert max(rows for rows, _ in shapes) > 1
    assert of_call.inference.shapes == of_pipeline.inference.shapes


def test_inputs_are_read_as_results_are_requested():
    read = []
    texts = (read.append(i) or f"text {i}" for i in count())
    results = make("feature-extraction").stream(texts, pooling="mean")
    assert not read
    assert len(list(islice(results, 3))) == 3
    assert len(read) == PORTION_SIZE
    list(islice(results, PORTION_SIZE))
    assert len(read) == 2 * PORTION_SIZE


def test_fewer_long_inputs_are_read_ahead():
    read = []
    texts = (read.append(i) or STORY for i in count())
    next(make("feature-extraction").stream(texts, truncation=True))
    assert len(read) <= PORTION_SIZE / 4


def test_one_input_a_list_or_an_iterator():
    answer = make("feature-extraction", {"pooling": "cls"})
    assert answer("one").shape == (4,)
    assert [vector.shape for vector in answer(["one"])] == [(4,)]
    assert answer([]) == []
    iterator = answer(text for text in ["one", "two"])
    assert iter(iterator) is iterator
    assert len(list(iterator)) == 2


class DataFrame:
    """Yields the names of its columns, as that of pandas does."""

    def __iter__(self):
        return iter(["text", "label"])


@pytest.mark.parametrize(
    "inputs", ["one", b"one", {"text": "one"}, DataFrame()], ids=lambda value: type(value).__name__
)
def test_values_that_only_look_like_many_inputs(inputs):
    """Its letters, keys or columns are not the inputs."""
    answer = make("text-classification")
    message = f"^inputs must be an iterable of inputs for text-classification, .*, got a {type(inputs).__name__}"
    with pytest.raises(InputError, match=message):
        answer.stream(inputs)
    with pytest.raises(InputError, match=message):
        answer.stream_scores(inputs)
    if isinstance(inputs, DataFrame):
        with pytest.raises(InputError, match=message):
            answer(inputs)


@pytest.mark.parametrize(
    "inputs", [["a", "b", None], np.array(["a", "b", None], object), iter(["a", "b", None])], ids=type
)
def test_an_error_says_which_of_several_inputs_it_is(inputs):
    answer = make("text-classification")
    with pytest.raises(InputError, match=r"^inputs\[2\]: text-classification takes a text, .* got None"):
        list(answer(inputs))
    with pytest.raises(InputError, match=r"^text-classification takes a text, .* got None"):
        answer(None)


class Rows:
    """A data set of PyTorch's kind."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return SENTENCES[index]


def test_which_inputs_give_a_list():
    answer = make("text-classification")
    expected = answer(SENTENCES[:3])
    for column in (np.array(SENTENCES[:3]), np.array(SENTENCES[:3], object), UserList(SENTENCES[:3])):
        assert answer(column) == expected
    for inputs in (Rows(), dict.fromkeys(SENTENCES[:3], 0).keys()):
        results = answer(inputs)
        assert (len(results), next(results), list(results), len(results)) == (3, expected[0], expected[1:], 3)
    with pytest.raises(TypeError, match="has no len"):
        len(answer(iter(SENTENCES)))


def test_one_bare_text_gives_a_list_as_in_transformers():
    answer = make("text-classification")
    (alone,) = answer("good")
    assert alone == answer(["good"])[0] == answer({"text": "good"}) == next(answer.stream(["good"]))
    assert answer("good", top_k=1) == [alone]
    assert answer(["good"], top_k=1) == [[alone]]


CALLS = [  # task, input, options, message
    ("text-classification", 3, {}, "text-classification takes a text, a tuple of two texts or a dict .*, got 3"),
    ("text-classification", ["a", None], {}, "got None"),
    ("text-classification", [["a", "b"]], {}, "a tuple of two texts"),
    ("text-classification", ("a", "b", "c"), {}, "a tuple of two texts"),
    ("text-classification", {"text": "a", "pair": "b"}, {}, "a dict with 'text' and 'text_pair', got {'pair'"),
    ("text-classification", "a", {"top_k": 0}, "top_k must be a positive integer, got 0"),
    ("text-classification", "a", {"function_to_apply": "tanh"}, "function_to_apply must be one of None, softmax, "),
    ("text-classification", STORY, {"truncation": False}, "'On day 0 .* has 632 tokens, more than the model's 512"),
    (
        "text-classification",
        "a",
        {"truncation": "longest"},
        "truncation must be one of None, True, False, .*only_second, got",
    ),
    ("fill-mask", "no mask", {}, r"'no mask' has no \[MASK\]\."),
    ("fill-mask", f"{STORY} [MASK]", {}, r"has no \[MASK\] in its first 512 tokens"),
    ("fill-mask", MASKED[0], {"targets": []}, "targets must name at least one token"),
    ("fill-mask", MASKED[0], {"targets": [3]}, r"targets must be a text or a list of texts, got \[3\]"),
    ("token-classification", b"a", {}, "token-classification takes a text, got b'a'"),
    (
        "token-classification",
        "a",
        {"aggregation_strategy": "mean"},
        "of none, simple, first, average, max, got 'mean'",
    ),
    ("token-classification", "a", {"ignore_labels": "O"}, "ignore_labels must be a list of labels, got 'O'"),
    ("token-classification", "a", {"stride": 3}, "stride needs an aggregation_strategy"),
    ("token-classification", "a", {"stride": -1}, "stride must be a positive integer, got -1"),
    ("token-classification", "a", {"stride": 510}, "stride must be at most 509 in windows of 512 tokens, got 510"),
    ("question-answering", "a", {}, "takes a dict with the texts 'question' and 'context', got 'a'"),
    ("question-answering", {"question": "a"}, {}, "takes a dict with the texts"),
    ("question-answering", {"question": "a", "context": None}, {}, "takes a dict with the texts"),
    ("question-answering", {"question": "a", "context": " \n"}, {}, "context must not be empty, got {'context'"),
    ("question-answering", {"question": "", "context": "a"}, {}, "question must not be empty"),
    (
        "question-answering",
        {"question": STORY, "context": STORY},
        {},
        "leaves room for 0 tokens of its context in windows of max_seq_len=384",
    ),
    ("question-answering", INPUTS["question-answering"], {"max_seq_len": 513}, "at most the model's 512, got 513"),
    ("question-answering", INPUTS["question-answering"], {"max_answer_len": 0}, "max_answer_len must be a positive"),
    ("question-answering", INPUTS["question-answering"], {"doc_stride": 1.5}, "doc_stride must be a positive"),
    ("question-answering", INPUTS["question-answering"], {"align_to_words": 2}, "align_to_words must be True or False"),
    ("feature-extraction", {"text": "a"}, {}, "feature-extraction takes a text, got {'text': 'a'}"),
    ("feature-extraction", "a", {"pooling": "max"}, "pooling must be one of None, mean, cls, got 'max'"),
    ("feature-extraction", "\ud800", {}, "surrogates"),
    (
        "multiple-choice",
        {"prompt": "a", "choices": []},
        {},
        "a dict with a text 'prompt' and a list of texts 'choices'",
    ),
    ("multiple-choice", {"prompt": "a", "choices": ["b", 3]}, {}, "list of texts 'choices'"),
    ("multiple-choice", {"prompt": "a", "choices": "bc"}, {}, "list of texts 'choices'"),
]


@pytest.mark.parametrize(("task", "value", "options", "message"), CALLS)
def test_impossible_calls(task, value, options, message):
    with pytest.raises(InputError, match=message):
        make(task)(value, **options)


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_unknown_options(task):
    with pytest.raises(TypeError, match=f"Unknown keyword argument.*: colour. {task} has the options .*"):
        make(task, OPTIONS.get(task)).stream([], colour="red")  # at once, not when the first result is asked for
    with pytest.raises(TypeError, match="colour"):
        make(task, {"colour": "red"})


@pytest.mark.parametrize("name", ["batch_size", "batch_tokens"])
def test_limits_must_be_positive(name):
    with pytest.raises(InputError, match=f"{name} must be a positive integer, got 0"):
        make("feature-extraction", {name: 0})


def test_options_of_the_pipeline_hold_where_a_call_says_nothing():
    answer = make("feature-extraction", {"pooling": "mean", "normalize": False})
    assert answer("a b").shape == (4,)
    assert np.shape(answer("a b", pooling=None)) == (1, 4, 4)
    assert np.linalg.norm(answer("a b", normalize=True)) == pytest.approx(1)
    # What a default follows from can still be another thing in a call.
    assert make("question-answering", {"max_seq_len": 400})({"question": "a", "context": STORY}, max_seq_len=60)


def test_tokenizer_must_fit_the_model():
    with pytest.raises(InputError, match="tokenizer has 30522 tokens, more than the model's vocab_size=9"):
        make("feature-extraction", vocab_size=9)


def test_texts_are_truncated_to_the_positions_of_the_model():
    answer = make("feature-extraction", {"truncation": True}, max_position_embeddings=9)
    assert np.shape(answer(STORY)) == (1, 9, 4)
    assert answer(STORY)[0][:8] == make("feature-extraction", {"truncation": True})(STORY)[0][:8]
    assert np.shape(answer(STORY, max_length=7)) == (1, 7, 4)


LONG_INPUTS = {  # for 16 tokens; the second input, and the text or pair of it that is cut; the third is cut too
    "text-classification": ["It was.", {"text": "It was.", "text_pair": STORY}, ("It was.", STORY), STORY],
    "fill-mask": ["It was [MASK].", f"[MASK] was long. {STORY}", f"[MASK] was long. {STORY}", f"[MASK] {STORY}"],
    "token-classification": ["It was.", STORY, STORY, f"It was long. {STORY}"],
    "feature-extraction": ["It was.", STORY, STORY, f"It was long. {STORY}"],
    "multiple-choice": [
        {"prompt": "It was", "choices": ["short", "long"]},
        {"prompt": "It was", "choices": ["short", STORY]},
        ("It was", STORY),
        {"prompt": STORY, "choices": ["a"]},
    ],
}


@pytest.mark.parametrize("task", LONG_INPUTS)
def test_truncation_is_reported(task):
    """Once per call, and not if truncation was requested; refused inputs are named."""
    answer = make(task, max_position_embeddings=16)
    short, first, text, second = LONG_INPUTS[task]
    inputs = [short, first, second]
    with pytest.warns(InputWarning, match=r"has more than 16 tokens\. The rest is not read") as warned:
        cut = answer(inputs)
    assert len(warned) == 1
    assert str(warned[0].message).startswith(reprlib.repr(text))
    assert "truncation=True" in str(warned[0].message)
    with pytest.warns(InputWarning, match="has more than 16 tokens"):
        list(answer.stream([second]))
    answer(short)
    assert repr(answer(inputs, truncation=True)) == repr(cut)
    with pytest.raises(InputError, match="tokens, more than the model's 16; give truncation=True or a shorter text"):
        answer(inputs, truncation=False)


def test_no_text_is_truncated_if_it_is_read_in_windows():
    tag = make(
        "token-classification", {"aggregation_strategy": "simple", "ignore_labels": []}, max_position_embeddings=16
    )
    with pytest.warns(InputWarning, match="give stride and an aggregation_strategy to read all of it"):
        assert tag(STORY)[-1]["end"] < 100
    assert tag(STORY, stride=5)[-1]["end"] == len(STORY)
    with pytest.raises(InputError, match=r"^stride reads texts of any length; leave out truncation\.$"):
        tag(STORY, stride=5, truncation=False)


class Broken(FakeInference):
    """Gives one number that is not finite, for the last real token of a batch's first row, or for the row."""

    number = np.nan

    def run(self, **arrays):
        outputs = super().run(**arrays)
        last = arrays["attention_mask"][0].sum() - 1
        for array in outputs.values():
            per_token = self.head in (Head.BASE, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING)
            array[(0, last) if per_token else 0] = self.number
        return outputs


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_no_answer_from_values_that_are_not_finite(task, number):
    answer, value = make(task, OPTIONS.get(task)), INPUTS[task][2]
    answer(value)
    answer.inference = Broken(answer.head)
    answer.inference.number = number
    with pytest.raises(InputError, match=r"of '.*word na.*' must be finite, but the model gives NaN or infinity"):
        answer(value)
