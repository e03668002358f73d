"""Where files come from: a folder, an embedded model, or the Hub by huggingface_hub's own code.

The Hub is a stand-in on this machine (`hub_server`); nothing here needs the network.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants

from distilbert_cli.info import describe
from distilbert_core import DEFAULT_MODEL, CheckpointError, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core.errors import InputWarning
from distilbert_core.files.checkpoint import Checkpoint, save_checkpoint
from distilbert_core.files.hub import (
    DEFAULT_MODELS,
    EMBEDDED_MODELS,
    default_model,
    find_file,
    local_folder,
    resolve_file,
    split_hub_options,
)
from distilbert_core.files.selection import Selection
from distilbert_core.model.checkpoint_loading import _open
from support.checkpoints import random_arrays, small_config
from support.hub_server import HubServer, Repository, commit_of, forget_connections, in_place_of_the_hub, redirect
from weight_conversion import convert

REPO = "someone/model"
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "##ly")
FILES = {
    "config.json": json.dumps({"n_layers": 3}).encode(),
    "vocab.txt": "\n".join(VOCABULARY).encode(),
    "inner/config.json": json.dumps({"n_layers": 4}).encode(),
}
V2 = {"config.json": json.dumps({"n_layers": 5}).encode()}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub with one repository, in place of the real one; an empty cache, and no token."""
    with in_place_of_the_hub(monkeypatch, tmp_path) as server:
        server.repositories[REPO] = Repository({"main": FILES, "v2": V2, "refs/pr/1": V2, commit_of("v2"): V2})
        yield server


def offline_by_keyword(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"local_files_only": True}


def offline_by_variable(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    forget_connections()  # older versions look at the variable when they make one
    return {}


both_ways_offline = pytest.mark.parametrize("go_offline", [offline_by_keyword, offline_by_variable])


def disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody listen at the Hub's address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    redirect(f"http://127.0.0.1:{port}", monkeypatch)


# -- found files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name", "layers"),
    [
        ({}, "main/config.json", 3),
        ({"revision": "main"}, "main/config.json", 3),
        ({"revision": "v2"}, "v2/config.json", 5),
        ({"revision": "refs/pr/1"}, "refs%2Fpr%2F1/config.json", 5),
        ({"revision": commit_of("v2")}, f"{commit_of('v2')}/config.json", 5),
        ({"subfolder": "inner"}, "main/inner/config.json", 4),
        ({"subfolder": ""}, "main/config.json", 3),
    ],
    ids=str,
)
def test_download(hub: HubServer, options: dict[str, Any], name: str, layers: int) -> None:
    path = find_file(REPO, "config.json", **options)
    assert json.loads(path.read_text()) == {"n_layers": layers}
    assert hub.downloads == [name]
    assert DistilBertConfig.from_pretrained(REPO, **options).n_layers == layers
    assert hub.downloads == [name]  # the second time from the cache


def test_a_default_model_is_named_before_it_is_downloaded(hub: HubServer) -> None:
    """And not any more once the cache has it."""
    model = DEFAULT_MODELS["fill-mask"].name
    hub.repositories[model] = Repository({"main": {**FILES, "model.safetensors": b"weights"}})
    for name in ("config.json", "model.safetensors"):
        with pytest.warns(InputWarning, match=f"fill-mask takes {model} of the Hub, which is downloaded now"):
            assert default_model("fill-mask") == model
        assert find_file(model, name) is not None
    assert default_model("fill-mask") == model
    assert hub.downloads == ["main/config.json", "main/model.safetensors"]


def test_cache_dir_and_force_download(hub: HubServer, tmp_path: Path) -> None:
    path = find_file(REPO, "config.json", cache_dir=tmp_path / "mine")
    assert path.is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()
    assert find_file(REPO, "config.json", cache_dir=tmp_path / "mine", force_download=True) == path
    assert hub.downloads == ["main/config.json"] * 2


def test_a_file_that_does_not_exist(hub: HubServer) -> None:
    assert find_file(REPO, "tokenizer.json") is None
    assert find_file(REPO, "config.json", subfolder="other") is None
    with pytest.raises(CheckpointError, match=r"^someone/model has no file tokenizer\.json\.$"):
        resolve_file(REPO, "tokenizer.json")
    assert hub.downloads == []


