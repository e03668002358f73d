"""Fine-tuning on each backend: the optimizer against its formula, weights of rows, heads, and whole runs."""

from __future__ import annotations

import json
import math
import shlex
import warnings
from itertools import islice

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_core.errors import CheckpointWarning
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.pipelines import pipeline
from distilbert_core.training import Progress, Recipe, evaluate, finetune, load_trainer
from distilbert_core.training.batches import training_order
from support.checkpoints import (
    HEADS_WITH_LOSS,
    random_arrays,
    random_inputs,
    save_random,
    small_config,
    training_inputs,
)
from support.comparison import assert_close
from support.record_files import write_file
from support.runs import HEAD, HEAD_TASK, RECIPE, TEXTS, records, run, weights


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_steps_follow_the_formula_of_adamw(framework, head, tmp_path):
    """Two steps against the formula (Loshchilov and Hutter 2019, algorithm 2), from gradients of the padded model.

    Measured in float64: 1e-16 in PyTorch and Flax, 6e-11 in Keras, which rounds the number of weight_decay to float32.
    """
    config = small_config()
    save_random(tmp_path, config, head)
    numbers = {"learning_rate": 0.01, "weight_decay": 0.3, "max_grad_norm": 0.2, "epsilon": 1e-3}
    recipe = Recipe(**numbers, warmup=0, dropout=0.0, dtype="float64")
    rates = recipe.learning_rates(3)
    trainer = load_trainer(framework.name, head, tmp_path, recipe, rates)
    table = {p.name: p for p in trainer.trained}
    expected = framework.parameters(trainer.model)
    mean, square = dict.fromkeys(table, 0.0), dict.fromkeys(table, 0.0)
    for number in range(2):
        inputs = training_inputs(config, head, seed=number)
        gradients = framework.gradients(trainer.model, **inputs)
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
        assert norm > recipe.max_grad_norm  # it is clipped
        for name in table:
            gradient = gradients[name] * recipe.max_grad_norm / norm
            mean[name] = recipe.beta1 * mean[name] + (1 - recipe.beta1) * gradient
            square[name] = recipe.beta2 * square[name] + (1 - recipe.beta2) * gradient**2
            corrected = mean[name] / (1 - recipe.beta1 ** (number + 1))
            root = np.sqrt(square[name] / (1 - recipe.beta2 ** (number + 1)))
            matrix = "bias" not in name and "layer_norm" not in name and "LayerNorm" not in name
            decay = recipe.weight_decay * expected[name] if matrix else 0.0
            expected[name] = expected[name] - rates[number] * (corrected / (root + recipe.epsilon) + decay)
        trainer.step(inputs, number)
        assert_close(framework.parameters(trainer.model), expected, 1e-9 if framework.name == "tf" else 1e-14)


@pytest.mark.parametrize("head", [Head.SEQUENCE_CLASSIFICATION, Head.MULTIPLE_CHOICE])
def test_a_batch_in_parts(framework, head, tmp_path):
    """Parts of one size have the whole batch's gradient as their mean. Measured: 4e-16."""
    config = small_config()
    save_random(tmp_path, config, head)
    inputs = {name: array[:4] for name, array in training_inputs(config, head).items()}
    inputs["labels"] = np.array([1, 0, 1, 1])  # all of them count
    losses, weights = [], []
    for accumulate in (1, 2, 4, 3):
        recipe = Recipe(learning_rate=0.01, warmup=0, epsilon=1e-3, dropout=0.0, dtype="float64", accumulate=accumulate)
        trainer = load_trainer(framework.name, head, tmp_path, recipe, recipe.learning_rates(3))
        losses.append([trainer.step(inputs, number) for number in range(2)])
        weights.append(framework.parameters(trainer.model))
    for more in (1, 2):
        assert_close(losses[more], losses[0], 1e-12)
        assert_close(weights[more], weights[0], 1e-12)
    assert abs(losses[3][1] - losses[0][1]) > 1e-9  # parts of 2, 1 and 1 rows: the mean of their means
    with pytest.raises(
        InputError, match=r"2 rows cannot be divided into 3 parts: 3 \(accumulate\) for each of 1 device"
    ):
        trainer.step({name: array[:2] for name, array in inputs.items()}, 2)


@pytest.mark.parametrize("head", [Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING])
def test_a_step_with_weights(framework, head, tmp_path):
    """The loss of the packed rows is that of the padded model. Measured: 9e-16."""
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    inputs = training_inputs(config, head)
    inputs["sample_weight"] = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    recipe = Recipe(learning_rate=0.0, dropout=0.0, dtype="float64")
    trainer = load_trainer(framework.name, head, tmp_path, recipe, np.zeros(1))
    expected = framework.call(trainer.model, **inputs).loss
    assert abs(trainer.step(inputs, 0) - expected) < 1e-13


