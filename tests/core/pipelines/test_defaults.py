"""The default model of each task, and the message before it is loaded."""

from __future__ import annotations

import pytest

from distilbert_cli import main
from distilbert_core import DEFAULT_MODEL, CheckpointError, InputError
from distilbert_core.errors import InputWarning
from distilbert_core.files.hub import DEFAULT_MODELS
from distilbert_core.pipelines import PIPELINE_CLASSES, pipeline

OF_THE_HUB = {task: model for task, model in DEFAULT_MODELS.items() if model != DEFAULT_MODEL}


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


@pytest.mark.parametrize("task", PIPELINE_CLASSES)
def test_the_model_of_a_task(task, fetched):
    if task == "multiple-choice":
        with pytest.raises(
            InputError, match=r"Give model \(--model\): the Hub has no well-known DistilBERT for multiple"
        ):
            pipeline(task, framework="pt")
        assert fetched == []
        return
    if task in OF_THE_HUB:
        with (
            pytest.raises(LoadingError),
            pytest.warns(InputWarning, match=f"is not given: {task} takes {OF_THE_HUB[task]} of the Hub"),
        ):
            pipeline(task, framework="pt")
    else:
        with pytest.raises(LoadingError):  # without a warning, which would be an error
            pipeline(task, framework="pt")
    assert fetched == [DEFAULT_MODELS[task]]


def test_no_message_about_a_given_model(fetched):
    with pytest.raises(LoadingError):
        pipeline("fill-mask", OF_THE_HUB["fill-mask"], framework="pt")


COMMANDS = [
    (["fill-mask", "x [MASK]"], "fill-mask"),
    (["tag", "x"], "token-classification"),
    (["answer", "x", "--context", "y"], "question-answering"),
]


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(("arguments", "task"), COMMANDS)
def test_commands_name_the_model_before_it_is_fetched(arguments, task, monkeypatch, capsys):
    """The error of an offline command names the model too, and the remedy."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    assert main([*arguments, "--backend", "pt"]) == 1
    first, *rest = capsys.readouterr().err.strip().splitlines()
    model = OF_THE_HUB[task]
    assert first == (
        f"distilbert: warning: model (--model) is not given: {task} takes {model} of the Hub, which is downloaded "
        "unless it is cached."
    )
    assert f"config.json of '{model}' is not in the local cache" in " ".join(rest)
    assert "Check the connection and HF_HUB_OFFLINE, or give the path of a local folder" in " ".join(rest)


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
