"""Training in two processes, with the script in examples/, ends with the weights of one process."""

from __future__ import annotations

import importlib.util
import json
import signal

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.run
from safetensors.numpy import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from distilbert_cli import main
from distilbert_core import Head, InputError
from distilbert_core.training import Recipe, load_trainer
from support.checkpoints import save_random, small_config, training_inputs
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.paths import EXAMPLES
from support.pipelines import VOCAB

PT = FRAMEWORKS["pt"]
HEAD = Head.SEQUENCE_CLASSIFICATION
ALL_TERMS = ["--shard", "--hidden-weight", "1", "--relation-weight", "1", "--epsilon", "1e-3"]  # read every layer
SCRIPT = EXAMPLES / "torch_fsdp.py"
ROWS = """sentence	label
a fine film	1
dull , and far too long for what it has to say	0
not a moment is wasted	1
it never wakes up	0
warm and funny	2
the worst of the year by some way	0
you will laugh	1
nothing works	2
a joy from its first scene to its last	1
"""


def load_script():
    spec = importlib.util.spec_from_file_location("torch_fsdp", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    arrays = save_random(folder, small_config(vocab_size=30522, num_labels=3), HEAD)
    (folder / "vocab.txt").write_bytes(VOCAB.read_bytes())
    (folder / "train.tsv").write_text(ROWS)
    return folder, arrays


def options(folder, out, parallel):
    """Two epochs of two batches of four of the nine rows, in float64, where the order of sums does not matter."""
    return (
        *("--model", folder, "--train", folder / "train.tsv", "--out", out, "--parallel", parallel),
        *("--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-2", "--dtype", "float64", "--no-dropout"),
    )


@pytest.fixture(scope="module")
def one_process(checkpoint, tmp_path_factory):
    folder, arrays = checkpoint
    out = tmp_path_factory.mktemp("one")
    load_script().main([str(option) for option in options(folder, out, "none")])
    weights = PT.parameters(PT.load(HEAD, out, dtype="auto"))
    assert largest_difference(weights, arrays) > 1e-2
    return weights


@pytest.fixture
def one_thread(monkeypatch):
    """One thread in this process and in those that it starts, so that sums have one order."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def in_two_processes(*arguments):
    """What `torchrun` does, in this process: importing PyTorch in another one takes seconds."""
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    }
    try:
        torch.distributed.run.main(["--standalone", "--nproc-per-node", "2", *map(str, arguments)])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_the_weights_of_one(checkpoint, one_process, tmp_path, capfd, one_thread, parallel):
    folder, _ = checkpoint
    in_two_processes(SCRIPT, *options(folder, tmp_path, parallel))
    assert "epoch 2, 2 process(es): last loss" in capfd.readouterr().out
    weights = PT.parameters(PT.load(HEAD, tmp_path, dtype="auto"))
    # Measured: 2.3e-11, in a key bias. Its gradient is 0 but for rounding, which AdamW divides by its size.
    assert_close(weights, one_process, 1e-9)


@pytest.mark.parametrize(("command", "more"), [("finetune", []), ("distill", []), ("distill", ALL_TERMS)])
def test_two_processes_make_the_run_of_one(checkpoint, tmp_path, one_thread, command, more):
    """The same parts of each batch, in one process after one another and in two at once. Measured: 0, sharded 3e-15."""
    folder, _ = checkpoint
    data = folder / "train.tsv"
    words = [
        command,
        "--column",
        "text=sentence",
        "--eval",
        data,
        "--task",
        "sequence-classification",
        "--backend",
        "pt",
        "--dtype",
        "float64",
        "--dropout",
        "0",
    ]
    words += ["--max-steps", "3", "--batch-size", "4", "--learning-rate", "1e-2"]
    if command == "finetune":
        words += ["--model", folder, "--train", data, "--new-head"]
    else:
        words += ["--teacher", folder, "--student", folder, "--data", data, "--task-weight", "9"]
    words += [word for word in more if word != "--shard"]
    shard = ["--shard"] * ("--shard" in more)
    in_two_processes("-m", "distilbert_cli", *words, *shard, "--output", tmp_path / "two")
    assert main([*map(str, words), "--accumulate", "2", "--output", str(tmp_path / "one")]) == 0
    one, two = (PT.parameters(PT.load(HEAD, tmp_path / name, dtype="auto")) for name in ("one", "two"))
    assert_close(two, one, 1e-12)
    logs = [(tmp_path / name / "training/metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1])  # one process wrote it
    losses = [[json.loads(line)["loss"] for line in lines if '"loss"' in line] for lines in logs]
    assert_close(losses[1], losses[0], 1e-12)


SHARDED = """
import sys
import numpy as np
import torch.distributed as dist
from safetensors.numpy import save_file
from distilbert_core import Head
from distilbert_core.training import Recipe, load_trainer

folder = sys.argv[1]
batch = dict(np.load(folder + "/batch.npz"))
recipe = Recipe(**eval(sys.argv[2]), shard=True, gradient_checkpointing=True)

def load():
    return load_trainer("pt", Head.SEQUENCE_CLASSIFICATION, folder, recipe, recipe.learning_rates(3))

trainer = load()
for step in range(2):
    trainer.step(batch, step)
middle = trainer.state()
trainer.step(batch, 2)
end = trainer.state()
again = load()
again.load_state(middle)
again.step(batch, 2)
for name, array in again.state().items():
    assert (array == end[name]).all(), name
parameter = again.engine._loss.model.pre_classifier.weight
assert parameter.to_local().shape[0] * 2 == parameter.shape[0] == again.model.pre_classifier.weight.shape[0]
if dist.get_rank() == 0:
    save_file(middle, folder + "/middle.safetensors")
    save_file(end, folder + "/end.safetensors")
"""


def test_a_sharded_run_goes_on_in_any_number_of_processes(tmp_path, one_thread):
    """The state is whole: two processes go on to the same bits, and one to the same numbers within 1e-12."""
    config = small_config(num_labels=2)
    save_random(tmp_path, config, HEAD)
    inputs = training_inputs(config, HEAD)
    np.savez(tmp_path / "batch.npz", **{name: array[:4] for name, array in inputs.items()})
    numbers = {"learning_rate": 0.01, "warmup": 0, "epsilon": 1e-3, "dropout": 0.0, "dtype": "float64"}
    numbers["max_grad_norm"] = 0.1  # of all parts
    (tmp_path / "sharded.py").write_text(SHARDED)
    in_two_processes(tmp_path / "sharded.py", tmp_path, numbers)
    recipe = Recipe(**numbers, accumulate=2)
    trainer = load_trainer("pt", HEAD, tmp_path, recipe, recipe.learning_rates(3))
    trainer.load_state(load_file(tmp_path / "middle.safetensors"))
    trainer.step(dict(np.load(tmp_path / "batch.npz")), 2)
    assert_close(trainer.state(), load_file(tmp_path / "end.safetensors"), 1e-12)
    with pytest.raises(InputError, match="shard divides the parameters among the processes of torchrun: start the run"):
        load_trainer("pt", HEAD, tmp_path, Recipe(shard=True), recipe.learning_rates(1))


def test_shares_make_up_the_batches():
    shares = load_script().share_of_batches
    rows = [(str(i), i) for i in range(9)]
    halves = [[*shares(rows, 4, rank, 2, torch.Generator().manual_seed(3))] for rank in (0, 1)]
    (whole,) = [[*shares(rows, 4, 0, 1, torch.Generator().manual_seed(3))]]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(batch) for batch in whole]
    assert [len(batch) for batch in whole] == [4, 4]
    with pytest.raises(ValueError, match=r"--batch-size must be a multiple of the 2 processes, got 3\."):
        next(shares(rows, 3, 0, 2, torch.Generator()))


def test_a_sharded_model_says_how_it_is_saved(tmp_path):
    model = PT.new(HEAD, small_config())
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(InputError, match=r"weight must be whole, got a part of it: .*get_model_state_dict"):
            model.save_pretrained(tmp_path)
    finally:
        dist.destroy_process_group()