def test_a_weighted_batch_in_parts(framework, tmp_path):
    """Weights do not change what a loss is divided by: parts of one size have the whole's gradient. Measured: 2e-16."""
    config = small_config(n_layers=1)
    save_random(tmp_path, config, HEAD)
    inputs = {name: array[:4] for name, array in training_inputs(config, HEAD).items()}
    inputs |= {"labels": np.array([1, 0, 1, 1]), "sample_weight": np.array([0.0, 0.5, 1.0, 4.0])}
    weights = []
    for accumulate in (1, 2, 4):
        recipe = Recipe(learning_rate=0.01, warmup=0, epsilon=1e-3, dropout=0.0, dtype="float64", accumulate=accumulate)
        trainer = load_trainer(framework.name, HEAD, tmp_path, recipe, recipe.learning_rates(2))
        weights.append([trainer.step(inputs, 0), framework.parameters(trainer.model)])
    for losses, parameters in weights[1:]:
        assert abs(losses - weights[0][0]) < 1e-12
        assert_close(parameters, weights[0][1], 1e-12)


# Losses of about 0.7. Measured: 3e-4, and 2e-3 after a step.
def test_computation_in_bfloat16(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, HEAD)
    losses = {}
    for dtype in ("float32", "bfloat16"):
        recipe = Recipe(learning_rate=1e-3, warmup=0, dropout=0.0, dtype=dtype)
        trainer = load_trainer(framework.name, HEAD, tmp_path, recipe, recipe.learning_rates(3))
        losses[dtype] = np.array([trainer.step(training_inputs(config, HEAD), number) for number in range(3)])
        assert {array.dtype.name for array in framework.parameters(trainer.model).values()} == {"float32"}
    assert_close(losses["bfloat16"], losses["float32"], 2e-2)
    assert abs(losses["bfloat16"] - losses["float32"]).min() > 1e-6  # float32 would not differ


def test_a_run_learns_and_its_folder_is_a_model(framework, data, base, tmp_path):
    recipe = Recipe(max_steps=20, batch_size=6, eval_every=10, learning_rate=1e-2, dropout=0.0)
    done = run(framework, data, base, tmp_path / "new", recipe)
    assert done.metrics["accuracy"] == 1.0
    classify = pipeline("text-classification", model=tmp_path / "new", framework=framework.name)
    assert [answer["label"] for answer in classify(list(TEXTS))] == ["good", "bad"] * 3
    again = evaluate("sequence-classification", data, model=tmp_path / "new", backend=framework.name)
    assert again == done.metrics
    assert (tmp_path / "new/training/curve.png").read_bytes().startswith(b"\x89PNG")
    assert "| accuracy | 1.0000 |" in (tmp_path / "new/README.md").read_text()
    losses = [record["loss"] for record in records(tmp_path / "new") if "loss" in record]
    assert losses[-1] < 0.8 * losses[0]


