"""Several processes and threads that save to one folder and read from it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from distilbert_core import DistilBertConfig, Head
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.files.journal import PREFIX
from support.checkpoints import random_arrays, save_random, small_config

HEAD = Head.SEQUENCE_CLASSIFICATION
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from support.checkpoints import save_random, small_config
from distilbert_core import Head
folder, seed = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(12):
    save_random(folder, small_config(dropout=seed / 100), Head.SEQUENCE_CLASSIFICATION, seed, "float32",
                max_shard_size="1GB" if seed == 1 else 9000)
"""


def seed_of(folder: Path) -> int:
    """The seed of the checkpoint in a folder; an error if files of several are mixed."""
    config = DistilBertConfig.from_pretrained(folder)
    stored = Checkpoint(folder)
    seed = round(config.dropout * 100)
    for name, array in random_arrays(config, HEAD, seed, "float32").items():
        assert (stored.read(name) == array).all(), f"config.json is of {seed}, {name} is not"
    return seed


def litter(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{PREFIX}*"))


@pytest.mark.parametrize("exists", [False, True])
def test_two_processes_save_to_one_folder(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "folder"
    if exists:
        save_random(folder, small_config(dropout=0.03), HEAD, 3, "float32")
    tests = str(Path(__file__).parents[2])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tests, folder, seed], **pipes) for seed in ("1", "2")]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.wait(120) for writer in writers] == [0, 0]
    for writer in writers:
        writer.communicate()
    assert seed_of(folder) in (1, 2)
    names = {path.name for path in folder.iterdir()}
    shards = {name for name in names if "-of-" in name}
    assert names - shards in ({"config.json", "model.safetensors"}, {"config.json", "model.safetensors.index.json"})
    assert bool(shards) == ("model.safetensors" not in names)  # nothing of the other is left
    assert litter(tmp_path) == []


def in_threads(*actions: Callable[[], object]) -> list[BaseException]:
    """Do several things at the same time; return the errors."""
    errors: list[BaseException] = []

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


def test_threads_save_to_one_folder(tmp_path: Path) -> None:
    def save(seed: int) -> None:
        for number in range(4):
            content = f"{seed} {number}".encode()
            replace_files(tmp_path / "folder", {"a": content, "b/c": content, f"only-{seed}": content}, old)

    def old() -> list[str]:
        return [path.name for path in (tmp_path / "folder").glob("only-*")]

    assert in_threads(*(lambda seed=seed: save(seed) for seed in range(8))) == []
    contents = {path.read_text() for path in (tmp_path / "folder").rglob("*") if path.is_file()}
    assert len(contents) == 1
    assert litter(tmp_path) == []
