"""Random checkpoints, and chains of formats that must return them bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import Phase
from hypothesis import strategies as st

from distilbert_core import DistilBertConfig, Head, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint
from weight_conversion import convert, open_weights
from weight_conversion.weights import NUMPY_DTYPES

COMPANIONS = {
    "vocab.txt": b"[PAD]\n[UNK]\n\xc3\xa9\r\n",
    "tokenizer.json": b'{"version":  "1.0"}',
    "tokenizer_config.json": b'{"do_lower_case": true}\n',
    "special_tokens_map.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n# A model\r\n\xff\x00",
}
SHARD_SIZES = ("5GB", "2KB", 1)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # simplifying a failure takes minutes
NO_BFLOAT16 = ("h5",)


@st.composite
def configs(draw: st.DrawFn) -> DistilBertConfig:
    """Return a small configuration with options that change the set of parameters."""
    n_layers, n_heads, head_size = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([2, 4]))
    pruned = draw(st.dictionaries(st.integers(0, n_layers - 1), st.integers(0, n_heads - 1), max_size=n_layers))
    return DistilBertConfig(
        vocab_size=draw(st.integers(3, 19)),
        max_position_embeddings=draw(st.integers(1, 7)),
        sinusoidal_pos_embds=draw(st.booleans()),
        n_layers=n_layers,
        n_heads=n_heads,
        dim=n_heads * head_size,
        hidden_dim=draw(st.integers(1, 11)),
        activation=draw(st.sampled_from(["gelu", "gelu_new", "relu", "swish"])),
        pad_token_id=draw(st.sampled_from([None, 0, 2])),
        tie_word_embeddings=draw(st.booleans()),
        id2label=dict(enumerate(draw(st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True)))),
        pruned_heads={layer: [head] for layer, head in pruned.items()} if n_heads > 1 else {},
        problem_type=draw(st.sampled_from([None, "regression"])),
        a_field_of_its_own=draw(st.sampled_from([None, {"nested": [1, 2.5, "x"]}])),
    )


def random_bits(config: DistilBertConfig, head: Head, dtype: str, seed: int) -> dict[str, np.ndarray]:
    """Return arrays of random bits, so with values of every magnitude; only NaN and infinity become -0."""
    rng, arrays = np.random.default_rng(seed), {}
    for parameter in parameter_table(config, head):
        if parameter.tied_to is None:
            count = int(np.prod(parameter.shape))
            array = np.frombuffer(rng.bytes(count * NUMPY_DTYPES[dtype].itemsize), NUMPY_DTYPES[dtype])
            with np.errstate(invalid="ignore"):  # about a signalling NaN
                array = np.where(np.isfinite(array), array, -NUMPY_DTYPES[dtype].type(0))
            arrays[parameter.name] = array.reshape(parameter.shape)
    return arrays


def arrays_of(source: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint of any format."""
    return {name: tensor.read() for name, tensor in open_weights(source).tensors.items()}


def bits(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype.name, array.tobytes()) for name, array in arrays.items()}


def check_chain(
    config: DistilBertConfig, head: Head, dtype: str, chain: list[tuple[str, int | str]], seed: int
) -> None:
    """Convert a random checkpoint through a chain of formats, and check after each conversion that nothing was lost."""
    arrays = random_bits(config, head, dtype, seed)
    config = config.updated(architectures=[head.architecture])  # what tells a multiple choice from one label
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / "0", arrays, {"config.json": config.to_json_string().encode(), **COMPANIONS})
        for step, (to, shard_size) in enumerate(chain):
            convert(folder / str(step), folder / str(step + 1), to, max_shard_size=shard_size)
            weights = open_weights(folder / str(step + 1))
            assert (weights.format, weights.head, weights.notes) == (to, head, [])
            assert bits(arrays_of(folder / str(step + 1))) == bits(arrays)
            assert weights.config == config.updated(torch_dtype=dtype)
            assert {name: (folder / str(step + 1) / name).read_bytes() for name in COMPANIONS} == COMPANIONS


def chains(formats: tuple[str, ...]) -> st.SearchStrategy[tuple[str, list[tuple[str, int | str]]]]:
    """Return a strategy for a dtype and up to five formats that can hold it, each with a shard size."""

    def of_dtype(dtype: str) -> st.SearchStrategy[Any]:
        able = [name for name in formats if dtype != "bfloat16" or name not in NO_BFLOAT16]
        steps = st.lists(st.tuples(st.sampled_from(able), st.sampled_from(SHARD_SIZES)), min_size=1, max_size=5)
        return st.tuples(st.just(dtype), steps)

    return st.sampled_from(list(NUMPY_DTYPES)).flatmap(of_dtype)
