"""Distillation: the losses, the order of the steps, and the files of a run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_core.model.loading import load_inference
from distilbert_core.training.distillation import DistillationRecipe, distill, load_distiller
from distilbert_core.training.distillation.cache import TeacherCache
from distilbert_core.training.distillation.objective import HIDDEN_PROJECTION, PROJECTION
from distilbert_core.training.distillation.recipe import TERMS
from support.checkpoints import SIZES, save_random, small_config, training_inputs
from support.comparison import assert_close
from support.reference import base_model, dense, log_softmax
from weight_conversion import open_weights

LM, CLASSIFIER = Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION
WIDER = {"dim": 21, "n_layers": 2}  # of the teacher
NUMBERS = {"learning_rate": 1e-2, "warmup": 0, "epsilon": 1e-3, "dropout": 0.0, "squared_error_weight": 0.25}
OF_LAYERS = {"hidden_weight": 0.5, "relation_weight": 2.0, "relation_heads": 3}  # of all layers, and of the last one


@pytest.fixture
def pair(tmp_path):
    """Folders of a student and a teacher."""

    def make(head, **changes):
        save_random(tmp_path / "student", small_config(n_layers=1), head, seed=1)
        save_random(tmp_path / "teacher", small_config(**changes), head, seed=2)
        return tmp_path / "student", tmp_path / "teacher"

    return make


TEXTS = ["A lovely film.", "Two hours too long.", "Warm and funny!", "Dull", "What a waste.", "I laughed and I cried.",
         "Not for me, thank you.", "See it twice."]  # fmt: skip


@pytest.fixture
def from_files(framework, tmp_path):
    """Folders of a student and a teacher with tokenizers, and a file of texts with the teacher's labels."""
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    labels = {"num_labels": 2, "id2label": {0: "bad", 1: "good"}}
    config = small_config(n_layers=1, vocab_size=len(tokenizer), dropout=0.1, **labels)
    for seed, name in enumerate(("student", "teacher")):
        save_random(tmp_path / name, config, CLASSIFIER, seed)
        tokenizer.save_pretrained(tmp_path / name)
    rows = tokenizer(TEXTS, padding=True, return_tensors="np")
    logits = load_inference(framework.name, CLASSIFIER, tmp_path / "teacher")(**rows)["logits"]
    logits -= np.median(logits, axis=0)
    labels = [config.id2label[label] for label in logits.argmax(1)]
    assert len(set(labels)) == 2
    lines = [f"{text}\t{label}" for text, label in zip(TEXTS, labels, strict=True)]
    (tmp_path / "texts.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    return tmp_path / "student", tmp_path / "teacher", tmp_path / "texts.tsv"


def projection_of(student, name=PROJECTION):
    value = student.engine.extra[name]
    return np.array(value.detach() if hasattr(value, "detach") else value[...])


def distiller(name, head, pair, steps=4, cache=None, **changes):
    recipe = DistillationRecipe(**{**NUMBERS, "dtype": "float64", **changes})
    return load_distiller(name, head, *pair, recipe, recipe.learning_rates(steps), cache=cache)


def outputs(name, head, folder, batch):
    """Hidden states and logits of all tokens, or of texts, by the padded models."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    hidden = load_inference(name, Head.BASE, folder, dtype="float64").run(**inputs)["last_hidden_state"]
    return hidden, load_inference(name, head, folder, dtype="float64").run(**inputs)["logits"]


def states_of(folder, batch):
    """Hidden states of the embeddings and all layers, and queries, keys and values of the last layer, in NumPy."""
    weights = open_weights(folder)
    arrays = {name.removeprefix("distilbert."): tensor.read() for name, tensor in weights.tensors.items()}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    states = base_model(weights.config, arrays, **inputs)["hidden_states"]
    layer = f"transformer.layer.{weights.config.n_layers - 1}.attention"
    return states, [dense(states[-2], arrays, f"{layer}.{part}_lin") for part in "qkv"]


def unexplained(states, teacher_states):
    """The mean of squared errors over layers, each divided by the variance of the teacher's states."""
    pairs = zip(states, teacher_states, strict=True)
    return np.mean([((x - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum() for x, y in pairs])


def divergence(values, teacher_values, real, heads):
    """The mean divergence of relations over tokens and heads, text by text."""
    terms = []
    for x, y, counted in zip(values, teacher_values, real, strict=True):
        log_q, log_p = (
            log_softmax(np.einsum("qnh,knh->nqk", part, part) / np.sqrt(part.shape[-1]))
            for part in (array[counted].reshape(counted.sum(), heads, -1) for array in (x, y))
        )
        terms.append((np.exp(log_p) * (log_p - log_q)).sum(-1).ravel())
    return np.concatenate(terms).mean()


def expected_losses(name, head, pair, batch, recipe, projection=None, hidden_projection=None):
    """The terms by the formulas, from what padded models say of real tokens."""
    (hidden, logits), (teacher_hidden, teacher_logits) = (outputs(name, head, folder, batch) for folder in pair)
    labels, real = batch["labels"], batch["attention_mask"] == 1
    if head is LM:
        compared = real & (labels != -100) if recipe.only_masked else real
        logits, teacher_logits, labels = logits[compared], teacher_logits[compared], labels[compared]
    hidden, teacher_hidden = hidden[real], teacher_hidden[real]
    if projection is not None:
        hidden = hidden @ projection
    log_q, log_p = (log_softmax(x / recipe.temperature) for x in (logits, teacher_logits))
    norms = np.linalg.norm(hidden, axis=-1) * np.linalg.norm(teacher_hidden, axis=-1)
    labelled = labels != -100
    terms = {
        "distillation": recipe.temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum(-1).mean(),
        "task": -log_softmax(logits)[labelled, labels[labelled]].mean(),
        "cosine": (1 - (hidden * teacher_hidden).sum(-1) / norms).mean(),
        "squared_error": ((logits - teacher_logits) ** 2).sum(-1).mean(),
    }
    if recipe.hidden_weight:
        (states, values), (teacher_states, teacher_values) = (states_of(folder, batch) for folder in pair)
        matching = [(states[0], teacher_states[0]), (states[-1], teacher_states[-1])]  # the student has one layer
        states, teacher_states = ([state[real] for state in those] for those in zip(*matching, strict=True))
        if hidden_projection is not None:
            states = [state @ hidden_projection for state in states]
        terms["hidden"] = unexplained(states, teacher_states)
        terms["relation"] = sum(
            divergence(x, y, real, recipe.relation_heads) for x, y in zip(values, teacher_values, strict=True)
        )
    total = sum(weight * terms[term] for term, weight in recipe.weights.items() if weight)
    return {"loss": total, **{f"loss_{term}": value for term, value in terms.items()}}


@pytest.mark.parametrize("wider", [{}, WIDER], ids=["as wide", "wider"])
@pytest.mark.parametrize(
    ("head", "only_masked"), [(LM, False), (LM, True), (CLASSIFIER, False)], ids=["all", "masked", "texts"]
)
def test_the_losses_of_a_step(framework, pair, head, only_masked, wider):
    """Packed, and of ragged texts. Measured: 2e-14."""
    pair = pair(head, **wider)
    student = distiller(framework.name, head, pair, only_masked=only_masked, temperature=3.0)
    projection = projection_of(student) if wider else None
    batch = training_inputs(small_config(n_layers=1), head)
    if head is CLASSIFIER:
        batch["labels"][1] = -100
    expected = expected_losses(framework.name, head, pair, batch, student.recipe, projection)
    assert_close(student.take_step(batch, 0), expected, 1e-10)
    after = student.take_step(batch, 1)
    assert after["loss"] < expected["loss"]  # the step went down
    if wider:
        assert abs(projection_of(student) - projection).max() > 1e-3  # and the projection along


@pytest.mark.parametrize("wider", [{}, WIDER], ids=["as wide", "wider"])
def test_hidden_states_and_relations(framework, pair, wider):
    """Of all layers, for ragged texts, packed. Measured: 2e-14."""
    pair = pair(CLASSIFIER, **wider)
    student = distiller(framework.name, CLASSIFIER, pair, **OF_LAYERS)
    batch = training_inputs(small_config(n_layers=1), CLASSIFIER)
    projections = [projection_of(student, name) for name in (PROJECTION, HIDDEN_PROJECTION)] if wider else []
    if wider:
        words, teacher_words = (
            open_weights(folder).tensors["distilbert.embeddings.word_embeddings.weight"].read() for folder in pair
        )
        assert_close(projections[1], np.linalg.lstsq(words, teacher_words)[0], 1e-10)  # measured: 2e-13
    expected = expected_losses(framework.name, CLASSIFIER, pair, batch, student.recipe, *projections)
    assert_close(student.take_step(batch, 0), expected, 1e-10)
    after = student.take_step(batch, 1)
    assert all(after[f"loss_{term}"] < expected[f"loss_{term}"] for term in ("hidden", "relation"))
    if wider:
        assert abs(projection_of(student, HIDDEN_PROJECTION) - projections[1]).max() > 1e-3


def test_hidden_states_and_relations_from_a_cache(framework, pair, tmp_path):
    """Measured: 1e-15. A cache without them is not one of this recipe."""
    pair = pair(CLASSIFIER, n_layers=2)
    batches = [training_inputs(small_config(n_layers=1), CLASSIFIER, seed) for seed in range(2)]
    folder = tmp_path / "cache"

    def losses(cache, **changes):
        student = distiller(framework.name, CLASSIFIER, pair, cache=cache, **{**OF_LAYERS, **changes})
        return tuple(student.take_step(batch, number) for number, batch in enumerate(batches))

    with TeacherCache.open(folder, {}, dtype="float64") as cache:
        without = losses(None)
        assert_close(losses(cache), without, 1e-12)
        assert set(cache.get(0)) == {"hidden", "logits", "state_0", "state_1", "queries", "keys", "values"}
        assert_close(losses(cache), without, 1e-12)
        with pytest.raises(
            InputError, match="The cache must hold hidden, keys, logits, queries, values of the teacher"
        ):
            losses(cache, hidden_weight=0.0)


def test_heads_of_relations(framework, pair):
    narrow, wide = pair(CLASSIFIER, **WIDER)
    with pytest.raises(
        InputError, match="divide the attention widths 12 of the student and 21 of the teacher, which 1"
    ):
        distiller(framework.name, CLASSIFIER, (narrow, wide), relation_weight=1.0, relation_heads=4)
    with pytest.raises(InputError, match="Give relation_heads: without a teacher, it cannot be chosen"):
        distiller(framework.name, CLASSIFIER, (narrow, None), relation_weight=1.0)


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone(framework, pair, term):
    pair = pair(CLASSIFIER)
    weights = {f"{name}_weight": float(name == term) for name in TERMS}
    student = distiller(framework.name, CLASSIFIER, pair, **weights)
    batch = training_inputs(small_config(n_layers=1), CLASSIFIER)
    losses = [student.take_step(batch, number) for number in range(3)]
    assert set(losses[0]) == {"loss", f"loss_{term}"}
    assert losses[2]["loss"] == losses[2][f"loss_{term}"] < losses[0]["loss"]


def test_parts_of_a_batch(framework, pair):
    """Rows of one length, so that parts have as many tokens. Measured: 1e-15."""
    pair = pair(LM)
    batch = {name: array[:4] for name, array in training_inputs(small_config(n_layers=1), LM).items()}
    batch["attention_mask"][:] = 1
    batch["labels"][:] = 5
    weights = []
    for accumulate in (1, 2):
        student = distiller(framework.name, LM, pair, accumulate=accumulate)
        losses = [student.take_step(batch, number) for number in range(2)]
        weights.append((framework.parameters(student.model), losses[1]))
    assert_close(weights[1], weights[0], 1e-10)


def test_outputs_of_the_teacher_are_cached(framework, pair, tmp_path):
    """A second student reads it and has no teacher. Measured: 1e-15; with 5 of 47 logits another loss."""
    pair = pair(LM)
    batches = [training_inputs(small_config(n_layers=1), LM, seed) for seed in range(3)]

    def losses(cache, **options):
        cached = cache is not None and cache.get(0) is not None
        folders = (pair[0], None) if cached else pair
        student = distiller(framework.name, LM, folders, cache=cache, accumulate=2, **options)
        return [student.take_step(batch, number) for number, batch in enumerate(batches)]

    without = losses(None)
    for top_k in (None, 5):
        folder = tmp_path / f"cache {top_k}"
        with TeacherCache.open(folder, {}, top_k=top_k, temperature=2.0, dtype="float64", steps_per_shard=4) as cache:
            assert_close(tuple(losses(cache)), tuple(without), 1e-12)
            cache.close()
            found = tuple(losses(cache))
        if top_k is None:
            assert_close(found, tuple(without), 1e-12)
        else:
            # What is left out of the teacher's probabilities is spread evenly, and easier to learn. Measured: 0.68.
            assert 0.5 < found[0]["loss_distillation"] / without[0]["loss_distillation"] < 0.9
            assert_close(found[0]["loss_cosine"], without[0]["loss_cosine"], 1e-12)


def test_teachers_and_students_that_do_not_match(framework, pair):
    student, teacher = pair(LM, vocab_size=48)
    with pytest.raises(InputError, match="Student and teacher must have one vocab_size, got 47 and 48"):
        distiller(framework.name, LM, (student, teacher))
    backwards = {index: f"LABEL_{6 - index}" for index in range(7)}
    with pytest.raises(InputError, match=r"must have their labels in one order, got LABEL_0, .* and LABEL_6, LABEL_5"):
        distiller(framework.name, CLASSIFIER, pair(CLASSIFIER, id2label=backwards))
    head = Head.TOKEN_CLASSIFICATION
    tagger = distiller(framework.name, head, pair(head), distillation_weight=0.0, cosine_weight=0.0)
    with pytest.raises(InputError, match="must be a DistilBertForMaskedLM or DistilBertForSequenceClassification, got"):
        tagger.take_step(training_inputs(small_config(n_layers=1), head), 0)


def test_a_run_from_files(framework, from_files, tmp_path):
    """A run with dropout, stopped and resumed, ends with the same bits; the student gives the teacher's answers."""
    student, teacher, texts = from_files
    recipe = DistillationRecipe(max_steps=12, batch_size=8, eval_every=4, learning_rate=2e-2, dropout=0.05, seed=3)
    options = {"teacher": teacher, "student": student, "eval": texts, "backend": framework.name, "recipe": recipe}

    def run(folder, **changes):
        return distill("sequence-classification", [texts], output=tmp_path / folder, **{**options, **changes})

    run("whole")
    lines = (tmp_path / "whole/training/metrics.jsonl").read_text().splitlines()
    losses = [record["loss_distillation"] for record in map(json.loads, lines) if "loss" in record]
    assert losses[-1] < 0.8 * losses[0]

    engine = framework.module("training").BackendEngine
    step = engine.step

    def killed(self, batch, number):
        if number == 6:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    run("killed", resume=True)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
    with pytest.raises(InputError, match="was begun with another model, teacher"):
        run("whole", resume=True, student=teacher, teacher=student)


def test_a_cache_is_of_one_teacher(framework, from_files, tmp_path):
    """Its weights count, not where they are; runs of any length share it."""
    student, teacher, texts = from_files
    options = {"student": student, "backend": framework.name, "cache": tmp_path / "cache"}

    def run(folder, teacher, steps):
        recipe = DistillationRecipe(max_steps=steps, batch_size=8, dropout=0.0)
        distill("sequence-classification", [texts], output=tmp_path / folder, teacher=teacher, recipe=recipe, **options)
        return json.loads((tmp_path / folder / "training/metrics.jsonl").read_text().splitlines()[0])["loss"]

    first = run("one", teacher, 1)
    shutil.copytree(teacher, tmp_path / "moved")
    assert abs(run("two", tmp_path / "moved", 1) - first) < 1e-3  # hidden states are kept in float16
    shards = len(list((tmp_path / "cache").glob("*.safetensors")))
    run("three", teacher, 2)
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == shards + 1
    with pytest.raises(InputError, match="cache was made with another teacher"):
        run("four", student, 1)


def test_what_files_cannot_be(framework, from_files, tmp_path):
    student, teacher, texts = from_files
    options = {"teacher": teacher, "student": student, "output": tmp_path / "new", "backend": framework.name}
    with pytest.raises(InputError, match=r"task must be one of masked-lm, sequence-classification, got 'regression'"):
        distill("regression", [texts], **options)
    with pytest.raises(InputError, match="data must be one file at least"):
        distill("sequence-classification", [], **options)
    with pytest.raises(InputError, match="top_k is the number of logits that a cache keeps"):
        distill("sequence-classification", [texts], top_k=3, **options)
    (tmp_path / "some.tsv").write_text("text\nGood?\n")
    with pytest.raises(InputError, match=r"some\.tsv has no column 'label'"):
        distill("sequence-classification", [texts], eval=tmp_path / "some.tsv", **options)
    words = (student / "vocab.txt").read_text().split("\n")
    good, bad = words.index("good"), words.index("bad")
    words[good], words[bad] = "bad", "good"
    (student / "tokenizer.json").unlink()
    (student / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(InputError, match=r"must have one vocabulary; they differ in 2 tokens, such as 'bad'"):
        distill("sequence-classification", [texts], **options)
    assert not (tmp_path / "new").exists()


def test_on_the_command_line(framework, from_files, tmp_path, capsys):
    _, teacher, texts = from_files
    options = ["--task", "sequence-classification", "--teacher", teacher, "--data", texts, "--eval", texts]
    options += ["--backend", framework.name, "--max-steps", 1, "--only-masked", "--json"]

    def run(*words):
        return main([str(word) for word in ("distill", *options, *words)])

    assert run("--output", tmp_path / "new", "--layers", 0) == 0
    assert open_weights(tmp_path / "new-student").config.n_layers == 1
    assert set(json.loads(capsys.readouterr().out)) == {"accuracy", "f1_macro", "matthews_correlation"}
    assert json.loads((tmp_path / "new/training/settings.json").read_text())["recipe"]["only_masked"]
    assert run("--output", tmp_path / "new", "--layers", 0, "--resume") == 0

    (tmp_path / "config.json").write_text(json.dumps({**SIZES, "n_layers": 1, "hidden_dim": 8}))
    of_layers = "--hidden-weight", 1, "--relation-weight", 0.5
    assert run("--output", tmp_path / "narrow", "--student-config", tmp_path / "config.json", *of_layers) == 0
    first = json.loads((tmp_path / "narrow/training/metrics.jsonl").read_text().splitlines()[0])
    assert {"loss_hidden", "loss_relation"} <= set(first)
    assert open_weights(tmp_path / "narrow").config.hidden_dim == 8
    capsys.readouterr()
    assert run("--output", tmp_path / "wrong", "--student", teacher, "--layers", 0) == 1
    assert "--student is a finished model: leave out --student, or" in capsys.readouterr().err
    assert run("--output", tmp_path / "wrong", "--layers", 0, "--top-k", 3) == 1
    assert "top_k is the number of logits that a cache keeps" in capsys.readouterr().err
    assert not (tmp_path / "wrong-student").exists()  # so that the same can be tried again
