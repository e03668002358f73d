"""The files in examples/launch/ train on two tasks, with stand-ins for SLURM's commands, what one process trains."""

from __future__ import annotations

import random
import subprocess

from distilbert_cli import main
from distilbert_core import DistilBertTokenizerFast, Head
from support.checkpoints import save_random, small_config
from support.comparison import assert_close
from support.paths import EXAMPLES
from support.slurm import job

HEAD = Head.SEQUENCE_CLASSIFICATION
FILES = {"pt": "slurm_torchrun.sh", "tf": "slurm_keras.sh", "flax": "slurm_jax.sh"}


def test_two_tasks_make_the_run_of_one_process(framework, tmp_path):
    """As in one process, within 1e-12. Put back by SLURM, the job goes on with its run, which is complete."""
    save_random(tmp_path / "model", small_config(vocab_size=30522, num_labels=2, n_layers=1), HEAD)
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "model")
    (tmp_path / "data.tsv").write_text("text\tlabel\n" + "".join(f"{'very ' * n}good\t{n % 2}\n" for n in range(8)))
    words = ["finetune", "--task", "sequence-classification", "--model", str(tmp_path / "model")]
    words += ["--train", str(tmp_path / "data.tsv"), "--dtype", "float64", "--dropout", "0"]
    words += ["--max-steps", "1", "--batch-size", "8", "--learning-rate", "1e-2", "--epsilon", "1e-3"]
    (tmp_path / "bin").mkdir()
    for restarts in ("0", "1"):
        job_id = random.randrange(10**6)  # the port depends on it
        environment = job(tmp_path / "bin", job_id, SLURM_RESTART_COUNT=restarts, JAX_ENABLE_X64="true")
        command = [EXAMPLES / "launch" / FILES[framework.name], *words, "--output", tmp_path / "two"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout
    parts = [] if framework.name == "flax" else ["--accumulate", "2"]  # there devices share each micro-batch
    assert main([*words, *parts, "--backend", framework.name, "--output", str(tmp_path / "one")]) == 0
    one, two = (framework.parameters(framework.load(HEAD, tmp_path / name, dtype="float64")) for name in ("one", "two"))
    assert_close(two, one, 1e-12)
