"""The default model of each task, and the message before it is downloaded."""

from __future__ import annotations

import re

import pytest
from huggingface_hub import constants

from distilbert_cli import main
from distilbert_core import CheckpointError, InputError
from distilbert_core.errors import InputWarning
from distilbert_core.files.hub import DEFAULT_MODELS, default_model
from distilbert_core.pipelines import PIPELINE_CLASSES, pipeline
from support.hub_server import commit_of
from support.paths import ROOT

OF_THE_HUB = {task: default.name for task, default in DEFAULT_MODELS.items() if not default.embedded}


class LoadingError(Exception):
    """Files of a model would be looked for now."""


@pytest.fixture
def fetched(monkeypatch):
    """Note the models whose files are looked for, and stop there."""
    sources = []

    def stand_in(source, *args, **kwargs):
        sources.append(source)
        raise LoadingError

    monkeypatch.setattr("distilbert_core.pipelines.find_config", stand_in)
    return sources


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """An empty cache of the Hub, which is returned, and no offline mode."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


def cache_files(cache, model, *names, revision="main"):
    """Write files of a model as the Hub's cache has them."""
    folder = cache / f"models--{model.replace('/', '--')}"
    for name in names:
        file = folder / "snapshots" / commit_of(revision) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    reference = folder / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit_of(revision))


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_the_model_of_a_task(task, fetched, empty_cache):
    if task == "multiple-choice":
        with pytest.raises(
            InputError, match=r"Give model \(--model\): the Hub has no well-known DistilBERT for multiple"
        ):
            pipeline(task, framework="pt")
        assert fetched == []
        return
    if task in OF_THE_HUB:
        message = f"is not given: {task} takes {OF_THE_HUB[task]} of the Hub, which is downloaded now (about 265 MB)."
        with pytest.raises(LoadingError), pytest.warns(InputWarning, match=re.escape(message)):
            pipeline(task, framework="pt")
    else:
        with pytest.raises(LoadingError):  # without a warning, which would be an error
            pipeline(task, framework="pt")
    assert fetched == [DEFAULT_MODELS[task].name]


def test_the_page_has_the_table():
    text = (ROOT / "docs/pipelines.md").read_text(encoding="utf-8")
    for task, default in DEFAULT_MODELS.items():
        assert f"| `{task}` | {default.name} | {default.reason} |" in text


def test_no_message_about_a_given_model(fetched, empty_cache):
    with pytest.raises(LoadingError):
        pipeline("fill-mask", OF_THE_HUB["fill-mask"], framework="pt")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_no_message_about_a_model_in_the_cache(weights, empty_cache, tmp_path):
    """It is cached with its weights, in the place and revision of the call; a download that was cut off is not."""
    model = OF_THE_HUB["fill-mask"]
    cache_files(empty_cache, model, "config.json")
    with pytest.warns(InputWarning, match="is downloaded now"):
        assert default_model("fill-mask") == model
    cache_files(empty_cache, model, weights)
    assert default_model("fill-mask") == model  # without a warning, which would be an error
    assert default_model("fill-mask", local_files_only=True) == model
    for options in ({"revision": "v2"}, {"cache_dir": tmp_path}, {"force_download": True}, {"subfolder": "inner"}):
        with pytest.warns(InputWarning, match="is downloaded now"):
            default_model("fill-mask", **options)
    cache_files(empty_cache, model, "config.json", weights, revision="v2")
    assert default_model("fill-mask", revision="v2") == model


COMMANDS = [
    (["fill-mask", "x [MASK]"], "fill-mask"),
    (["tag", "x"], "token-classification"),
    (["answer", "x", "--context", "y"], "question-answering"),
    (["embed", "x"], "feature-extraction"),
    (["zero-shot", "x", "--labels", "a,b"], "zero-shot-classification"),
]


@pytest.mark.parametrize(("arguments", "task"), COMMANDS)
def test_commands_without_the_model_offline(arguments, task, empty_cache, monkeypatch, capsys):
    """One error names the model and the remedy."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main([*arguments, "--backend", "pt"]) == 1
    model = OF_THE_HUB[task]
    assert capsys.readouterr().err == (
        f"distilbert: error: model (--model) is not given: {task} takes {model} of the Hub, which is not in the local "
        "cache and cannot be downloaded offline (HF_HUB_OFFLINE, local_files_only). Download it once with "
        f"`hf download {model}`, or give the path of a local folder.\n"
    )


def test_help_names_the_model(capsys):
    for arguments, task in COMMANDS:
        assert main([arguments[0], "--help"]) == 0
        assert f"[default:({OF_THE_HUB[task]})]" in "".join(capsys.readouterr().out.split())


def test_choosing_needs_a_model(capsys):
    assert main(["choose", "a", "b", "c", "--backend", "pt"]) == 1
    assert "Give model (--model): the Hub has no well-known DistilBERT for multiple-choice" in capsys.readouterr().err


def test_a_name_that_is_almost_right(tmp_path):
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text("{}")
    for source, wanted in [("sst2-tny", "sst2-tiny"), (str(tmp_path / "my-modle"), "my-model")]:
        with pytest.raises(CheckpointError, match=f"Did you mean '{wanted}'"):
            pipeline("text-classification", source, framework="pt", local_files_only=True)
