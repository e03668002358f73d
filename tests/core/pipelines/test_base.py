"""What pipelines do around a model, with a model of a few lines in NumPy that has nothing to say about padding."""

from __future__ import annotations

import io
import json
import reprlib
import sys
from collections import UserList
from itertools import count, islice

import numpy as np
import pytest
from oracle.pipeline_cases import MASKED, STORY, largest_difference

from distilbert_core import (
    DEFAULT_MODEL,
    BackendNotInstalledError,
    CheckpointError,
    ConfigWarning,
    DistilBertConfig,
    DistilBertTokenizerFast,
    Head,
    InputError,
    InputWarning,
)
from distilbert_core.pipelines import ALIASES, PIPELINE_CLASSES, pipeline
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from distilbert_core.pipelines.question_answering import _Answers
from distilbert_core.pipelines.running import PORTION_SIZE
from distilbert_core.pipelines.scores import best, sigmoid, softmax
from distilbert_core.pipelines.text_classification import label_scores
from distilbert_core.pipelines.token_classification import _groups, _without_overlaps
from support.fake_inference import TOKENIZER, FakeInference, make

SENTENCES = [
    " ".join(["word", "naïve", "東京", "unaffable", "[MASK]"][: 1 + i % 5] * (1 + i * 7 % 11)) for i in range(40)
]
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


def test_inputs_are_read_as_results_are_asked_for():
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
def test_what_only_looks_like_many_inputs(inputs):
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


def test_texts_are_cut_to_what_the_model_can_take():
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
def test_what_is_cut_is_said(task):
    """Once in a call, and not where it was asked for; what is refused is named."""
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


def test_no_text_is_cut_where_it_is_read_in_windows():
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
def test_no_answer_is_made_from_what_is_not_finite(task, number):
    answer, value = make(task, OPTIONS.get(task)), INPUTS[task][2]
    answer(value)
    answer.inference = Broken(answer.head)
    answer.inference.number = number
    with pytest.raises(InputError, match=r"of '.*word na.*' must be finite, but the model gives NaN or infinity"):
        answer(value)


@pytest.mark.parametrize(
    ("config", "function", "expected"),
    [
        ({}, "softmax", [0.25, 0.75]),
        ({}, None, [0.25, 0.75]),
        ({}, "sigmoid", [0.5, 0.75]),
        ({"problem_type": "multi_label_classification"}, None, [0.5, 0.75]),
        ({"num_labels": 1}, None, [0.5, 0.75]),
        ({"problem_type": "regression"}, None, [0.0, np.log(3)]),
        ({"problem_type": "regression", "num_labels": 1}, "sigmoid", [0.5, 0.75]),
        ({}, "none", [0.0, np.log(3)]),
    ],
)
def test_what_logits_mean(config, function, expected):
    scores = label_scores(DistilBertConfig(**config), np.array([0.0, np.log(3)]), function)
    np.testing.assert_allclose(scores, expected, rtol=1e-15)  # measured: 2.2e-16