@pytest.mark.parametrize("gated", [False, True])
def test_the_token_is_sent(hub: HubServer, gated: bool) -> None:
    hub.repositories[REPO].token = "hf_secret"
    hub.repositories[REPO].gated = gated
    assert find_file(REPO, "config.json", token="hf_secret").is_file()
    assert {token for _, path, token in hub.requests if "/resolve/" in path} == {"hf_secret"}


def test_no_token_is_sent_unasked(hub: HubServer) -> None:
    find_file(REPO, "config.json")
    assert {token for *_, token in hub.requests} == {None}


# -- offline -----------------------------------------------------------------------------------------------


@both_ways_offline
def test_what_was_downloaded_is_there_offline(hub: HubServer, go_offline: Callable, monkeypatch: Any) -> None:
    path = find_file(REPO, "config.json")
    assert find_file(REPO, "tokenizer.json") is None
    hub.requests.clear()
    where = go_offline(monkeypatch)
    assert find_file(REPO, "config.json", **where) == path
    assert find_file(REPO, "tokenizer.json", **where) is None
    assert hub.requests == []


@both_ways_offline
def test_a_checkpoint_cached_as_a_whole_is_all_there_is_offline(
    hub: HubServer, go_offline: Callable, monkeypatch: Any
) -> None:
    """A file that another program had no reason to ask for is not waited for in vain."""
    huggingface_hub.hf_hub_download(REPO, "config.json")
    huggingface_hub.hf_hub_download(REPO, "vocab.txt")
    hub.requests.clear()
    where = go_offline(monkeypatch)
    assert DistilBertTokenizerFast.from_pretrained(REPO, **where).tokenize("badly good") == [
        "bad",
        "##ly",
        "good",
    ]
    note = "in the local cache, which is the only source offline"
    with pytest.raises(CheckpointError, match=rf"^someone/model has no file x\.json {note}"):
        resolve_file(REPO, "x.json", **where)
    with pytest.raises(CheckpointError, match=f"has no weights: none of model.safetensors, .* {note}"):
        Checkpoint(REPO, **where)
    with pytest.raises(CheckpointError, match=f"has neither tokenizer.json nor vocab.txt {note}"):
        DistilBertTokenizerFast.from_pretrained(REPO, subfolder="inner", **where)
    assert hub.requests == []


@both_ways_offline
@pytest.mark.parametrize("options", [{}, {"revision": "v2"}, {"force_download": True}], ids=str)
def test_not_in_the_cache(
    hub: HubServer, go_offline: Callable, options: dict[str, Any], monkeypatch: Any, tmp_path: Path
) -> None:
    find_file(REPO, "config.json", cache_dir=tmp_path / "another")
    if options:  # the branch is cached, another revision is not, and nothing can be downloaded again
        find_file(REPO, "config.json")
    hub.requests.clear()
    where = {**options, **go_offline(monkeypatch)}
    message = "^config.json of 'someone/model' is not in the local cache and could not be fetched from the Hub: .*"
    with pytest.raises(CheckpointError, match=message + "HF_HUB_OFFLINE, or give the path of a local folder"):
        find_file(REPO, "config.json", **where)
    assert hub.requests == []


