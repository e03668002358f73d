"""pytorch_model.bin: bit for bit like the other formats, and no way to run code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import Head
from distilbert_core.errors import CheckpointError
from support.checkpoints import random_arrays, save_random, small_config
from support.conversions import PHASES, bits, chains, check_chain, configs
from support.damage import HEAD, check_outcome, damaged_copies, make_source
from support.processes import fresh_python
from weight_conversion import convert, open_weights

FORMATS = ("bin", "pt", "tf", "flax", "h5", "msgpack")
NAME = "distilbert.embeddings.LayerNorm.bias"


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(configs(), st.sampled_from(list(Head)), chains(FORMATS), st.integers(0, 2**32 - 1))
def test_every_chain_of_formats_returns_the_same_bits(config: Any, head: Head, chain: Any, seed: int) -> None:
    check_chain(config, head, *chain, seed)


def read_back(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.read() for name, tensor in open_weights(folder).tensors.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_what_pytorch_saves_is_read(tmp_path: Path, zipped: bool, dtype: torch.dtype) -> None:
    """Parameters, views of a larger tensor, transposed ones, and two names for one memory."""
    config = small_config()
    arrays = random_arrays(config, Head.MASKED_LM)
    state = OrderedDict((name, torch.from_numpy(array).to(dtype)) for name, array in arrays.items())
    words = "distilbert.embeddings.word_embeddings.weight"
    expected = {name: value.clone() for name, value in state.items()}
    state["vocab_projector.weight"] = state[words]
    state["vocab_transform.weight"] = state["vocab_transform.weight"].T.contiguous().T
    state["vocab_transform.bias"] = torch.stack([state["vocab_transform.bias"]] * 3)[1]
    state["vocab_projector.bias"] = torch.nn.Parameter(state["vocab_projector.bias"])
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    config.save_pretrained(tmp_path)
    found = read_back(tmp_path)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert torch.equal(torch.from_numpy(array.astype(np.float64)), expected[name].double()), name


def test_pytorch_reads_the_written_files(tmp_path: Path) -> None:
    arrays = save_random(tmp_path / "source", small_config(), HEAD, dtype="float32")
    convert(tmp_path / "source", tmp_path / "new", "bin")
    state = torch.load(tmp_path / "new/pytorch_model.bin", weights_only=True)
    assert bits({name: value.numpy() for name, value in state.items()}) == bits(arrays)


def test_only_torch_is_imported(tmp_path: Path) -> None:
    save_random(tmp_path / "source", small_config(), HEAD, dtype="float32")
    code = f"""
import sys
from weight_conversion import convert
convert({str(tmp_path / "source")!r}, {str(tmp_path / "bin")!r}, "bin")
convert({str(tmp_path / "bin")!r}, {str(tmp_path / "back")!r}, "pt")
print(sorted({{"torch", "tensorflow", "keras", "jax", "flax"}} & sys.modules.keys()))
"""
    assert fresh_python(code) == "['torch']\n"


# -- damaged and hostile files ----------------------------------------------------------------------------------


def check_damaged_copies(tmp_path: Path, count: int, seed: int) -> None:
    arrays = make_source(tmp_path, "bin")
    file = tmp_path / "source/pytorch_model.bin"
    (tmp_path / "empty").mkdir()
    outcomes = set()
    for content, _ in damaged_copies(file.read_bytes(), count, seed):
        file.write_bytes(content)
        outcomes.add(check_outcome(tmp_path / "source", tmp_path / "empty", arrays, 0))  # it has checksums
    assert outcomes == {"error", "load"}


def test_a_damaged_file_is_an_error_or_loads_the_same_values(tmp_path: Path) -> None:
    check_damaged_copies(tmp_path, count=60, seed=1)


@pytest.mark.long
def test_many_damaged_files_are_errors_or_load_the_same_values(tmp_path: Path) -> None:
    check_damaged_copies(tmp_path, count=1000, seed=2)


class Harm:
    """Would make a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class Bomb:
    """Would take 100 GB where it is unpickled, by a function that PyTorch's weights_only allows."""

    def __reduce__(self) -> Any:
        return bytearray, (10**11,)


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def compressed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return buffer.getvalue()


