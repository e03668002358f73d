"""The `Auto*` names: each gives the object that the class of its own gives."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import distilbert_core
from distilbert_cli.migration.rewriting import rewrite
from distilbert_core import (
    AutoConfig,
    AutoTokenizer,
    CheckpointError,
    ConfigError,
    DistilBertConfig,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    Head,
)
from distilbert_core.pipelines import pipeline
from support.checkpoints import save_random, small_config

PREFIX = {"pt": "", "tf": "TF", "flax": "Flax"}
NAMES = {  # name in Transformers -> head
    "AutoModel": Head.BASE,
    "AutoModelForPreTraining": Head.MASKED_LM,
    "AutoModelForMaskedLM": Head.MASKED_LM,
    "AutoModelWithLMHead": Head.MASKED_LM,
    "AutoModelForSequenceClassification": Head.SEQUENCE_CLASSIFICATION,
    "AutoModelForTokenClassification": Head.TOKEN_CLASSIFICATION,
    "AutoModelForQuestionAnswering": Head.QUESTION_ANSWERING,
    "AutoModelForMultipleChoice": Head.MULTIPLE_CHOICE,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_random(folder, small_config(), Head.BASE)
    return folder


@pytest.mark.filterwarnings("ignore::distilbert_core.CheckpointWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_gives_the_class_of_its_head(framework, folder, name):
    auto = getattr(framework.package, PREFIX[framework.name] + name)
    own = distilbert_core.backend_class(framework.name, NAMES[name])
    assert auto.made is own
    assert type(auto.from_config(small_config())) is own
    models = [of.from_pretrained(folder) for of in (auto, own)]
    assert type(models[0]) is own
    parameters = [p for p in models[0].parameter_table if not p.of_head]
    for parameter in parameters:
        np.testing.assert_array_equal(*(model._get_array(parameter) for model in models))
    with pytest.raises(TypeError, match=rf"{auto.__name__} is not called: use {auto.__name__}.from_pretrained"):
        auto(small_config())


def test_another_architecture_is_an_error(framework, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "other/config.json").write_text(json.dumps({**config, "model_type": "albert"}))
    auto = getattr(framework.package, f"{PREFIX[framework.name]}AutoModel")
    with pytest.raises(CheckpointError, match="must have model_type 'distilbert', got 'albert'"):
        auto.from_pretrained(tmp_path / "other")


def test_another_configuration_is_an_error(framework):
    auto = getattr(framework.package, f"{PREFIX[framework.name]}AutoModel")
    with pytest.raises(ConfigError, match=r"must be a DistilBertConfig of this package, got builtins\.dict\. For a"):
        auto.from_config({"dim": 8})
    with pytest.raises(ConfigError, match=r"must be a DistilBertConfig of this package, got types\.SimpleNamespace"):
        framework.cls(Head.MASKED_LM)(SimpleNamespace(**vars(small_config()), validate=lambda: None))


def test_tokenizers_and_configurations(framework, folder):
    assert framework.package.AutoTokenizer is AutoTokenizer
    assert framework.package.AutoConfig is AutoConfig
    assert type(AutoTokenizer.from_pretrained("sst2-tiny")) is DistilBertTokenizerFast
    assert type(AutoTokenizer.from_pretrained("sst2-tiny", use_fast=False)) is DistilBertTokenizer
    config = AutoConfig.from_pretrained("sst2-tiny")
    assert type(AutoTokenizer.from_pretrained("sst2-tiny", config=config)) is DistilBertTokenizerFast
    assert AutoConfig.from_pretrained(folder) == DistilBertConfig.from_pretrained(folder)
    assert AutoConfig.for_model("distilbert", dim=24, n_heads=2).dim == 24
    with pytest.raises(ConfigError, match="model_type must be 'distilbert', got 'bert'"):
        AutoConfig.for_model("bert")


PROGRAM = """
from transformers import AutoTokenizer, {prefix}AutoModelForMaskedLM, {prefix}DistilBertModel, pipeline

NAME = {folder!r}
tokenizer = AutoTokenizer.from_pretrained(NAME)
model = {prefix}AutoModelForMaskedLM.from_pretrained(NAME, from_pt=True)
answers = pipeline("fill-mask", model=model, tokenizer=tokenizer)("A [MASK] film.")
"""


def test_a_migrated_program_runs(framework, tmp_path):
    """What `distilbert migrate` writes of a program for Transformers gives the answers of the pipeline here."""
    config = small_config(vocab_size=30522)
    save_random(tmp_path / "model", config, Head.MASKED_LM)
    AutoTokenizer.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "model")
    program = PROGRAM.format(prefix=PREFIX[framework.name], folder=str(tmp_path / "model"))
    migrated, notes = rewrite(program, tmp_path)
    assert not notes
    names: dict = {}
    exec(compile(migrated, "migrated.py", "exec"), names)
    assert type(names["model"]) is distilbert_core.backend_class(framework.name, Head.MASKED_LM)
    own = pipeline("fill-mask", model=str(tmp_path / "model"), framework=framework.name)
    assert names["answers"] == own("A [MASK] film.")
