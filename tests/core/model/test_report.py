"""A model is compared with the size of its weight files before it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_core import Head
from distilbert_core.errors import CheckpointError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.model.report import check_fits
from support.checkpoints import save_random, small_config


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_random(folder, small_config(), Head.BASE)
    return Checkpoint(folder)


def test_the_own_configuration_fits(checkpoint: Checkpoint) -> None:
    check_fits(small_config(), len(checkpoint.entries), checkpoint.paths, "model")
    check_fits(small_config(), len(checkpoint.entries), [checkpoint.paths[0].parent], "model")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_layers": 999}, r"^model cannot hold .*: n_layers is 999, but the weight files hold \d+ arrays\.$"),
        ({"vocab_size": 2**24}, r"^model cannot hold .*: the model has 2013\d+ parameters, but the weight files have"),
        ({"max_position_embeddings": 2**20, "sinusoidal_pos_embds": True}, r"the model has 125\d+ parameters"),
        ({"hidden_dim": 2**20}, r"the model has \d+ parameters"),
    ],
)
def test_a_larger_model_does_not_fit(fields: dict[str, int], message: str, checkpoint: Checkpoint) -> None:
    config = small_config(**fields)
    with pytest.raises(CheckpointError, match=message):
        check_fits(config, len(checkpoint.entries), checkpoint.paths, "model")


def test_a_missing_file_has_no_bytes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="but the weight files have 0 bytes"):
        check_fits(small_config(), len(checkpoint.entries), [tmp_path / "missing"], "model")