def test_scores_of_extreme_logits():
    logits = np.array([[-1e4, 0.0, 1e4]], np.float32)
    np.testing.assert_array_equal(softmax(logits), [[0, 0, 1]])
    np.testing.assert_array_equal(sigmoid(logits), [[0, 0.5, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("how_many", [1, 2, 49, 50, 51, None])
def test_best_scores(size, how_many):
    scores = np.random.default_rng(size).permutation(size) / 7
    np.testing.assert_array_equal(best(scores, how_many), np.argsort(-scores)[:how_many])


def test_of_equal_scores_the_first_comes_first():
    np.testing.assert_array_equal(best(np.array([1.0, 3.0, 1.0, 3.0, 1.0]), None), [1, 3, 0, 2, 4])


def test_pooling():
    extract = make("feature-extraction")
    (vectors,) = extract("naïve 東京")  # [T, 4]
    vectors, ids = np.array(vectors), TOKENIZER("naïve 東京")["input_ids"]
    np.testing.assert_array_equal(vectors, np.sin(np.array(ids)[:, None] * [1, 2, 3, 4]))
    mean = vectors.mean(axis=0)
    for pooling, expected in {"mean": mean, "cls": vectors[0]}.items():
        np.testing.assert_allclose(extract("naïve 東京", pooling=pooling, normalize=False), expected, rtol=1e-15)
        unit = expected / np.sqrt(np.sum(expected**2))
        np.testing.assert_allclose(extract("naïve 東京", pooling=pooling), unit, rtol=1e-15)  # measured: 1.1e-16


@pytest.mark.parametrize("options", [{"normalize": True}, {"normalize": True, "pooling": None}])
def test_only_a_pooled_vector_can_have_length_1(options):
    with pytest.raises(InputError, match=r"^normalize needs pooling, which must be one of mean, cls, got None\.$"):
        make("feature-extraction")("a", **options)


def test_targets_that_are_no_tokens():
    answer = make("fill-mask")
    with pytest.warns(InputWarning, match="'unaffable' is not a token; 'una' stands for it"):
        candidates = answer(MASKED[0], targets=["unaffable", "good"])
    assert {candidate["token_str"] for candidate in candidates} == {"una", "good"}
    with (
        pytest.warns(InputWarning, match="' ' has no tokens; it is left out"),
        pytest.raises(InputError, match="at least one token"),
    ):
        answer(MASKED[0], targets=" ")


# Names of classes, and what the answers call them.
ODD_NAMES = {
    "several classes of one name": ({0: "bad", 1: "bad", 2: "good"}, ["bad", "bad", "good"]),
    "a gap": ({0: "bad", 2: "good", 3: "none"}, ["bad", "LABEL_1", "good"]),
}


def with_names(task, names):
    with pytest.warns(ConfigWarning):
        config = DistilBertConfig.from_dict({"id2label": names})
    answer = make(task)
    answer.inference.fake_config = config
    return answer


@pytest.mark.parametrize(("names", "expected"), ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_names_of_classes(names, expected):
    """Each class has an answer, in the order of the scores, under its own name."""
    classify, text = with_names("text-classification", names), "naïve 東京"
    logits = np.sin(np.array(TOKENIZER(text)["input_ids"])[:, None] * [1, 2, 3]).sum(axis=0)
    order = np.argsort(-logits)
    answers = classify([text], top_k=None)[0]
    assert [answer["label"] for answer in answers] == [expected[i] for i in order]
    np.testing.assert_allclose([answer["score"] for answer in answers], softmax(logits)[order], rtol=1e-12)

    tag = with_names("token-classification", names)
    logits = np.sin(np.array(TOKENIZER(text)["input_ids"])[1:-1, None] * [1, 2, 3])
    for strategy, label in (("none", "entity"), ("first", "entity_group")):
        entities = tag(text, aggregation_strategy=strategy, ignore_labels=[])
        best_names = [expected[i] for i in logits.argmax(axis=1)]
        assert [entity[label] for entity in entities] == [
            name for i, name in enumerate(best_names) if strategy == "none" or i == 0 or name != best_names[i - 1]
        ]


def test_scores_of_all_labels_by_index():
    classify = make("text-classification", num_labels=5)
    texts = SENTENCES[:7]
    for text, scores in zip(texts, classify.stream_scores(texts, function_to_apply="sigmoid"), strict=True):
        by_label = {
            answer["label"]: answer["score"] for answer in classify([text], top_k=None, function_to_apply="sigmoid")[0]
        }
        assert scores.tolist() == [by_label[f"LABEL_{i}"] for i in range(5)]
    with pytest.raises(TypeError, match=r"top_k. stream_scores gives the scores of all labels"):
        classify.stream_scores(texts, top_k=2)


def test_labels_that_are_ignored():
    tag = make("token-classification", id2label={0: "O", 1: "B-PER", 2: "I-PER", 3: "", 4: "LOC"})
    text, names = SENTENCES[4], ["O", "B-PER", "I-PER", "", "LOC"]
    found = {entity["entity"] for entity in tag(text, ignore_labels=())}
    assert found <= set(names)
    assert {"", "O", "I-PER"} <= found
    assert {entity["entity"] for entity in tag(text, ignore_labels=["O", ""])} == found - {"O", ""}
    with pytest.raises(InputError, match=r"^ignore_labels must be a list of labels, got \[0\]\.$"):
        tag(text, ignore_labels=[0])
    with pytest.raises(InputError, match=r"^ignore_labels must be a list of labels, got <generator"):
        tag(text, ignore_labels=(name for name in names))  # checking it would leave nothing of it
    with pytest.warns(
        InputWarning, match=r"^ignore_labels has 'PER', 'X', which .*='none', labels are O, B-PER, I-PER, "
    ):
        tag(text, ignore_labels=["PER", "X", "LOC"])
    with pytest.warns(
        InputWarning, match=r"^ignore_labels has 'B-PER', which .*='simple', labels are O, PER, , LOC\.$"
    ):
        tag(text, ignore_labels=["B-PER", "O"], aggregation_strategy="simple")
    assert "PER" not in {
        entity["entity_group"] for entity in tag(text, ignore_labels=["PER"], aggregation_strategy="simple")
    }


QUESTION = {"question": "Who is it?", "context": "It is the old keeper, said Zoë."}


class Certain(FakeInference):
    """Sure that the answer is from one word to another, wherever they stand; keeps the ids that it gets."""

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


def test_long_questions_are_cut_on_request():
    ask = certain()
    long = {"question": "Who is " * 300, "context": QUESTION["context"]}
    with pytest.raises(InputError, match=r"leaves room for 0 tokens .*; give max_question_len"):
        ask(long)
    assert ask(long, max_question_len=10)["answer"] == "old keeper"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], []),
        (["B-A", "I-A", "I-A"], ["B-A I-A I-A"]),
        (["I-A", "B-A", "B-A"], ["I-A", "B-A", "B-A"]),
        (["I-A", "I-B", "A", "I-A"], ["I-A", "I-B", "A I-A"]),
        (["O", "O", "B-O"], ["O O", "B-O"]),
    ],
)
def test_groups_of_labels(labels, expected):
    groups = _groups({"entity": label} for label in labels)
    assert [" ".join(entity["entity"] for entity in group) for group in groups] == expected


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(0, 3, 0.5), (3, 5, 0.5)], [(0, 3), (3, 5)]),
        ([(0, 3, 0.9), (1, 6, 0.1), (5, 7, 0.9)], [(1, 6)]),  # the longer one
        ([(2, 4, 0.1), (1, 3, 0.2)], [(1, 3)]),
        ([(1, 3, 0.2), (2, 4, 0.2)], [(1, 3)]),
        ([(1, 3, 0.1), (2, 4, 0.2)], [(2, 4)]),  # of equally long ones the more certain one
    ],
)
def test_overlapping_entities(spans, expected):
    kept = _without_overlaps({"start": start, "end": end, "score": score} for start, end, score in spans)
    assert [(entity["start"], entity["end"]) for entity in kept] == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("wanted", "streaming", "err_is_terminal", "out_is_terminal", "expected"),
    [
        (True, False, False, False, 0.0),
        (False, False, True, False, None),
        (None, False, False, True, None),
        (None, False, True, True, 2.0),
        (None, True, True, False, 2.0),
        (None, True, True, True, None),  # whoever prints results there would be disturbed
    ],
)
def test_when_a_progress_bar_appears(monkeypatch, wanted, streaming, err_is_terminal, out_is_terminal, expected):
    monkeypatch.setattr(sys, "stderr", Terminal() if err_is_terminal else io.StringIO())
    monkeypatch.setattr(sys, "stdout", Terminal() if out_is_terminal else io.StringIO())
    assert bar_delay(wanted, streaming) == expected


