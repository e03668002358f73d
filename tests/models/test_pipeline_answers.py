"""The pipelines give the answers of Transformers 4.53.3, from the fixture of tests/oracle; answers on real weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from oracle.pipeline_calls import CALLS, results_of_calls
from oracle.pipeline_cases import CASES, FILE_NAME, NAMES, QUESTION, SHORT_QUESTION, STORY, TEXTS, largest_difference

from distilbert_core import DEFAULT_MODEL, CheckpointError, ConfigWarning, DistilBertTokenizer, Head
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.model.loading import load_inference
from distilbert_core.pipelines import PIPELINE_CLASSES, KeyDataset, pipeline
from support.checkpoints import save_random, small_config
from support.paths import FIXTURES
from support.pipelines import VOCAB, load, write_checkpoint

EXPECTED = json.loads((FIXTURES / "oracle" / FILE_NAME).read_text())
# Both sides are float32. Measured: PyTorch 2.6e-6, Keras 3.2e-6, Flax 3.5e-6.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture
def ask(framework, root):
    """Load the pipeline of a task on one of the seeded checkpoints."""
    return lambda task, checkpoint: load(task, write_checkpoint(checkpoint, root), framework.name)


def test_fixture_is_complete():
    calls = [f"{checkpoint}: {call}" for checkpoint, (_, calls) in CALLS.items() for call in calls]
    assert {*(case.name for case in CASES), *calls} == EXPECTED.keys()
    assert {case.task for case in CASES} == PIPELINE_CLASSES.keys()


# Transformers cuts without a word.
cuts = pytest.mark.filterwarnings("ignore:.* tokens. The rest is not read:distilbert_core.InputWarning")


@cuts
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_equal_those_of_transformers(ask, case):
    answers = ask(case.task, case.checkpoint)(case.inputs, **case.options)
    assert largest_difference(answers, EXPECTED[case.name]) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:.*(is deprecated|are deprecated)")
@pytest.mark.parametrize("checkpoint", CALLS)
def test_calls_as_scripts_for_transformers_have_them(ask, checkpoint):
    """Results have the same shape as there, also from pipelines made of a model and a tokenizer."""
    pipe = ask(CALLS[checkpoint][0], checkpoint)

    def make(**options):
        if "framework" in options:
            options["framework"] = pipe.framework
        return type(pipe)(model=pipe.model, tokenizer=pipe.tokenizer, **options)

    for call, found in results_of_calls(checkpoint, pipe, make, KeyDataset).items():
        assert largest_difference(found, EXPECTED[call], call) <= TOLERANCE


# The first case of each task.
FIRST_CASES = list({case.task: case for case in reversed(CASES)}.values())


@cuts
@pytest.mark.parametrize("case", FIRST_CASES, ids=lambda case: case.name)
def test_an_input_by_itself_has_the_same_answer(ask, case):
    answer = ask(case.task, case.checkpoint)
    for value, expected in list(zip(case.inputs, EXPECTED[case.name], strict=True))[:3]:
        (alone,) = answer.stream([value], **case.options)
        assert largest_difference(alone, expected) <= TOLERANCE


def test_answers_of_a_slow_tokenizer(ask, root):
    for task, checkpoint, inputs, options in [
        ("token-classification", "short_entities", NAMES, {"aggregation_strategy": "average", "stride": 5}),
        ("question-answering", "short_answers", [QUESTION, SHORT_QUESTION], {"top_k": 3}),
    ]:
        fast = ask(task, checkpoint)
        slow = type(fast)(fast.model, DistilBertTokenizer.from_pretrained(root / checkpoint))
        expected = fast(inputs, **options)
        assert expected[0]
        assert largest_difference(slow(inputs, **options), expected) <= 1e-9  # measured: 0.0


def test_offsets_are_places_in_the_original_text(ask):
    tag, answer = ask("token-classification", "entities"), ask("question-answering", "answers")
    words = {text[e["start"] : e["end"]] for text in NAMES for e in tag(text, ignore_labels=[])}
    assert {"Zoë", "José", "São", "東", "京", "😀", "…"} <= words
    found = answer(SHORT_QUESTION, top_k=200, max_answer_len=3)
    assert all(SHORT_QUESTION["context"][a["start"] : a["end"]] == a["answer"] for a in found)
    assert {"Zoë 😀", "東", "京", "Étienne"} <= {a["answer"] for a in found}


def test_pooled_vectors(ask):
    extract = ask("feature-extraction", "vectors")
    texts = [*TEXTS, STORY]
    sides = (extract(texts, truncation=True, pooling=pooling, return_tensors="np") for pooling in ("mean", None))
    for pooled, (vectors,) in zip(*sides, strict=True):
        mean = vectors.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(pooled, mean / np.linalg.norm(mean), rtol=0, atol=1e-7)  # measured: 2.8e-8
        assert pooled.dtype == vectors.dtype == np.float32
        assert np.linalg.norm(pooled) == pytest.approx(1, abs=1e-6)


def test_embedded_model(framework):
    classify = pipeline("sentiment-analysis", framework=framework.name, tokenizer=DEFAULT_MODEL, device="cpu")
    assert classify.framework == framework.name
    answers = classify(["A delight from start to finish.", ("It was long.", "It was dull.")])
    assert [answer["label"] for answer in answers] == ["POSITIVE", "NEGATIVE"]
    assert all(answer["score"] > 0.9 for answer in answers)


def test_vectors_of_any_checkpoint(framework):
    """A base model under another head: nothing is missing, and unused parameters give no warning."""
    extract = pipeline("feature-extraction", DEFAULT_MODEL, framework=framework.name)
    assert np.shape(extract("one")) == (1, 3, extract.config.dim)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_dtypes(framework, dtype):
    extract = pipeline("feature-extraction", DEFAULT_MODEL, framework=framework.name, dtype=dtype)
    reference = pipeline("feature-extraction", DEFAULT_MODEL, framework=framework.name)
    vector = extract("A quiet film.", pooling="mean")
    assert vector.dtype == {"float64": np.float64, "bfloat16": np.float32}[dtype]
    error = np.abs(vector - reference("A quiet film.", pooling="mean")).max()
    assert 0 < error <= {"float64": 2e-7, "bfloat16": 1e-2}[dtype]  # measured: 5.9e-8, 2.9e-3


@pytest.mark.parametrize("head", [head for head in Head if head is not Head.BASE])
def test_a_checkpoint_without_the_head_is_refused(framework, tmp_path, head):
    config = small_config()
    save_random(tmp_path, config, Head.BASE)
    with pytest.raises(CheckpointError, match=f"has no weights for .*{head.value}: it lacks .*weight.*train one"):
        load_inference(framework.name, head, tmp_path)


def test_a_head_of_the_same_shape_is_refused(framework, tmp_path):
    """A classifier of tokens fits one of texts: only the configuration tells them apart."""
    config = small_config(vocab_size=30522, architectures=[Head.SEQUENCE_CLASSIFICATION.architecture])
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    assert pipeline("text-classification", tmp_path, framework=framework.name)("yes")
    with pytest.raises(CheckpointError, match="which token-classification cannot use"):
        pipeline("token-classification", tmp_path, framework=framework.name)


def test_odd_names_of_classes(framework, root, tmp_path):
    """Classes with one name, and one without: the scores of the same weights under other names, and one warning."""
    for checkpoint, task, options in [
        ("moods", "text-classification", {"top_k": None}),
        ("entities", "token-classification", {"ignore_labels": []}),
    ]:
        folder = write_checkpoint(checkpoint, root)
        odd = tmp_path / checkpoint
        odd.mkdir()
        for name in ("model.safetensors", "vocab.txt"):
            shutil.copy(folder / name, odd / name)
        fields = json.loads((folder / "config.json").read_text())
        fields["id2label"] = {"0": "calm", "1": "calm", "2": "wild", "4": "odd", "6": "none"}
        (odd / "config.json").write_text(json.dumps(fields))
        with pytest.warns(ConfigWarning, match=r"calm', 'calm', 'wild', 'LABEL_3', 'odd'\]") as warned:
            answer = pipeline(task, odd, framework=framework.name)
        assert len(warned) == 1
        plain = load(task, folder, framework.name)
        names = {plain.config.id2label[i]: answer.config.label_name(i) for i in range(5)}
        field = "label" if "top_k" in options else "entity"
        for text in TEXTS:
            expected = [{**row, field: names[row[field]]} for row in plain([text], **options)[0]]
            assert answer([text], **options)[0] == expected


def test_outputs_that_the_configuration_asks_for_do_not_matter(framework, tmp_path):
    fields = json.loads((EMBEDDED_MODELS / DEFAULT_MODEL / "config.json").read_text())
    for name in ("model.safetensors", "vocab.txt"):
        shutil.copy(EMBEDDED_MODELS / DEFAULT_MODEL / name, tmp_path / name)
    fields |= {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (answer,) = pipeline("text-classification", tmp_path, framework=framework.name)("Wonderful!")
    assert answer["label"] == "POSITIVE"
