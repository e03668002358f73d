"""A new format is one module with one row: a toy format follows the recipe of docs/architecture.md step by step."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import DistilBertConfig, Head
from distilbert_core.errors import CheckpointError
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import Parameter
from support.checkpoints import HEADS, save_random, small_config
from support.conversions import NO_BFLOAT16, arrays_of, bits, check_chain
from weight_conversion import FORMATS, convert, open_weights
from weight_conversion.formats import Format, format_table
from weight_conversion.formats.base import Tensors, damaged, read_array
from weight_conversion.names import flax_name
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

OTHERS = ("pt", "tf", "flax", "h5", "msgpack", "keras", "keras-weights")  # all that need no framework

# -- step 1: open and write -------------------------------------------------------------------------------------


def open_file(path: Path) -> dict[str, LazyTensor]:
    """One line of JSON, then the arrays one after the other."""
    try:
        with path.open("rb") as file:
            entries = json.loads(file.readline())
            offset = file.tell()
        tensors = {}
        for name, (dtype, shape) in entries.items():
            read = partial(read_array, path, dtype, tuple(shape), offset)
            tensors[name] = LazyTensor(tuple(shape), dtype, read, f"{path}: {name}")
            offset += tensors[name].nbytes
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise damaged(path, "a toy file", error) from error
    return tensors


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    with path.open("wb") as file:
        header = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
        file.write(json.dumps(header).encode() + b"\n")
        for tensor in tensors.values():
            file.write(tensor.read().tobytes())


# -- step 2: the stored names -----------------------------------------------------------------------------------


def stored_name(parameter: Parameter, head: Head) -> str:
    return f"toy/{flax_name(parameter, head)}"


# -- step 3: the row --------------------------------------------------------------------------------------------

FIELDS: dict[str, Any] = {
    "name": "toy",
    "title": "a toy format",
    "file": "toy_model.toy",
    "stored_name": stored_name,
    "open": open_file,
    "write": write_file,
    "layout": LAYOUTS["flax"],
}
TOY = Format(**FIELDS)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 5: the row is in the table."""
    monkeypatch.setitem(FORMATS, "toy", TOY)


# -- the tests that the row is enough for -----------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_toy_checkpoint_is_recognised_and_read_back(tmp_path: Path, head: Head) -> None:
    save_random(tmp_path / "source", small_config(), head)
    notes = convert(tmp_path / "source", tmp_path / "toy", "toy").notes
    assert notes == []
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["config.json", "toy_model.toy"]
    for source in (tmp_path / "toy", tmp_path / "toy" / "toy_model.toy"):
        weights = open_weights(source)
        assert (weights.format, weights.head, weights.notes) == ("toy", head, [])
        assert bits(arrays_of(source)) == bits(arrays_of(tmp_path / "source"))


def test_kernels_are_transposed_as_the_layout_says(tmp_path: Path) -> None:
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "toy", "toy")
    tensors = open_file(tmp_path / "toy" / "toy_model.toy")
    config = small_config()
    assert tensors["toy/transformer/layer/0/ffn/lin1/kernel"].shape == (config.dim, config.hidden_dim)
    assert tensors["toy/embeddings/word_embeddings/embedding"].shape == (config.vocab_size, config.dim)


@pytest.mark.parametrize(
    ("other", "dtype"),
    [(other, dtype) for other in OTHERS for dtype in NUMPY_DTYPES if dtype != "bfloat16" or other not in NO_BFLOAT16],
)
def test_a_toy_checkpoint_is_converted_from_and_to_other_formats(other: str, dtype: str) -> None:
    config = DistilBertConfig(19, 7, n_layers=2, n_heads=2, dim=8, hidden_dim=11)
    check_chain(config, Head.MASKED_LM, dtype, [("toy", "5GB"), (other, "5GB"), ("toy", "2KB"), ("pt", 1)], seed=3)


def test_every_other_format_without_a_framework_is_in_the_list() -> None:
    need = {"bin": "torch", "orbax": "orbax"} | {format.name: "torch" for format in FORMATS.values() if format.graphs}
    no_heads = {"kerashub"}  # it has some heads only
    assert FORMATS.keys() - need.keys() - no_heads - {"toy"} == set(OTHERS)


def test_a_preset_of_kerashub_is_converted_too(tmp_path: Path) -> None:
    save_random(tmp_path / "source", small_config(), Head.BASE)
    chain = ["source", "toy", "kerashub", "toy-again"]
    for source, to in itertools.pairwise(chain):
        convert(tmp_path / source, tmp_path / to, to.removesuffix("-again"))
    assert bits(arrays_of(tmp_path / "toy-again")) == bits(arrays_of(tmp_path / "source"))


def test_a_damaged_toy_file_is_an_error(tmp_path: Path) -> None:
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "toy", "toy")
    file = tmp_path / "toy" / "toy_model.toy"
    file.write_bytes(b"{" + file.read_bytes())
    with pytest.raises(CheckpointError, match=r"toy_model.toy is damaged or not a toy file"):
        open_weights(tmp_path / "toy")


# -- a row that lacks something ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "title", "file", "stored_name", "open"])
def test_a_row_without_a_field_fails_by_name(field: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != field}
    with pytest.raises(TypeError, match=f"'{field}'"):
        Format(**fields)


def test_a_row_that_cannot_be_written_fails_by_name() -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "write"}
    with pytest.raises(TypeError, match=r"The format 'toy' lacks write or layout_files\."):
        Format(**fields)
    with pytest.raises(TypeError, match=r"The format 'toy' has no write, so it must have split=False\."):
        Format(**fields, layout_files=lambda files, weights, tensors: files)


def test_fields_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        Format("toy", "a toy format", "toy_model.toy", stored_name, open_file, write_file)  # type: ignore[misc]


def test_the_order_of_the_search_is_checked() -> None:
    general, special = replace(TOY, name="general"), replace(TOY, name="special", before=("general",))
    assert list(format_table([special, general])) == ["special", "general"]
    with pytest.raises(TypeError, match=r"'special' must come before general in SEARCH_ORDER\."):
        format_table([general, special])
    with pytest.raises(TypeError, match=r"Two formats are called 'toy'\."):
        format_table([TOY, TOY])


def test_sizes_of_shards(tmp_path: Path) -> None:
    """A format that is split writes files up to the limit, with an index."""
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "toy", "toy", max_shard_size="2KB")
    shards = sorted((tmp_path / "toy").glob("toy_model-*-of-*.toy"))
    assert len(shards) > 1
    assert (tmp_path / "toy" / "toy_model.toy.index.json").is_file()
    total = sum(math.prod(tensor.shape) for shard in shards for tensor in open_file(shard).values())
    assert total == sum(array.size for array in arrays_of(tmp_path / "source").values())