def test_progress_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    make("feature-extraction", {"progress": True})(SENTENCES)
    assert "40/40" in sys.stderr.getvalue()
    list(make("feature-extraction", {"progress": True}).stream(iter(SENTENCES)))
    assert "40 inputs" in sys.stderr.getvalue()


@pytest.mark.parametrize("delay", [None, 1000.0])
def test_no_progress_bar_on_short_work(monkeypatch, delay):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(3, delay) as advance:
        advance(3)
    assert sys.stderr.getvalue() == ""


def test_unknown_task():
    with pytest.raises(InputError, match=f"task must be one of .*{next(iter(ALIASES))}.*, got 'translation'"):
        pipeline("translation")


@pytest.fixture
def loads(monkeypatch):
    """What `pipeline` loads: (framework, head, source, keywords) of each inference object, and tokenizers' keywords."""
    seen = {"models": [], "tokenizers": []}

    def load_inference(framework, head, source, **kwargs):
        seen["models"].append((framework, head, source, kwargs))
        return FakeInference(head)

    def from_pretrained(source, **kwargs):
        seen["tokenizers"].append((source, kwargs))
        return TOKENIZER

    monkeypatch.setattr("distilbert_core.pipelines.load_inference", load_inference)
    monkeypatch.setattr(DistilBertTokenizerFast, "from_pretrained", from_pretrained)
    return seen


def test_the_configuration_is_read_once(loads, tmp_path):
    """So that there is one warning of it."""
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", "1": "a"}}))
    with pytest.warns(ConfigWarning) as warned:
        pipeline("text-classification", tmp_path, framework="pt")
    assert len(warned) == 1
    ((*_, kwargs),) = loads["models"]
    assert kwargs["config"].id2label == {0: "a", 1: "a"}


def test_where_to_look_for_a_tokenizer(loads):
    where = {"token": "secret", "local_files_only": True}
    of_the_model = {"revision": "main", "subfolder": ""}
    pipeline("text-classification", DEFAULT_MODEL, framework="pt", **where, **of_the_model)
    pipeline("text-classification", DEFAULT_MODEL, tokenizer="another", framework="pt", **where, **of_the_model)
    assert loads["tokenizers"] == [(DEFAULT_MODEL, where | of_the_model), ("another", where)]


def test_unknown_framework():
    with pytest.raises(InputError, match="framework must be one of pt, tf, flax, onnx, openvino, got 'mxnet'"):
        pipeline("ner", framework="mxnet")


def test_no_framework(monkeypatch):
    monkeypatch.setattr("distilbert_core.model.backends.available_backends", list)
    with pytest.raises(BackendNotInstalledError, match=r'No backend is installed.*pip install "distilbert\[pt\]"'):
        pipeline("text-classification")


def test_unknown_keyword():
    with pytest.raises(TypeError, match=r"Unknown keyword argument.*: num_labels, pooling"):
        pipeline("text-classification", pooling="mean", num_labels=3, framework="pt")


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "question-answering", "multiple-choice"])
def test_checkpoint_of_another_task(task):
    usable = "for text-classification, feature-extraction, zero-shot-classification"
    with pytest.raises(
        CheckpointError, match=f"sst2-tiny is a .*SequenceClassification, which {task} cannot.*{usable}"
    ):
        pipeline(task, DEFAULT_MODEL, framework="pt")


def test_no_such_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        pipeline("feature-extraction", tmp_path / "nowhere", framework="pt")
