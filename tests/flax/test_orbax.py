"""Orbax checkpoints: saved NNX states are read, and written checkpoints go back into NNX models."""

from __future__ import annotations

import json
import shutil

import orbax.checkpoint as ocp
import pytest
from flax import nnx

from distilbert_cli.info import describe
from distilbert_core import CheckpointError, Head
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.conversions import arrays_of, bits
from support.frameworks import FRAMEWORKS
from support.jax_trees import numbers
from weight_conversion import convert, open_weights

DTYPES = ("float64", "float32", "float16", "bfloat16")
PARAMETERS = nnx.Not(nnx.RngState)
MODELS = [
    *((head, {}) for head in HEADS),
    (Head.BASE, {"sinusoidal_pos_embds": True, "n_layers": 1}),
    (Head.MASKED_LM, {"tie_word_embeddings": False}),
    (Head.TOKEN_CLASSIFICATION, {"pruned_heads": {0: [1], 1: [0, 2]}}),
]

# What people save of a model.
STATES = {
    "all": lambda model: nnx.state(model),
    "parameters": lambda model: nnx.state(model, PARAMETERS),
    "plain": lambda model: nnx.to_pure_dict(nnx.state(model)),
}


FRAMEWORK = FRAMEWORKS["flax"]


def assert_same_arrays(got, expected) -> None:
    """The same names, dtypes and bits."""
    assert bits(got) == bits(expected)


def save(state, folder) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, state)


@pytest.mark.parametrize(("head", "changes"), MODELS)
def test_nnx_restores_the_written_files(tmp_path, head, changes):
    config = small_config(**changes)
    arrays = save_random(tmp_path / "source", config, head)
    convert(tmp_path / "source", tmp_path / "there", "orbax")
    model = FRAMEWORK.cls(head)(config, dtype="float64")
    with ocp.StandardCheckpointer() as checkpointer:
        nnx.update(model, checkpointer.restore(tmp_path / "there" / "orbax", nnx.state(model, PARAMETERS)))
    assert_same_arrays(FRAMEWORK.parameters(model), arrays)
    expected = FRAMEWORK.cls(head).from_pretrained(tmp_path / "source", dtype="float64")
    inputs = random_inputs(config, head)
    assert_close(numbers(model(**inputs)), numbers(expected(**inputs)), 0)


@pytest.mark.parametrize(("head", "changes"), MODELS)
def test_what_orbax_writes_is_read(tmp_path, head, changes):
    config = small_config(**changes)
    arrays = save_random(tmp_path / "source", config, head)
    save(nnx.state(FRAMEWORK.cls(head).from_pretrained(tmp_path / "source", dtype="float64")), tmp_path / "saved")
    config.save_pretrained(tmp_path / "saved")
    assert open_weights(tmp_path / "saved").head is head
    assert_same_arrays(arrays_of(tmp_path / "saved"), arrays)


@pytest.mark.parametrize("state", STATES)
def test_states(tmp_path, state):
    arrays = save_random(tmp_path, small_config(), Head.MASKED_LM)
    model = FRAMEWORK.cls(Head.MASKED_LM).from_pretrained(tmp_path, dtype="float64")
    save(STATES[state](model), tmp_path / "saved")  # config.json is beside it
    random = [] if state == "parameters" else ["The random state (rngs) was dropped: it is not a parameter."]
    assert open_weights(tmp_path / "saved").notes == random
    assert_same_arrays(arrays_of(tmp_path / "saved"), arrays)


@pytest.mark.parametrize("options", [{}, {"use_ocdbt": False}, {"use_zarr3": True}], ids=str)
def test_ways_to_store(tmp_path, options):
    arrays = save_random(tmp_path, small_config(), Head.BASE)
    state = nnx.state(FRAMEWORK.cls(Head.BASE).from_pretrained(tmp_path, dtype="float64"))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)) as checkpointer:
        checkpointer.save(tmp_path / "saved", state)
    assert_same_arrays(arrays_of(tmp_path / "saved"), arrays)


def test_a_missing_chunk_is_not_read_as_zeros(tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    state = nnx.state(FRAMEWORK.cls(Head.BASE).from_pretrained(tmp_path, dtype="float64"))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(tmp_path / "saved", state)
    (tmp_path / "saved" / "embeddings.LayerNorm.bias.value" / "0").unlink()
    with pytest.raises(CheckpointError, match="is damaged or not an Orbax file"):
        arrays_of(tmp_path / "saved")


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(tmp_path, dtype):
    arrays = save_random(tmp_path / "source", small_config(), Head.SEQUENCE_CLASSIFICATION, dtype=dtype)
    convert(tmp_path / "source", tmp_path / "there", "orbax")
    assert_same_arrays(arrays_of(tmp_path / "there"), arrays)


def test_an_older_checkpoint_is_replaced(tmp_path):
    for seed in range(2):
        arrays = save_random(tmp_path / "source", small_config(), Head.BASE, seed=seed)
        convert(tmp_path / "source", tmp_path / "there", "orbax", force=True)
    assert_same_arrays(arrays_of(tmp_path / "there"), arrays)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["config.json", "orbax"]
    convert(tmp_path / "source", tmp_path / "there", "pt", force=True)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["config.json", "model.safetensors"]


def edit_tree(folder, change) -> None:
    tree = json.loads((folder / "_METADATA").read_text())
    change(tree["tree_metadata"])
    (folder / "_METADATA").write_text(json.dumps(tree))


def cut_everything(folder) -> None:
    for path in folder.rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "no-data": (lambda folder: shutil.rmtree(folder / "d"), "is damaged or not an Orbax file"),
    "no-manifest": (
        lambda folder: (folder / "manifest.ocdbt").unlink(),
        "manifest.ocdbt is missing; all files of a checkpoint are needed, in a local folder",
    ),
    "cut": (cut_everything, "is damaged or not an Orbax file"),
    "tree-no-json": (lambda folder: (folder / "_METADATA").write_text("{"), "is damaged or not an Orbax file .*JSON"),
    "tree-of-something-else": (
        lambda folder: (folder / "_METADATA").write_text("[]"),
        "is damaged or not an Orbax file",
    ),
    "tree-lacks-a-parameter": (
        lambda folder: edit_tree(folder, lambda tree: tree.pop("('embeddings', 'LayerNorm', 'bias', 'value')")),
        "lacks 1 of the parameters of DistilBertModel: embeddings.LayerNorm.bias",
    ),
    "no-configuration": (
        lambda folder: (folder.parent / "config.json").unlink(),
        "needs the model's config.json in it or beside it",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_checkpoints(tmp_path, damage, message):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "there", "orbax")
    damage(tmp_path / "there" / "orbax")
    with pytest.raises(CheckpointError, match=message):
        arrays_of(tmp_path / "there")


def test_info_names_the_checkpoint(tmp_path):
    save_random(tmp_path / "source", small_config(), Head.SEQUENCE_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "new", "orbax")
    description = describe(tmp_path / "new")
    assert (description["weights"], description["head"]) == ("orbax/_METADATA", "ForSequenceClassification")
    assert description["backends"]["flax"]["loads"]
