from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_core.errors import CheckpointError, InputError
from distilbert_serve.metrics import Metrics
from distilbert_serve.models import Models, Source, sources_of
from distilbert_serve.settings import Settings
from support.serving import sources


def names(*args: str, backends: tuple[str, ...] = ("pt",)) -> list[tuple[str, str]]:
    return [(source.name, source.place) for source in sources_of(args, backends)]


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert names("sst2-tiny", "someone/bert", "a=./x", ".", "b=x=y") == [
        ("sst2-tiny", "sst2-tiny"),
        ("bert", "someone/bert"),
        ("a", "./x"),
        ("mine", str(tmp_path / "mine")),
        ("b", "x=y"),
    ]
    assert names("./a/b=c") == [("b=c", "./a/b=c")]
    assert names("a=x", backends=("pt", "flax")) == [("a@pt", "x"), ("a@flax", "x")]
    for wrong in ("=x", "a=", ""):
        with pytest.raises(InputError, match="must be FOLDER_OR_HUB_ID or NAME=FOLDER_OR_HUB_ID, got"):
            names(wrong)
    with pytest.raises(InputError, match="Two models are called 'x'"):
        names("a/x", "b/x")


def test_a_model_that_cannot_be_loaded_ends_all(folders: dict[str, Path], backend: str, tmp_path: Path) -> None:
    given = sources({"moods": folders["moods"], "missing": tmp_path / "missing"}, backend)
    with pytest.raises(CheckpointError, match="missing"):
        Models(given, Settings(), Metrics())


def test_a_model_without_the_name_of_its_head(folders: dict[str, Path], backend: str, tmp_path: Path) -> None:
    for file in folders["moods"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("DistilBertForSequenceClassification", "Other"))
    with pytest.raises(InputError, match="the model does not say which task"):
        Models([Source("a", str(tmp_path), backend, {})], Settings(), Metrics())


def test_a_folder_is_never_a_hub_id_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (source,) = sources_of(["models/mine"], ["pt"])
    assert source.place == str(tmp_path / "models" / "mine")
    (other,) = sources_of(["models/other"], ["pt"])
    assert other.place == "models/other"