ATTACKS = {  # content of pytorch_model.bin, from the state dict and the path of a file that must not appear
    "malicious": (lambda state, path: saved({**state, NAME: Harm(path)}), "it would call posix.mkdir"),
    "malicious, before 1.6": (
        lambda state, path: saved({**state, NAME: Harm(path)}, _use_new_zipfile_serialization=False),
        "it would call posix.mkdir",
    ),
    "malicious, new protocol": (
        lambda state, path: saved({**state, NAME: Harm(path)}, pickle_protocol=4),
        "its pickle has PROTO 4",
    ),
    "malicious, plain": (lambda state, path: pickle.dumps(Harm(path), 2), "it would call posix.mkdir"),
    "bomb": (lambda state, path: saved({**state, NAME: Bomb()}, pickle_protocol=2), "it would call"),
    "zip bomb": (lambda state, path: compressed(saved({"a": torch.zeros(2**22)})), "is compressed"),
    "a tensor": (lambda state, path: saved(state[NAME]), "it holds a Tensor"),
    "a list": (lambda state, path: saved(list(state.values())), "it holds a list"),
    "nested twice": (lambda state, path: saved({"run": {"weights": state}}), "'run' is not a tensor"),
    "two state dicts": (lambda state, path: saved({"model": state, "ema": state}), "several state dicts, model, ema"),
    "malicious, beside the state": (
        lambda state, path: saved({"state_dict": state, "hyper_parameters": Namespace(a=Harm(path))}),
        "it would call posix.mkdir.*If you trust it",
    ),
    "whole model": (
        lambda state, path: saved(torch.nn.Linear(2, 2)),
        r"it would call torch.nn.*save the weights alone",
    ),
    "numbers as names": (lambda state, path: saved(dict(enumerate(state.values()))), "0 is not a tensor with a name"),
    "missing": (lambda state, path: saved({name: state[name] for name in state if name != NAME}), f"lacks 1 .*{NAME}"),
    "other shape": (lambda state, path: saved({**state, NAME: torch.ones(3, 4)}), r"\(3, 4\) stored, \(12,\) expected"),
    "huge view": (
        lambda state, path: saved({**state, NAME: torch.ones(1).expand(2**40)}),
        "more than the file can hold",
    ),
    "integers": (
        lambda state, path: saved({**state, NAME: torch.ones(12, dtype=torch.int32)}),
        "floating dtype, got in",
    ),
    "sparse": (lambda state, path: saved({**state, NAME: torch.ones(12).to_sparse()}), "it would call"),
    "empty": (lambda state, path: b"", "damaged"),
    "text": (lambda state, path: b"version https://git-lfs", "damaged"),
    "empty zip": (lambda state, path: b"PK\5\6" + bytes(18), "damaged"),
}


def test_settings_beside_the_weights_are_left_out(tmp_path: Path) -> None:
    """As Lightning saves them: objects of a few known classes, none of which is made."""
    arrays = random_arrays(small_config(), HEAD, dtype="float32")
    state = {f"model.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    settings = Namespace(rate=0.1, folder=Path("x"), inner={"deep": [Namespace()]})
    small_config().save_pretrained(tmp_path)
    torch.save({"epoch": 1, "state_dict": state, "hyper_parameters": settings}, tmp_path / "last.ckpt")
    weights = open_weights(tmp_path / "last.ckpt")
    assert weights.notes == ["Of last.ckpt only the weights were read, and not: epoch, hyper_parameters."]
    assert bits({name: tensor.read() for name, tensor in weights.tensors.items()}) == bits(arrays)


@pytest.mark.parametrize(("attack", "message"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_hostile_file_is_a_clear_error(attack: Any, message: str, tmp_path: Path) -> None:
    arrays = random_arrays(small_config(), HEAD, dtype="float32")
    source = tmp_path / "source"
    small_config().save_pretrained(source)
    content = attack({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "harm")
    (source / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
