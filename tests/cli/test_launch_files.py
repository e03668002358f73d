"""The command lines that the files in examples/launch/ form. tests/models/test_launching.py runs them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest

from support.paths import EXAMPLES
from support.slurm import job

FILES = {file.stem: file for file in (EXAMPLES / "launch").glob("*.sh")}
SAID = """#!/bin/bash
printf '%s\\n' "$@" > said
"""
LINES = {
    "slurm_torchrun": "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id 12345 --rdzv-backend c10d --rdzv-endpoint "
    "localhost:22345 -m distilbert_cli {} --backend pt",
    "slurm_jax": "distilbert {} --backend flax",
    "slurm_keras": "distilbert {} --backend tf",
}


def test_every_file_is_here():
    assert FILES.keys() == LINES.keys()


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize(
    ("restarts", "begun", "output", "resumes"),
    [
        ("0", True, ["--output", "run"], False),
        ("1", False, ["--output", "run"], False),
        ("1", True, ["--output", "run"], True),
        ("2", True, ["--output=run"], True),
    ],
)
def test_command_lines(tmp_path, name, restarts, begun, output, resumes):
    """A job that was put back goes on with its run, if that has begun."""
    if begun:
        (tmp_path / "run/training").mkdir(parents=True)
        (tmp_path / "run/training/settings.json").touch()
    environment = job(tmp_path, 12345, SAID, SLURM_RESTART_COUNT=restarts, SLURM_GPUS_ON_NODE="4")
    words = ["finetune", "--train", "a file.tsv", *output]
    subprocess.run([FILES[name], *words], cwd=tmp_path, env=environment, check=True)
    said = (tmp_path / "said").read_text().splitlines()
    if name == "slurm_keras":
        said = said[said.index("distilbert") :]
    assert " ".join(said) == LINES[name].format(" ".join([*words, *["--resume"] * resumes]))
    assert "a file.tsv" in said  # as one word


def test_each_worker_of_keras_gets_its_place(tmp_path):
    """Workers on one host have different ports."""
    environment = job(tmp_path, 12345)
    (tmp_path / "distilbert").write_text('#!/bin/bash\necho "$TF_CONFIG" > "place-$SLURM_PROCID"\n')
    subprocess.run([FILES["slurm_keras"], "finetune"], cwd=tmp_path, env=environment, check=True)
    for index in range(2):
        place = json.loads((tmp_path / f"place-{index}").read_text())
        assert place["task"] == {"type": "worker", "index": index}
        assert place["cluster"] == {"worker": ["localhost:22345", "localhost:22346"]}


@pytest.mark.parametrize("name", LINES)
def test_a_job_without_time_is_put_back(tmp_path, name):
    environment = job(tmp_path, 12345, "#!/bin/bash\ntouch running\nexec sleep 60\n")
    running = subprocess.Popen([FILES[name], "finetune"], cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "running").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGUSR1)  # as SLURM does
        assert running.wait(timeout=30) == 128 + signal.SIGUSR1
    finally:
        subprocess.run(["kill", "--", f"-{running.pid}"], check=False, stderr=subprocess.DEVNULL)
    assert (tmp_path / "requeued").read_text() == "12345\n"


@pytest.mark.parametrize("name", LINES)
def test_a_failure_is_that_of_the_job(tmp_path, name):
    environment = job(tmp_path, 12345, "#!/bin/bash\nexit 3\n")
    assert subprocess.run([FILES[name], "finetune"], cwd=tmp_path, env=environment, check=False).returncode == 3


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_has_no_advice():
    subprocess.run(["shellcheck", *FILES.values()], check=True)
