"""Former import paths lead to the modules that moved."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import subprocess
import sys
from unittest import mock

import pytest

from distilbert_core.moved import MOVED, MOVED_NAMES, new_name
from support.paths import FIXTURES


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
    assert importlib.util.find_spec("distilbert_core.distillation.no_such_module") is None


@pytest.mark.parametrize("kind", ["fast", "slow"])
def test_a_tokenizer_pickled_before_modules_moved_still_opens(kind: str) -> None:
    tokenizer, encoding = pickle.loads((FIXTURES / "pickles" / f"{kind}.pickle").read_bytes())
    assert (tokenizer.is_fast, tokenizer.model_max_length, tokenizer.name_or_path) == (kind == "fast", 9, "small")
    assert encoding["input_ids"] == [2, 5, 6, 7, 8, 3]
    assert encoding.word_ids() == [None, 0, 0, 0, 1, None]
    assert tokenizer("embedding new") == encoding
    tokenizer.add_tokens(["newer"])
    assert tokenizer.tokenize("newer embedding") == ["newer", "em", "##bed", "##ding"]
    assert pickle.loads(pickle.dumps(tokenizer))("newer new")["input_ids"] == [2, 9, 8, 3]


def test_a_former_path_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "distilbert_core.cli", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.startswith("distilbert ")


@pytest.mark.parametrize(("former", "names"), MOVED_NAMES.items())
def test_names_that_left_their_module_are_imported_from_a_former_path(former: str, names: dict[str, str]) -> None:
    for name, home in names.items():
        assert getattr(importlib.import_module(former), name) is getattr(importlib.import_module(home), name)


def test_a_former_path_can_be_found_reloaded_and_patched() -> None:
    for former in ("distilbert_core.records", "distilbert_core.distillation"):
        sys.modules.pop(former, None)
        spec = importlib.util.find_spec(former)
        assert spec is not None
        assert spec.name == former
        module = importlib.import_module(former)
        assert importlib.util.find_spec(former) is module.__spec__
        assert importlib.reload(module) is module is importlib.import_module(MOVED[former])
    with mock.patch("distilbert_core.hub.find_file", None):
        assert importlib.import_module("distilbert_core.files.hub").find_file is None
