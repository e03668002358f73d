"""The statements of docs/migrating.md about the models, their outputs and the pipelines are true."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core import pipelines as our_pipelines
from distilbert_core.compatibility import LOADING, PIPELINES, SAVING
from support import migrating
from support.frameworks import Framework
from support.migrating import Subject
from support.uploads import Uploads

SIZES = {"dim": 8, "n_heads": 2, "hidden_dim": 16, "n_layers": 1, "max_position_embeddings": 64}
LABELS = {"id2label": {0: "contradiction", 1: "entailment"}}
PREFIXES = {"pt": "", "tf": "TF", "flax": "Flax"}
QUESTION = {"question": "What is it?", "context": "It is a film."}
INPUTS: dict[str, dict[str, Any]] = {
    "TextClassificationPipeline": {"inputs": "A lovely film."},
    "TokenClassificationPipeline": {"inputs": "A lovely film."},
    "FillMaskPipeline": {"inputs": "A lovely [MASK]."},
    "FeatureExtractionPipeline": {"inputs": "A lovely film."},
    "QuestionAnsweringPipeline": QUESTION,
    "ZeroShotClassificationPipeline": {"sequences": "A lovely film.", "candidate_labels": ["art"]},
}


def models(framework: Framework) -> Iterator[tuple[str, Any]]:
    """A small model of each class, by the name of Transformers' class."""
    for head in Head:
        yield PREFIXES[framework.name] + head.architecture, framework.new(head, DistilBertConfig(**SIZES, **LABELS))


def test_rows_of_models_are_true(framework: Framework, tmp_path: Path, uploads: Uploads) -> None:
    compatibility = importlib.import_module(f"{framework.package.__name__}.compatibility")
    keras = dict.fromkeys(("fit", "evaluate", "predict", "train_on_batch", "test_on_batch"), "KERAS_2")
    tables = {name: getattr(compatibility, table) for name, table in keras.items() if framework.name == "tf"}
    tables |= {"from_pretrained": LOADING, "save_pretrained": SAVING, "push_to_hub": SAVING}
    for name, model in models(framework):
        folder = tmp_path / name
        model.save_pretrained(folder)
        calls: dict[str, Any] = {
            "__init__": {"config": model.config},
            "from_pretrained": {"pretrained_model_name_or_path": folder},
            "save_pretrained": {"save_directory": tmp_path / "saved"},
            "push_to_hub": {"repo_id": "me/model"},
        }
        members = migrating.classes(framework.name)[name]
        for method in {"set_input_embeddings", "set_output_embeddings"} & set(members["methods"]):
            (argument,) = members["methods"][method]  # its name is not the same in all classes
            calls[method] = {argument: getattr(model, method.replace("set", "get"))()}
        subject = Subject(name, model, compatibility.REFUSED, calls, tables)
        assert not list(migrating.untruths(framework.name, members, subject))


def test_rows_of_pipelines_are_true(framework: Framework, tmp_path: Path) -> None:
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    tables = dict.fromkeys(("__init__", "__call__", "options"), PIPELINES)
    for name, inputs in INPUTS.items():
        cls = getattr(our_pipelines, name)
        model = framework.new(cls.head, DistilBertConfig(**SIZES, **LABELS))
        calls: dict[str, Any] = {
            "__init__": {"model": model, "tokenizer": tokenizer},
            "__call__": inputs,
            "options": inputs,
            "save_pretrained": {"save_directory": tmp_path / name},
        }
        members = copy.deepcopy(migrating.classes("pipeline")[name])
        for argument in ("X", "data"):  # in place of question and context
            members["methods"]["__call__"].pop(argument, None)
        subject = Subject(name, cls(model, tokenizer), (), calls, tables)
        assert not list(migrating.untruths("pipeline", members, subject))
        if name == "QuestionAnsweringPipeline":
            assert subject.object(X=QUESTION) == subject.object(data=QUESTION) == subject.object(**QUESTION)

    function = {"__call__": {"task": cls.task, "model": str(tmp_path / name), "framework": framework.name}}
    subject = Subject("pipeline", our_pipelines.pipeline, (), function, {"__call__": PIPELINES})
    assert not list(migrating.untruths("pipeline", migrating.classes("pipeline")["pipeline"], subject))


def test_a_lie_on_the_page_is_found(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    group, (name, model) = framework.name, next(models(framework))
    method = {"pt": "forward", "tf": "call", "flax": "__call__"}[group]
    truth = migrating.statuses(group)
    lies = {
        "config": "not here",
        "main_input_name": "not here",
        "register_for_auto_class": "same",
        f"{method}(input_ids)": "not here",
        "from_pretrained(proxies)": "same",
    }
    monkeypatch.setattr(migrating, "statuses", lambda group: {**truth, **lies})
    subject = Subject(name, model, ["register_for_auto_class"], {}, {"from_pretrained": LOADING})
    found = list(migrating.untruths(group, migrating.classes(group)[name], subject))
    for lie in lies:
        assert any(lie.replace(")", "=)") in line for line in found), lie


def test_a_configuration_warns_about_fields_of_transformers(framework: Framework) -> None:
    config = DistilBertConfig(**SIZES, gradient_checkpointing=True)
    model = framework.new(Head.SEQUENCE_CLASSIFICATION, config)
    if framework.name == "pt":
        assert model.is_gradient_checkpointing
        assert not framework.new(Head.BASE, DistilBertConfig(**SIZES)).is_gradient_checkpointing
    if framework.name == "tf":
        assert type(model).from_config(config).config == config
