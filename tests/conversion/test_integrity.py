"""Checksums: a flipped bit in any file of any format is found before a value is used."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from distilbert_core.errors import CheckpointError, DistilBertError
from distilbert_core.files.checksums import CHECKSUMS
from support.integrity import check_bits, flip_one_bit
from support.mutators.base import write_source
from weight_conversion import convert

WITHOUT_FRAMEWORK = ("pt", "tf", "flax", "h5", "msgpack", "keras", "keras-weights", "kerashub")


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_a_flipped_bit_is_found_in_each_file(to: str, tmp_path: Path) -> None:
    check_bits(to, tmp_path)


def test_a_flipped_bit_of_a_shard(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "pt", max_shard_size="5KB", checksum=True)
    shard = sorted((tmp_path / "source").glob("*.safetensors"))[1]
    flip_one_bit(shard, np.random.default_rng(0))
    with pytest.raises(CheckpointError, match=rf"{shard.name} differs from its SHA-256 in checksums\.sha256"):
        convert(tmp_path / "source", tmp_path / "new", verify=True)


def test_the_list_is_read_by_sha256sum(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "kerashub", checksum=True)
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("sha256sum is not installed")
    command = [program, "--check", "--strict", "--quiet", CHECKSUMS]
    assert subprocess.run(command, cwd=tmp_path / "source").returncode == 0
    (tmp_path / "source/task.json").write_text("{}")
    assert subprocess.run(command, cwd=tmp_path / "source", capture_output=True).returncode == 1


def test_a_checkpoint_without_checksums_is_one_error(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "pt")
    with pytest.raises(CheckpointError, match=r"source has no checksums\.sha256.*leave out verify"):
        convert(tmp_path / "source", tmp_path / "new", verify=True)


def test_a_file_that_is_missing_or_was_added(tmp_path: Path) -> None:
    write_source(tmp_path / "source", "h5", checksum=True)
    write_source(tmp_path / "other", "pt")
    (tmp_path / "source/vocab.txt").rename(tmp_path / "vocab.txt")
    with pytest.raises(CheckpointError, match=r"lacks files that its checksums\.sha256 lists: vocab\.txt"):
        convert(tmp_path / "source", tmp_path / "new", verify=True)
    (tmp_path / "vocab.txt").rename(tmp_path / "source/vocab.txt")
    shutil.copy(tmp_path / "other/model.safetensors", tmp_path / "source")  # it is read instead of tf_model.h5
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not in checksums\.sha256"):
        convert(tmp_path / "source", tmp_path / "new", verify=True)


@pytest.mark.parametrize("line", ["x", "0" * 64 + "  ../x", "0" * 64 + "  /etc/passwd", "0" * 63 + "  a", "\xff"])
def test_a_damaged_list_is_one_error(line: str, tmp_path: Path) -> None:
    write_source(tmp_path / "source", "pt", checksum=True)
    (tmp_path / "source" / CHECKSUMS).write_bytes(f"{line}\n".encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"checksums\.sha256"):
        convert(tmp_path / "source", tmp_path / "new", verify=True)


def test_the_list_is_never_stale(tmp_path: Path) -> None:
    """A save without checksums into a folder with a list renews the entries of its files, and keeps the others."""
    write_source(tmp_path / "folder", "h5", checksum=True)
    write_source(tmp_path / "other", "pt")
    (tmp_path / "other/vocab.txt").unlink()
    (tmp_path / "other/tokenizer_config.json").unlink()
    before = (tmp_path / "folder" / CHECKSUMS).read_text().splitlines()
    convert(tmp_path / "other", tmp_path / "folder", "msgpack", force=True)
    after = (tmp_path / "folder" / CHECKSUMS).read_text().splitlines()
    assert [line[66:] for line in after] == ["config.json", "flax_model.msgpack", "tokenizer_config.json", "vocab.txt"]
    assert [line for line in before if "vocab.txt" in line] == [line for line in after if "vocab.txt" in line]
    weights = convert(tmp_path / "folder", tmp_path / "new", verify=True)
    assert not any(CHECKSUMS in note for note in weights.notes)  # the list is not left behind: it is of other files


def test_a_save_beside_a_list_of_other_files_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / CHECKSUMS).write_text("0" * 64 + "  somebody-else.txt\n")
    write_source(tmp_path / "source", "pt")
    convert(tmp_path / "source", tmp_path / "folder", force=True)
    assert (tmp_path / "folder" / CHECKSUMS).read_text() == "0" * 64 + "  somebody-else.txt\n"


def test_files_in_the_cache_of_the_hub_have_names_of_their_content(tmp_path: Path) -> None:
    """As huggingface_hub keeps them: a small file by its SHA-1 in Git, a large one by its SHA-256."""
    write_source(tmp_path / "plain", "pt")
    repository = tmp_path / "models--me--model"
    snapshot = repository / "snapshots/abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for path in (tmp_path / "plain").iterdir():
        content = path.read_bytes()
        small = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        name = hashlib.sha256(content).hexdigest() if path.suffix == ".safetensors" else small
        (repository / "blobs" / name).write_bytes(content)
        (snapshot / path.name).symlink_to(f"../../blobs/{name}")
    convert(snapshot, tmp_path / "good", verify=True)
    for name in ("model.safetensors", "config.json"):
        real = (snapshot / name).resolve()
        content = real.read_bytes()
        real.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DistilBertError, match=name):
            convert(snapshot, tmp_path / "new", verify=True)
        real.write_bytes(content)
