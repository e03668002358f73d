"""Options of pipelines: in constructors and calls, older names, inputs in several forms, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.pipeline_cases import STORY

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizer, Head, InputError, InputWarning
from distilbert_core.compatibility import PIPELINES
from distilbert_core.model.inference import has_own_call
from distilbert_core.pipelines import (
    PIPELINE_CLASSES,
    AggregationStrategy,
    KeyDataset,
    KeyPairDataset,
    QuestionAnsweringPipeline,
    TextClassificationPipeline,
    pipeline,
)
from support.fake_inference import TOKENIZER, FakeInference, make

WORDS = ["Ada", "Lovelace", "unaffable", "東京"]
LABELS = {"candidate_labels": ["a", "b"]}


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_every_option_holds_in_the_constructor_and_in_a_call(task):
    """None leaves out what has a default of its own."""
    for name, option in PIPELINE_CLASSES[task].option_table.items():
        given = {name: option.default}
        of_pipeline, of_call = make(task, given).with_defaults({}), make(task).with_defaults(given)
        assert of_pipeline.keys() == of_call.keys()
        for merged in (of_pipeline, of_call, make(task).with_defaults({} if option.takes_none else {name: None})):
            assert merged == make(task).with_defaults({})


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_options_without_effect_are_accepted_and_others_are_refused(task):
    own = PIPELINE_CLASSES[task].option_table
    for name, accepted in PIPELINES.items():
        if name in own:
            continue
        for value in accepted.values or (True, "anything"):
            make(task, {name: value})
        if accepted.values is not None:
            with pytest.raises(TypeError, match=f"^{name} must be .*, got 'something'"):
                make(task, {name: "something"})


OLDER = [  # task, older option, what it stands for, the warning
    ("text-classification", {"return_all_scores": False}, {"top_k": ""}, "return_all_scores is deprecated"),
    ("token-classification", {"grouped_entities": True}, {"aggregation_strategy": "simple"}, "grouped_entities and"),
    ("token-classification", {"grouped_entities": False}, {"aggregation_strategy": "none"}, "grouped_entities and"),
    (
        "token-classification",
        {"grouped_entities": True, "ignore_subwords": True},
        {"aggregation_strategy": AggregationStrategy.FIRST},
        "grouped_entities and",
    ),
    ("token-classification", {"grouped_entities": None}, {}, None),
    ("question-answering", {"topk": 3}, {"top_k": 3}, None),
    ("zero-shot-classification", {"multi_class": True}, {"multi_label": True}, None),
    ("fill-mask", {"tokenizer_kwargs": {"max_length": 9}}, {"max_length": 9}, None),
    ("feature-extraction", {"tokenize_kwargs": {"truncation": True}}, {"truncation": True}, None),
]


@pytest.mark.filterwarnings("ignore:.* deprecated:UserWarning")
@pytest.mark.parametrize(("task", "older", "present", "message"), OLDER)
def test_older_options(task, older, present, message):
    assert make(task, older).with_defaults({}) == make(task).with_defaults(older) == make(task).with_defaults(present)
    if message:
        with pytest.warns(UserWarning, match=message) as warned:
            make(task, older)
        assert warned[0].filename == make.__code__.co_filename  # where the pipeline was made


def test_all_scores_in_the_order_of_the_labels():
    classify = make("text-classification", num_labels=5)
    with pytest.warns(UserWarning, match="give top_k=None"):
        ((all_scores,),) = [classify("naïve 東京", return_all_scores=True)]
    assert [answer["label"] for answer in all_scores] == [f"LABEL_{i}" for i in range(5)]
    assert sorted(all_scores, key=lambda answer: -answer["score"]) == classify("naïve 東京", top_k=None)


REFUSED = [
    ("text-classification", {"max_length": 513}, "max_length must be at most the model's 512, got 513"),
    ("text-classification", {"max_length": 0}, "max_length must be a positive integer, got 0"),
    ("text-classification", {"top_k": "all"}, "top_k must be a positive integer, got 'all'"),
    ("fill-mask", {"tokenizer_kwargs": {"stride": 3}}, "tokenizer_kwargs must have options of .*, got stride"),
    ("fill-mask", {"tokenizer_kwargs": 3}, "tokenizer_kwargs must be a dict of options of the tokenizer, got 3"),
    (
        "feature-extraction",
        {"tokenize_kwargs": {"truncation": True}, "truncation": True},
        "tokenize_kwargs has truncation, which is given beside it too; give it once",
    ),
    ("feature-extraction", {"return_tensors": "mx"}, "return_tensors must be one of True, False, np, .*got 'mx'"),
    ("zero-shot-classification", {"candidate_labels": []}, "candidate_labels must be a list of texts, .*at least one"),
    ("zero-shot-classification", {"candidate_labels": ["a", 3]}, r"candidate_labels must be .*got \['a', 3\]"),
    ("zero-shot-classification", {"candidate_labels": " , "}, "candidate_labels must be .*got ' , '"),
    ("zero-shot-classification", {"hypothesis_template": "It is."}, "hypothesis_template must have {} .*got 'It is.'"),
    ("zero-shot-classification", {"hypothesis_template": "{a}"}, "hypothesis_template must have {} .*got '{a}'"),
    ("token-classification", {"delimiter": 3}, "delimiter must be a text, got 3"),
]


@pytest.mark.parametrize(("task", "options", "message"), REFUSED)
def test_impossible_options(task, options, message):
    for refused in (lambda: make(task, options), lambda: make(task).stream(["a"], **options)):
        with pytest.raises(InputError, match=message):
            refused()


def test_most_tokens_of_a_call():
    extract = make("feature-extraction")
    assert np.shape(extract(STORY, truncation=True, max_length=7)) == (1, 7, 4)
    assert extract(STORY, tokenize_kwargs={"truncation": True, "max_length": 7}) == extract(
        STORY, truncation=True, max_length=7
    )
    with pytest.warns(InputWarning, match=r"has more than 7 tokens\. The rest is not read"):
        extract("A text of more than seven tokens, which is cut.", max_length=7)
    with pytest.raises(InputError, match="has 632 tokens, more than"):
        extract(STORY, truncation="do_not_truncate")


def test_only_the_first_of_a_pair_is_cut():
    classify = make("text-classification")
    assert classify([(STORY, "no")], truncation="only_first", max_length=9) == classify(
        [("On day 0 keeper number", "no")]
    )


def test_tokens_without_special_ones():
    extract = make("feature-extraction", {"add_special_tokens": False})
    assert np.shape(extract("a b c")) == (1, 3, 4)
    with pytest.raises(InputError, match=r"'' has no tokens; leave out add_special_tokens=False"):
        extract("")


def test_vectors_in_several_forms():
    extract = make("feature-extraction")
    lists, array = extract("naïve 東京"), extract("naïve 東京", return_tensors="np")
    assert isinstance(lists[0][0][0], float)
    np.testing.assert_array_equal(array, lists)
    assert isinstance(extract("a", return_tensors=True), np.ndarray)  # of a model that no framework runs
    padded = extract("naïve 東京", padding="max_length", max_length=9, return_tensors="np")
    assert padded.shape == (1, 9, 4)
    np.testing.assert_array_equal(padded[:, : array.shape[1]], array)
    assert not padded[:, array.shape[1] :].any()


ENTITIES = {"id2label": dict(enumerate(["O", "B-PER", "I-PER"]))}


@pytest.mark.parametrize("tokenizer", [TOKENIZER, DistilBertTokenizer.from_pretrained(DEFAULT_MODEL)])
@pytest.mark.parametrize("strategy", AggregationStrategy)
def test_entities_of_words(tokenizer, strategy):
    """The answers of the text that the words make."""
    tag = make("token-classification", {"aggregation_strategy": strategy, "ignore_labels": []}, **ENTITIES)
    tag.tokenizer = tokenizer
    expected = tag(" ".join(WORDS))
    assert tag(WORDS, is_split_into_words=True) == expected
    assert tag([WORDS, WORDS[:1]], is_split_into_words=True) == [expected, tag("Ada")]
    assert list(tag.stream(iter([WORDS]), is_split_into_words=True)) == [expected]
    text = "--".join(WORDS)
    apart = tag(WORDS, is_split_into_words=True, delimiter="--")
    assert [entity["word"] for entity in apart] == [entity["word"] for entity in expected]
    assert text[apart[0]["start"] : apart[-1]["end"]] == text
    assert text[apart[-1]["start"] : apart[-1]["end"]].endswith("京")


def test_entities_of_words_in_windows():
    options = {"aggregation_strategy": "simple", "ignore_labels": [], "stride": 3}
    tag = make("token-classification", options, max_position_embeddings=16, **ENTITIES)
    words = WORDS * 9
    assert tag(words, is_split_into_words=True) == tag(" ".join(words))


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        ([["Ada", 3]], {"is_split_into_words": True}, r"takes a list of words, got \['Ada', 3\]"),
        (
            "Ada",
            {"is_split_into_words": True},
            "With is_split_into_words=True token-classification takes a list of words",
        ),
        ([["Ada"]], {}, r"takes a text, got \['Ada'\]; give is_split_into_words=True for words"),
    ],
)
def test_impossible_words(value, options, message):
    with pytest.raises(InputError, match=message):
        make("token-classification")(value, **options)


ROW = {"id": "7", "question": "Who?", "context": "It is the old keeper.", "answers": {"text": ["keeper"]}}


class Example:
    question_text, context_text = ROW["question"], ROW["context"]


def test_questions_in_several_forms():
    ask = make("question-answering")
    question, context = ROW["question"], ROW["context"]
    expected = ask({"question": question, "context": context})
    for found in (
        ask(question=question, context=context),
        ask(question, context),
        ask(ROW),
        ask([ROW]),
        ask(data=ROW),
        ask(Example()),
        ask(QuestionAnsweringPipeline.create_sample(question, context)),
        *ask([ROW, ROW]),
        *ask(ROW, ROW),
        *ask(X=[ROW, ROW]),
        *ask(question=[question, question], context=context),
        *ask(question=question, context=[context, context]),
        *ask({"question": [question, question], "context": [context, context]}),
        *ask(row for row in [ROW]),
        *ask.stream([ROW]),
    ):
        assert found == expected


@pytest.mark.parametrize(
    ("inputs", "named", "error", "message"),
    [
        ((), {}, InputError, "Give question: a text, or a list of texts; got question=None, context=None"),
        ((), {"question": "a"}, InputError, "Give context: .*got question='a', context=None"),
        (
            (),
            {"question": ["a", "b"], "context": ["c"]},
            InputError,
            "question and context must be lists of one length, got 2 and 1",
        ),
        ((ROW,), {"question": "a", "context": "b"}, TypeError, "Give inputs, or question and context, not both"),
        (({"question": ["a", 3], "context": "b"},), {}, InputError, "the texts 'question' and 'context', got .*3"),
        ((object(),), {}, InputError, "takes a dict with the texts 'question' and 'context'"),
    ],
)
def test_impossible_questions(inputs, named, error, message):
    with pytest.raises(error, match=message):
        make("question-answering")(*inputs, **named)


def test_data_sets_that_are_indexed():
    class Rows:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index >= 3:
                raise AssertionError("beyond its end")
            return {"text": f"text {index}", "other": "b"}

    classify = make("text-classification", {"progress": True})
    texts = [f"text {i}" for i in range(3)]
    assert list(classify(KeyDataset(Rows(), "text"))) == classify(texts)
    assert list(classify.stream(KeyPairDataset(Rows(), "text", "other"))) == classify([(text, "b") for text in texts])


def test_labels_chosen_at_a_call():
    labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
    choose = make("zero-shot-classification", LABELS, id2label=labels)
    found = choose("A text.", "b, a,")
    assert sorted(found["labels"]) == ["a", "b"]
    assert found == choose("A text.") == choose("A text.", ["b", "a"]) == choose(sequences="A text.")
    assert sum(found["scores"]) == pytest.approx(1, abs=1e-12)
    logits = [
        np.sin(np.array(TOKENIZER("A text.", f"This example is {label}.")["input_ids"])[:, None] * [1, 2, 3]).sum(
            axis=0
        )
        for label in ("a", "b")
    ]
    both = choose("A text.", multi_label=True)
    for label, (against, _, entailed) in zip("ab", logits, strict=True):
        score = both["scores"][both["labels"].index(label)]
        assert score == pytest.approx(1 / (1 + np.exp(against - entailed)), rel=1e-12)


def test_labels_without_entailment():
    with pytest.warns(InputWarning, match=r"No label of this model begins with 'entail' \(LABEL_0, LABEL_1\)"):
        choose = PIPELINE_CLASSES["zero-shot-classification"](FakeInference(Head.SEQUENCE_CLASSIFICATION), TOKENIZER)
    assert choose.entailment_id == -1
    with pytest.raises(TypeError, match="zero-shot-classification needs candidate_labels"):
        choose("A text.")
    with pytest.raises(InputError, match="takes a text that is not empty"):
        choose("", "a")


@pytest.mark.parametrize("name", ["_sanitize_parameters", "preprocess", "_forward", "postprocess"])
def test_steps_that_a_class_would_define_in_vain(name):
    with pytest.raises(TypeError, match=f"^Mine.{name} would not be called. "):
        type("Mine", (TextClassificationPipeline,), {name: lambda self, value: value})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, "Give task or model; got neither"),
        ({"task": "ner", "config": TOKENIZER}, InputError, "config must be a configuration.*give tokenizer="),
        ({"task": "ner", "device": 0, "device_map": "auto"}, InputError, "Give device or device_map, not both"),
        (
            {"task": "ner", "torch_dtype": "float16", "model_kwargs": {"dtype": "float32"}},
            InputError,
            "dtype is given in several ways: 'float16', 'float32'; give it once",
        ),
        (
            {"task": "ner", "model": object()},
            InputError,
            "model must be a model of this package, .*got builtins.object",
        ),
        (
            {"task": "ner", "framework": "pt", "feature_extractor": "x"},
            TypeError,
            "feature_extractor must be None, got 'x'",
        ),
        (
            {"task": "ner", "tokenizer": 3, "model": FakeInference(Head.BASE)},
            InputError,
            "tokenizer must be .*builtins.int",
        ),
    ],
)
def test_impossible_arguments_of_pipeline(arguments, error, message):
    with pytest.raises(error, match=message):
        pipeline(**arguments)


def test_a_configuration_that_names_no_head(tmp_path):
    DistilBertConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"Give task, one of text-classification, .*: the model does not say"):
        pipeline(model=tmp_path, framework="pt")


def test_numbers_of_devices():
    class OnTwo(FakeInference):
        @classmethod
        def accelerators(cls):
            return ["first", "second"]

    assert [OnTwo.find_device(device) for device in (-1, 0, 1, "gpu", None)] == ["cpu", "first", "second", "gpu", None]
    with pytest.raises(InputError, match="device must be below 2, the number of accelerators here, got 2"):
        OnTwo.find_device(2)
    with pytest.warns(InputWarning, match="device=0: no accelerator was found; the CPU is used"):
        assert FakeInference.find_device(0) == "cpu"


def test_whose_call_it_is():
    ours = type("Model", (), {"forward": None, "__module__": "distilbert_pt.heads"})
    plain = type("Mine", (ours,), {"other": None})
    own = type("Mine", (ours,), {"forward": None})
    assert [has_own_call(cls()) for cls in (ours, plain, own, type("Mine", (own,), {}))] == [False, False, True, True]
