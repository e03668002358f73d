"""Two processes end with the weights of one: DDP, both kinds of FSDP, and Trainer (`support/parallel.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import parallel, trainer_checks
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]


@pytest.mark.parametrize("way", ["ddp", "fsdp1", "fsdp2", "trainer"])
def test_two_processes_train_the_weights_of_one(way, tmp_path):
    model = trainer_checks.new_model(parallel.HEAD, tmp_path / "from")
    expected = trainer_checks.plain_loop(model, parallel.rows())[-1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, Path(parallel.__file__), way, tmp_path / "from", tmp_path / "to"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    trained = PT.load(parallel.HEAD, tmp_path / "to", dtype="auto")
    assert trained.vocab_projector.weight is trained.get_input_embeddings().weight
    assert_close(trainer_checks.state_of(trained), expected, trainer_checks.TOLERANCE)