def test_without_a_connection_the_cache_is_used(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_file(REPO, "config.json")
    assert find_file(REPO, "tokenizer.json") is None
    disconnect(monkeypatch)
    assert find_file(REPO, "config.json") == path
    assert find_file(REPO, "tokenizer.json") is None
    # Nobody has asked for this one, so the Hub may have it.
    with pytest.raises(CheckpointError, match=r"^vocab.txt of 'someone/model' is not in the local cache"):
        find_file(REPO, "vocab.txt")


def test_a_sharded_checkpoint_online_and_offline(hub: HubServer, tmp_path: Path) -> None:
    config = small_config(vocab_size=len(VOCABULARY), num_labels=3)
    arrays = random_arrays(config, Head.BASE, dtype=np.float32)
    save_checkpoint(tmp_path / "model", arrays, {"config.json": config.to_json_string().encode()}, "2KB")
    files = {f"inner/{path.name}": path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert len(files) > 4
    hub.repositories[REPO].revisions["main"] = {**files, "inner/vocab.txt": FILES["vocab.txt"]}
    for where in ({}, {"local_files_only": True}):
        hub.requests.clear()
        assert DistilBertConfig.from_pretrained(REPO, subfolder="inner", **where) == config
        checkpoint = Checkpoint(REPO, subfolder="inner", **where)
        assert checkpoint.entries.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.read(name), array)
        tokenizer = DistilBertTokenizerFast.from_pretrained(REPO, subfolder="inner", **where)
        assert tokenizer("good")["input_ids"] == [2, 5, 3]
        assert bool(hub.requests) == (not where)


@pytest.mark.parametrize("shard", ["1GB", "2KB"])
def test_files_are_compared_with_the_checksums_of_the_hub(hub: HubServer, tmp_path: Path, shard: str) -> None:
    config = small_config(vocab_size=len(VOCABULARY))
    arrays = random_arrays(config, Head.BASE, dtype=np.float32)
    save_checkpoint(tmp_path / "model", arrays, {"config.json": config.to_json_string().encode()}, shard)
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    hub.repositories[REPO].revisions["main"] = files
    _open(REPO, None, "np", Selection(), True, {}, {})
    convert(REPO, tmp_path / "converted", "h5", verify=True)
    for name, content in files.items():
        file = find_file(REPO, name, local_files_only=True)
        assert file is not None
        last = b" " if name.endswith(".json") else bytes([content[-1] ^ 1])  # it can be read as before
        file.resolve().write_bytes(content.removesuffix(b"\n")[: len(content) - 1] + last)
        with pytest.raises(CheckpointError, match=f"{name} differs from its checksum on the Hub. Fetch it again"):
            Checkpoint(REPO, local_files_only=True).verify(REPO)
        with pytest.raises(CheckpointError, match=f"{name} differs from its checksum on the Hub. Fetch it again"):
            convert(REPO, tmp_path / "new", "h5", verify=True)
        assert not (tmp_path / "new").exists()
        checkpoint, found, _ = _open(REPO, None, "np", Selection(), True, {"force_download": True}, {})  # as it advises
        assert found == config
        np.testing.assert_array_equal(checkpoint.read(next(iter(arrays))), next(iter(arrays.values())))
    Checkpoint(REPO, local_files_only=True).verify(REPO)


# -- what goes wrong ---------------------------------------------------------------------------------------

UNREACHABLE = "^config.json of '{}' is not in the local cache and could not be fetched from the Hub: "
NOT_SHOWN = r"^'{}' is neither a local folder nor a repository that the Hub shows you \({}\); check the name"


@pytest.mark.parametrize(
    ("source", "options", "repository", "message"),
    [
        ("nobody/nothing", {}, None, NOT_SHOWN.format("nobody/nothing", "RepositoryNotFoundError")),
        ("nothing", {}, None, NOT_SHOWN.format("nothing", "RepositoryNotFoundError")),
        (REPO, {"revision": "v9"}, None, NOT_SHOWN.format(REPO, "RevisionNotFoundError")),
        (REPO, {}, {"token": "hf_x"}, NOT_SHOWN.format(REPO, "RepositoryNotFoundError") + ".*give token="),
        (REPO, {"token": "hf_y"}, {"token": "hf_x"}, NOT_SHOWN.format(REPO, "RepositoryNotFoundError")),
        (REPO, {}, {"token": "hf_x", "gated": True}, "^someone/model is a gated repository: ask for access"),
        (REPO, {}, {"fault": "status"}, UNREACHABLE.format(REPO)),
        (REPO, {}, {"fault": "drop"}, UNREACHABLE.format(REPO)),
        (REPO, {"force_download": True}, {"fault": "status"}, UNREACHABLE.format(REPO)),
    ],
)
def test_errors_of_the_hub(
    hub: HubServer, source: str, options: dict[str, Any], repository: dict[str, Any] | None, message: str
) -> None:
    for name, value in (repository or {}).items():
        setattr(hub.repositories[REPO], name, value)
    with pytest.raises(CheckpointError, match=message) as caught:
        find_file(source, "config.json", **options)
    assert caught.value.__cause__ is not None
    with pytest.raises(CheckpointError, match=message):
        DistilBertConfig.from_pretrained(source, **options)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    disconnect(monkeypatch)
    with pytest.raises(CheckpointError, match=UNREACHABLE.format(REPO) + ".*Check the connection"):
        find_file(REPO, "config.json")


def test_a_damaged_download_names_its_file(hub: HubServer) -> None:
    hub.repositories[REPO].revisions["main"] = {"config.json": b"<html>", "tokenizer.json": b"<html>"}
    with pytest.raises(CheckpointError, match=r"config\.json is not valid JSON"):
        DistilBertConfig.from_pretrained(REPO)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not valid JSON"):
        DistilBertTokenizerFast.from_pretrained(REPO)


# -- what never touches the network ------------------------------------------------------------------------


@pytest.fixture
def no_network(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"the network was used: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert hub.requests == []


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("source", ["folder", "./folder", "absolute", Path("folder"), REPO, DEFAULT_MODEL], ids=str)
def test_local_sources(source: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder comes before a Hub id of the same name, and an embedded model before the Hub."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", REPO):
        (tmp_path / name).mkdir(parents=True)
        for file in ("config.json", "vocab.txt"):
            (tmp_path / name / file).write_bytes(FILES[file])
    source = tmp_path / "folder" if source == "absolute" else source
    folder = EMBEDDED_MODELS / source if source == DEFAULT_MODEL else Path(source)
    assert local_folder(source) == folder
    assert find_file(source, "vocab.txt") == folder / "vocab.txt"
    assert find_file(source, "missing.txt") is None
    assert find_file(source, "vocab.txt", subfolder="inner", revision="v2", token="x", force_download=True) is None
    assert DistilBertTokenizerFast.from_pretrained(source).convert_tokens_to_ids("[PAD]") == 0
    with pytest.raises(CheckpointError, match=r"has no file missing\.txt\.$"):
        resolve_file(source, "missing.txt", local_files_only=True)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "^Give the path of a folder, or a Hub id; got an empty text"),
        *(
            (text, r"^The folder .* does not exist")
            for text in (
                "/no/such/folder",
                "./model",
                "../model",
                "~/no/such/folder",
                "~nobody-of-this-name/model",
                "models/checkpoints/best",
                "some/folder/",
                "C:\\models\\best",
                "models\\best",
                "\\\\server\\share",
                "C:/models/best",
                Path("model"),
                Path("someone/other"),
            )
        ),
        *(
            (text, "is neither a local folder nor a repository that the Hub shows you .HFValidationError.")
            for text in ("C:/models", "some folder", "model/", "someone/model@v2", "https:", "a--b", "x" * 97)
        ),
        ("file", "^file is a file; give the folder that holds it"),
        (Path("file"), "^file is a file; give the folder that holds it"),
    ],
    ids=str,
)
def test_paths_that_lead_nowhere(
    source: str | Path, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    for find in (find_file, resolve_file):
        with pytest.raises(CheckpointError, match=message):
            find(source, "config.json")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("source", [None, 5])
def test_a_source_of_another_type(source: Any) -> None:
    with pytest.raises(TypeError, match="str, bytes or os"):
        find_file(source, "config.json")


def test_split_hub_options() -> None:
    where = {
        "revision": "v2",
        "cache_dir": "cache",
        "token": "hf_x",
        "local_files_only": True,
        "force_download": False,
        "subfolder": "inner",
    }
    given = {**where, "num_labels": 3, "dim": 24}
    assert split_hub_options(given) == (where, {"num_labels": 3, "dim": 24})
    assert split_hub_options({}) == ({}, {})
    assert len(given) == 8


# -- the variables of the environment ----------------------------------------------------------------------

SCRIPT = """
import sys
from distilbert_core import CheckpointError, DistilBertConfig
try:
    print(DistilBertConfig.from_pretrained(sys.argv[1]).n_layers)
except CheckpointError as error:
    print(error)
"""


def test_the_variables_of_huggingface_hub_are_honoured(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories[REPO].token = "hf_secret"
    variables = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_OFFLINE": "0",
    }

    def run(**more: str) -> str:
        environment = {**os.environ, **variables, **more}
        command = [sys.executable, "-c", SCRIPT, REPO]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert "config.json of 'someone/model' is not in the local cache" in run(HF_HUB_OFFLINE="1")
    assert hub.requests == []
    assert run() == "3"
    assert hub.downloads == ["main/config.json"]
    hub.requests.clear()
    assert run(HF_HUB_OFFLINE="1") == "3"
    assert hub.requests == []


def test_info_of_weights_in_another_format(hub: HubServer) -> None:
    """Also where the cache has none of the files yet."""
    hub.repositories["someone/old"] = Repository({"main": {**FILES, "pytorch_model.bin": b"weights"}})
    found = describe("someone/old")
    assert found["weights"] == "pytorch_model.bin: cannot be opened; distilbert convert shows the reason"
    assert found["files"] == {"config.json": len(FILES["config.json"]), "pytorch_model.bin": 7}
