"""Former import paths give the modules that have moved."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast
from distilbert_core.moved import MOVED, new_name


@pytest.mark.parametrize("old", [*MOVED, "distilbert_core.cli.info", "distilbert_core.distillation.cache"])
def test_a_former_path_is_the_module_that_moved(old: str) -> None:
    name = new_name(old)
    assert name is not None
    module = importlib.import_module(name)
    spec = module.__spec__
    assert importlib.import_module(old) is module
    assert (module.__name__, module.__spec__) == (name, spec)  # of the module, not of the former path


def test_names_are_imported_from_a_former_path() -> None:
    script = (
        "from distilbert_core.packing import pack\n"
        "from distilbert_core import hub\n"
        "import distilbert_core.distillation.cache as cache\n"
        "print(pack.__module__, hub.__name__, cache.__name__)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [
        "distilbert_core.model.packing",
        "distilbert_core.files.hub",
        "distilbert_core.training.distillation.cache",
    ]


def test_what_did_not_move_is_unknown() -> None:
    assert new_name("distilbert_core.pipelines") is None
    with pytest.raises(ModuleNotFoundError, match=r"distilbert_core\.no_such_module"):
        importlib.import_module("distilbert_core.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("distilbert_core.distillation.no_such_module")


def test_a_pickled_tokenizer_still_opens() -> None:
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    assert pickle.loads(pickle.dumps(tokenizer))("text")["input_ids"] == tokenizer("text")["input_ids"]


def test_a_former_path_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "distilbert_core.cli", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.startswith("distilbert ")