def test_weights_of_rows_and_classes(framework, base, tmp_path):
    """The steps of a run equal those of a loop over batches with the weights, calculated by hand."""
    lines = [f"{text}\t{('good', 'bad')[number % 2]}\t{number / 2}" for number, text in enumerate(TEXTS)]
    file = tmp_path / "data.tsv"
    file.write_text("\n".join(["text\tlabel\timportance", *lines]) + "\n")
    recipe = Recipe(max_steps=2, batch_size=6, learning_rate=1e-3, dropout=0.0, class_weights={"good": 0.5, "bad": 3})
    columns = {"weight": "importance"}
    run(framework, file, base, tmp_path / "new", recipe, eval=None, columns=columns)

    trainer = load_trainer(framework.name, HEAD, base, recipe, recipe.learning_rates(2), num_labels=2)
    ids = DistilBertTokenizerFast.from_pretrained(base)(list(TEXTS), padding=True, return_tensors="np")
    batch = {name: ids[name] for name in ("input_ids", "attention_mask")}
    batch |= {"labels": np.array([1, 0] * 3), "sample_weight": np.array([0.0, 1.5, 0.5, 4.5, 1.0, 7.5])}
    order = training_order(ids["attention_mask"].sum(1).tolist(), 6, recipe.seed)
    for number, rows in enumerate(islice(order, 2)):
        trainer.step({name: array[rows] for name, array in batch.items()}, number)
    trainer.model.save_pretrained(tmp_path / "by_hand")
    assert weights(tmp_path / "new") == weights(tmp_path / "by_hand")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("balanced", "balanced"),
        ("bad=1, good=2.5", {"bad": 1.0, "good": 2.5}),
        ("a=b=3,c=1e-1", {"a=b": 3.0, "c": 0.1}),
    ],
)
def test_class_weights_on_the_command_line(monkeypatch, given, expected):
    recipes = []
    monkeypatch.setattr(
        "distilbert_core.training.finetune", lambda *args, recipe, **kwargs: recipes.append(recipe) or Progress()
    )
    options = "--task multi-label --model m --train t --output o --class-weights"
    assert main(["finetune", *options.split(), given]) == 0
    assert recipes[0].class_weights == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--class-weights", "even"], "write balanced or NAME=NUMBER,NAME=NUMBER, e.g. bad=1,good=3"),
        (["--class-weights", "bad=1,good="], "write balanced or NAME=NUMBER"),
        (["--class-weights", "bad=1,good=much"], "write balanced or NAME=NUMBER"),
        (["--class-weights", "bad=1,bad=2"], "bad is given twice"),
        (["--column", "text=a", "--column", "text=b"], "text is given twice"),
        (["--column", "text"], "write NAME=COLUMN, e.g. text=sentence"),
        (["--doc-stride", "128"], "--doc-stride is for --task question-answering."),
        (["--mask-probability", "0.2"], "--mask-probability is for --task masked-lm."),
        (["--glue", "rte"], "Give either --task or --glue; --help lists the tasks."),
    ],
)
def test_options_that_say_nothing(capsys, options, message):
    required = "--task multi-label --model m --train t --output o"
    assert main(["finetune", *required.split(), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_rows_in_memory_train_like_rows_of_a_file(framework, data, base, whole, tmp_path):
    lines = data.read_text().splitlines()[1:]
    columns = dict(
        zip(("text", "label"), map(list, zip(*(line.split("\t") for line in lines), strict=True)), strict=True)
    )
    rows = [{"label": label, "n": np.int64(7), "text": text} for text, label in zip(*columns.values(), strict=True)]
    run(framework, rows, base, tmp_path / "new", eval=columns)
    assert weights(tmp_path / "new") == weights(whole(framework))
    assert records(tmp_path / "new") == records(whole(framework))

    metrics = evaluate(HEAD_TASK, columns, model=tmp_path / "new", backend=framework.name)
    assert metrics == evaluate(HEAD_TASK, data, model=tmp_path / "new", backend=framework.name)
    done = run(framework, columns, base, tmp_path / "new", eval=rows, resume=True)  # the same content
    assert done.step == RECIPE.max_steps
    with pytest.raises(InputError, match="new was begun with another train; give the same to continue"):
        run(framework, rows[1:], base, tmp_path / "new", eval=rows, resume=True)


def test_patience(framework, data, base, tmp_path):
    """A model that does not change is never better than at first."""
    recipe = Recipe(max_steps=9, eval_every=1, patience=3, learning_rate=0.0)
    done = run(framework, data, base, tmp_path / "new", recipe)
    assert (done.step, done.best_step, done.worse) == (4, 1, 3)


def test_a_new_head_is_the_same_in_all_backends(framework, data, base, tmp_path):
    """Drawn from the seed alone; the sums were made by initial_array."""
    from distilbert_core.model.parameters import initial_array

    trainer = load_trainer(framework.name, HEAD, base, Recipe(seed=3), np.zeros(1), num_labels=2)
    arrays = framework.parameters(trainer.model)
    heads = [p for p in trainer.model.parameter_table if not p.name.startswith("distilbert.")]
    for parameter in heads:
        drawn = initial_array(parameter, trainer.model.config, seed=3).astype(np.float32)
        np.testing.assert_array_equal(arrays[parameter.name], drawn)
    assert arrays["classifier.weight"].std() > 0


def test_entries_that_a_run_does_not_use_and_parts_that_it_draws(framework, tmp_path):
    config = small_config(n_layers=1)
    arrays = random_arrays(config, HEAD)
    del arrays["pre_classifier.bias"]
    files = {"config.json": config.to_json_string().encode()}
    save_checkpoint(tmp_path, {**arrays, "mine.weight": np.ones(3)}, files)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = load_trainer(framework.name, HEAD, tmp_path, Recipe(), np.zeros(1))
    said = [str(warning.message) for warning in caught if warning.category is CheckpointWarning]
    cls = type(trainer.model).__name__
    assert said == [
        f"{tmp_path} has entries that {cls} does not use: mine.weight.",
        f"{tmp_path} lacks a part of its head, which is drawn: pre_classifier.bias.",
    ]


def test_a_head_for_other_labels(framework, data, tmp_path):
    with pytest.raises(InputError, match=r"data.tsv has labels .* sst2-tiny does not predict: bad, good; .*--new-head"):
        run(framework, data, "sst2-tiny", tmp_path / "new")
    run(framework, data, "sst2-tiny", tmp_path / "new", Recipe(max_steps=1), new_head=True)
    model = framework.load(HEAD, tmp_path / "new")
    assert model.config.id2label == {0: "bad", 1: "good"}


def test_the_commands_examples(framework, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\nA lovely film.\tPOSITIVE\nA waste of time.\tNEGATIVE\n")
        write_file(tmp_path / f"GLUE/SST-2/{name}.tsv", "sentence\tlabel\nA lovely film.\t1\nA waste of time.\t0\n")
    for name in ("finetune", "evaluate"):
        assert main([name, "--help"]) == 0
        _, examples = capsys.readouterr().out.split("Example:\n")
        more = None if framework.name == "pt" else 2  # further examples differ from the first one in their files only
        for example in examples.split("distilbert ")[1:more]:
            _, *words = shlex.split(example)
            assert main([name, *words, "--backend", framework.name, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    assert main([name, *words, "--backend", framework.name]) == 0  # the last was 'evaluate'
    assert "accuracy\t1.0000" in capsys.readouterr().out.splitlines()
    assert main(["predict", "Lovely.", "--model", "new", "--backend", framework.name]) == 0
    assert "POSITIVE" in capsys.readouterr().out


def test_a_task_of_glue_with_two_evaluation_files(framework, base, tmp_path):
    """The best model is chosen on the matched file, and measured on both; `evaluate` gives the same numbers."""
    header = "sentence1\tsentence2\tgold_label\n"
    write_file(tmp_path / "MNLI/train.tsv", f"{header}a film\tdull\tneutral\n")
    write_file(tmp_path / "MNLI/dev_matched.tsv", f"{header}a film\tdull\tneutral\n")
    write_file(tmp_path / "MNLI/dev_mismatched.tsv", f"{header}a film\tdull\tcontradiction\n")
    recipe = Recipe(max_steps=6, batch_size=1, learning_rate=1e-2, dropout=0.0, eval_every=3)
    options = {"output": tmp_path / "new", "backend": framework.name, "recipe": recipe}
    done = finetune("glue/mnli", tmp_path / "MNLI", model=base, **options)
    assert done.metrics == {"accuracy": 1.0, "accuracy_mm": 0.0}
    assert {"eval_accuracy", "eval_accuracy_mm"} <= set(records(tmp_path / "new")[-1])
    assert evaluate("glue/mnli", tmp_path / "MNLI", model=tmp_path / "new", backend=framework.name) == done.metrics


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_batches_of_any_length(head, framework, tmp_path):
    """What a step computes does not depend on the shapes of those before it, which a compiled step may have kept.

    Measured in float64: 0.
    """
    config = small_config()
    save_random(tmp_path, config, head)
    recipe = Recipe(learning_rate=0.0, dropout=0.0, dtype="float64")
    short = random_inputs(config, head)
    short["attention_mask"][..., 0] = 1  # an answer at the first token is never padding
    short |= {name: np.zeros_like(short[name]) for name in ("start_positions", "end_positions") if name in short}
    ids = {name: array for name, array in short.items() if array.ndim > 1}
    long = short | {name: np.concatenate([array, array[..., :6]], axis=-1) for name, array in ids.items()}
    kept = load_trainer(framework.name, head, tmp_path, recipe, np.zeros(3))
    losses = [kept.step(batch, number) for number, batch in enumerate((short, long, short))]
    fresh = load_trainer(framework.name, head, tmp_path, recipe, np.zeros(1)).step(long, 0)
    assert losses[0] == losses[2]
    assert abs(losses[1] - fresh) < 1e-12
    assert abs(losses[1] - losses[0]) > 1e-6


def test_an_answer_is_never_in_the_padding(framework, tmp_path):
    """The loss of a question does not depend on how much padding there is; that of the model itself does.

    A position that does not count changes nothing where the first token is padding.
    """
    config = small_config()
    save_random(tmp_path, config, Head.QUESTION_ANSWERING)
    ids = np.arange(1, 11).reshape(2, 5)
    answer = {"start_positions": np.array([1, 0]), "end_positions": np.array([3, 4])}
    losses = []
    for padding in (0, 4):
        recipe = Recipe(learning_rate=0.0, dropout=0.0, dtype="float64")
        trainer = load_trainer(framework.name, Head.QUESTION_ANSWERING, tmp_path, recipe, np.zeros(2))
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        batch = {name: np.pad(array, ((0, 0), (0, padding))) for name, array in arrays.items()} | answer
        losses.append(trainer.step(batch, 0))
        if padding:
            assert abs(float(framework.call(trainer.model, **batch)["loss"]) - losses[0]) > 1e-3
    assert abs(losses[1] - losses[0]) < 1e-14  # measured: 4e-16
    batch = {name: np.pad(array, ((0, 0), (4, 0))) for name, array in arrays.items()}
    batch |= {name: positions + 4 for name, positions in answer.items()}
    batch["start_positions"][0] = 0  # padding
    assert math.isfinite(trainer.step(batch, 1))
    assert all(np.isfinite(array).all() for array in framework.parameters(trainer.model).values())
