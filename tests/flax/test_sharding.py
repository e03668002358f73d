"""A model divided among devices or processes computes the same as on one device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from distilbert_core import DistilBertTokenizerFast, Head, InputError, parameter_table
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_flax.sharding import (
    AXES,
    DATA_PARALLEL,
    FULLY_SHARDED,
    TENSOR_PARALLEL,
    logical_axes,
    shard,
)
from distilbert_flax.training import BackendEngine
from support.checkpoints import HEADS, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.paths import EXAMPLES, TESTS

FLAX = FRAMEWORKS["flax"]
EXAMPLE = EXAMPLES / "flax_multi_host.py"

# Rules -> the part of each parameter that one of 2 x 2 devices holds: (word embeddings [48, 12], q_lin.kernel [12, 12],
# q_lin.bias [12], lin2.kernel [20, 12], LayerNorm.scale [12]).
CASES = {
    "data": (DATA_PARALLEL, ([48, 12], [12, 12], [12], [20, 12], [12])),
    "fully-sharded": (FULLY_SHARDED, ([48, 6], [6, 12], [12], [20, 6], [6])),
    "tensor": ({**TENSOR_PARALLEL, "vocab": ("data", "model")}, ([12, 12], [12, 6], [6], [10, 12], [12])),
}

# Prints, for each table of rules, how far loss, gradients and updated parameters are from those on one device, and
# which part of some parameters one device holds: before a step, after it, and of what the optimizer keeps for them.
# Then the same of a model that is loaded onto the mesh, and of one that is made there with its optimizer.
ON_FOUR_DEVICES = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
import json
import jax, numpy as np, optax
from flax import nnx
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, sys.argv[1])
import tempfile
from support.checkpoints import random_inputs, save_random, small_config
from distilbert_core import Head, InputError
from distilbert_flax import FlaxDistilBertForMaskedLM, FlaxDistilBertModel
from distilbert_flax.sharding import DATA_PARALLEL, axis_rules, create, shard, shard_batch

config = small_config(vocab_size=48, n_heads=2, n_layers=2)
batches = [random_inputs(config, Head.MASKED_LM, seed) for seed in range(4)]
batch = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}  # 20 rows
mesh = jax.make_mesh((2, 2), ("data", "model"))

def new():
    model = FlaxDistilBertForMaskedLM(config, dtype="float64", scan_layers=True)
    return model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

@nnx.jit
def step(model, optimizer, batch):
    loss, gradients = nnx.value_and_grad(lambda model: model(**batch).loss)(model)
    optimizer.update(model, gradients)
    return loss, gradients

def parts(base):
    block = base["transformer"]["layer"][0]
    leaves = (base["embeddings"]["word_embeddings"]["embedding"], block["attention"]["q_lin"]["kernel"],
              block["attention"]["q_lin"]["bias"], block["ffn"]["lin2"]["kernel"], block["sa_layer_norm"]["scale"])
    return [list(leaf.addressable_shards[0].data.shape) for leaf in leaves]

def numbers(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]

model, optimizer = new()
loss, gradients = step(model, optimizer, batch)
expected = numbers((loss, gradients, nnx.state(model, nnx.Param)))
found = {}
for name, rules in json.loads(sys.argv[2]).items():
    rules = {axis: tuple(target) if isinstance(target, list) else target for axis, target in rules.items()}
    model, optimizer = new()
    shard((model, optimizer), mesh, rules)
    placed = shard_batch(batch, mesh, rules)
    before = parts(nnx.state(model).distilbert)
    loss, gradients = step(model, optimizer, placed)
    got = numbers((loss, gradients, nnx.state(model, nnx.Param)))
    found[name] = {
        "difference": max(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True)),
        "rows": placed["input_ids"].addressable_shards[0].data.shape[0],
        "parts": [before, parts(nnx.state(model).distilbert),
                  parts(nnx.state(optimizer).opt_state[0]["mu"].distilbert)],
    }

def specs(model):
    specs = nnx.get_partition_spec(nnx.state(model, nnx.Param))
    return jax.tree.leaves(specs, is_leaf=lambda leaf: isinstance(leaf, jax.sharding.PartitionSpec))

def differences(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(numbers(a.params), numbers(b.params), strict=True))

folder = tempfile.mkdtemp()
save_random(folder, config, Head.MASKED_LM, dtype="float32")
load = lambda **kwargs: FlaxDistilBertForMaskedLM.from_pretrained(folder, dtype="float64", **kwargs)
for name, rules in json.loads(sys.argv[2]).items():
    rules = {axis: tuple(target) if isinstance(target, list) else target for axis, target in rules.items()}
    loaded = load(mesh=mesh, rules=rules)
    optimizer = nnx.Optimizer(loaded, optax.adam(1e-3), wrt=nnx.Param)
    with nnx.logical_axis_rules(axis_rules(rules)):
        known = specs(load())
    found[name] |= {
        "loaded": [parts(nnx.state(loaded).distilbert), parts(nnx.state(optimizer).opt_state[0]["mu"].distilbert)],
        "loaded difference": differences(loaded, load()),
        "specs": known == specs(loaded) == [x.sharding.spec for x in jax.tree.leaves(nnx.state(loaded, nnx.Param))],
    }
model, optimizer = create(new, mesh, rules)
found["created"] = [parts(nnx.state(model).distilbert), parts(nnx.state(optimizer).opt_state[0]["mu"].distilbert)]
found["created difference"] = differences(model, new()[0])

from distilbert_flax import PackedBatches
counted = {**batch, "labels": np.where(batch["attention_mask"] == 0, -100, batch["labels"])}  # none of padding
rows = [{name: array[row].tolist() for name, array in counted.items()} for row in range(len(batch["input_ids"]))]
expected = step(*new(), counted)
model, optimizer = new()
shard((model, optimizer), mesh, DATA_PARALLEL)
[packed] = PackedBatches(model, rows, len(rows), shuffle=False, mesh=mesh)
found["packed"] = {
    "difference": max(float(np.abs(a - b).max()) for a, b in zip(
        *map(numbers, (step(model, optimizer, packed), expected)), strict=True)),
    "parts": [packed[name].addressable_shards[0].data.shape[0] / len(packed[name]) for name in ("input_ids", "labels")],
}

found["errors"] = []
for action in (
    lambda: load(mesh=mesh),
    lambda: load(mesh=mesh, rules={"mlp": "model"}, device="cpu"),
    lambda: shard(FlaxDistilBertModel(config), mesh, {"position": ("data", "model")}),
    lambda: shard_batch({"input_ids": np.zeros((3, 5))}, mesh, {"batch": "data"}),
):
    try:
        action()
    except InputError as error:
        found["errors"].append(str(error))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_four_devices():
    rules = json.dumps({name: rules for name, (rules, _) in CASES.items()})
    command = [sys.executable, "-c", ON_FOUR_DEVICES, str(TESTS), rules]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


@pytest.mark.parametrize("case", CASES)
def test_on_four_devices(on_four_devices, case):
    """Loss, gradients and updated parameters in float64; parameters and Adam's means are divided as the rules say."""
    found = on_four_devices[case]
    assert found["difference"] < 1e-12  # measured on the loss and the gradients: 1e-15
    assert found["rows"] == 10
    assert found["parts"] == [list(CASES[case][1])] * 3


@pytest.mark.parametrize("case", CASES)
def test_loading_onto_four_devices(on_four_devices, case):
    """Each device gets its part of each array; NNX's own tools know which, before and after."""
    found = on_four_devices[case]
    assert found["loaded"] == [list(CASES[case][1])] * 2
    assert found["loaded difference"] == 0
    assert found["specs"]


def test_making_a_model_on_four_devices(on_four_devices):
    assert on_four_devices["created"] == [list(CASES["tensor"][1])] * 2
    assert on_four_devices["created difference"] < 1e-15  # measured: 2e-17


def test_packed_rows_on_four_devices(on_four_devices):
    """Each device computes its packed rows; loss and gradients are those of the padded batch on one device."""
    assert on_four_devices["packed"]["difference"] < 1e-12  # measured: 1e-15
    assert on_four_devices["packed"]["parts"] == [0.5, 1.0]


def test_arrays_are_mapped_not_read(tmp_path):
    """What a device does not hold is not read from the file: an array is a view of its pages."""
    arrays = save_random(tmp_path, small_config(), Head.BASE, dtype="float32")
    checkpoint = Checkpoint(tmp_path, "map")
    mapped = {name: checkpoint.read(name) for name in arrays}
    assert all(isinstance(array, np.memmap) for array in mapped.values())
    assert_close(mapped, arrays, 0)


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_carries_the_names_of_its_axes(head):
    """As many as it has axes, and an axis of the same name has one size throughout."""
    model = nnx.eval_shape(lambda: FLAX.cls(head)(small_config(tie_word_embeddings=False)))
    sizes: dict[str, set[int]] = {}
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Not(nnx.RngState))):
        names = variable.get_metadata()["out_sharding"]
        assert names == variable.get_metadata()["logical_axes"]
        assert len(names) == variable.ndim
        for name, size in zip(names, variable.shape, strict=True):
            sizes.setdefault(name, set()).add(size)
    known = {"vocab": {47}, "position": {23}, "embed": {12}, "heads": {12}, "mlp": {20}, "hidden": {12}}
    assert sizes.pop("labels", None) in (None, {7}, {1}, {2})
    assert sizes == {name: known[name] for name in sizes}
    assert sizes.keys() >= {"vocab", "position", "embed", "heads", "mlp"}


def test_the_rules_cover_the_axes_of_the_table():
    table = [parameter for head in HEADS for parameter in parameter_table(small_config(n_layers=1), head)]
    assert {axis for parameter in table for axis in logical_axes(parameter)} == AXES - {"batch"}


def mesh_of_one(*names: str):
    return jax.make_mesh((1,) * len(names), names)


WRONG_RULES = {
    "unknown-axis": ({"head": "model"}, "rules must name axes out of batch, embed, heads, .*, got 'head'"),
    "unknown-mesh-axis": (
        {"mlp": "tensor"},
        r"rules\['mlp'\] must be an axis of the mesh \('data', 'model'\), got 'tensor'",
    ),
    "twice": (
        {"embed": "model", "mlp": "model"},
        r"layer\.0\.ffn\.lin1\.kernel has the axes \('embed', 'mlp'\), and rules split two of them over the same axis",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_RULES)
def test_wrong_rules(wrong):
    rules, message = WRONG_RULES[wrong]
    model = FLAX.cls(Head.BASE)(small_config(n_layers=1))
    with pytest.raises(InputError, match=message):
        shard(model, mesh_of_one("data", "model"), rules)


def test_processes_are_joined_first(monkeypatch):
    jax.device_count()
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    with pytest.raises(InputError, match=r"cannot join the other processes of JAX: .*must be called before any JAX"):
        BackendEngine.init_distributed()
    monkeypatch.setenv("JAX_PROCESS_ID", "one")
    with pytest.raises(InputError, match=r"invalid literal .*'one'.* JAX_NUM_PROCESSES and JAX_PROCESS_ID"):
        BackendEngine.init_distributed()


def test_what_cannot_be_divided(on_four_devices):
    assert on_four_devices["errors"] == [
        *["Give both mesh and rules, and no device; or neither of them."] * 2,
        "embeddings.position_embeddings.embedding must be divisible along 'position' by 4, the mesh's size of "
        "('data', 'model'); got 23. Take 'position' out of the rules, or change the size.",
        "batch['input_ids'] must be divisible along 'batch' by 2, the mesh's size of 'data'; got 3. Take 'batch' out "
        "of the rules, or change the size.",
    ]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def run_processes(count: int, folder: Path) -> tuple[list[float], dict]:
    """Run the example in several processes; return the losses that the first one prints and the model that it saves."""
    where = ["--processes", str(count), "--coordinator", f"localhost:{free_port()}", "--save-to", str(folder)]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compiles in a third of the time
    commands = [[sys.executable, EXAMPLE, *where, "--process-id", str(index)] for index in range(count)]
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, text=True, env=environment) for c in commands]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    lines = [line for output in printed for line in output.splitlines() if line.startswith("losses ")]
    assert len(lines) == 1
    return [float(word) for word in lines[0].split()[1:]], load_file(folder / "model.safetensors")


def test_two_processes_train_like_one(tmp_path):
    (losses, arrays), (expected_losses, expected) = (run_processes(count, tmp_path / str(count)) for count in (2, 1))
    assert len(losses) == 3
    assert losses[2] < losses[0]
    assert_close(np.array(losses), np.array(expected_losses), 1e-6)  # measured: 1.6e-8
    # Measured: 1.1e-5, a ninth of one step. Adam divides gradients by their size, also those that are rounding alone.
    assert_close(arrays, expected, 3e-5)


@pytest.mark.parametrize("command", ["finetune", "distill"])
def test_a_run_on_several_devices_is_that_on_one(tmp_path, command):
    """Whole runs of the command, in float64: on four devices of one process, and of two. Measured: 3e-16."""
    save_random(
        tmp_path / "model", small_config(vocab_size=30522, num_labels=2, n_layers=1), Head.SEQUENCE_CLASSIFICATION
    )
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "model")
    data = tmp_path / "data.tsv"
    data.write_text("text\tlabel\n" + "".join(f"{'very ' * n}good\t{n % 2}\n" for n in range(11)))
    words = [command, "--task", "sequence-classification", "--backend", "flax", "--dtype", "float64", "--dropout", "0"]
    words += ["--max-steps", "2", "--batch-size", "8", "--learning-rate", "1e-2", "--epsilon", "1e-3"]
    if command == "finetune":
        words += ["--model", tmp_path / "model", "--train", data]
    else:
        words += ["--student", tmp_path / "model", "--teacher", "sst2-tiny", "--data", data]
        words += ["--hidden-weight", "1", "--relation-weight", "1"]
    one, four, two_processes = (
        run_command([*map(str, words), "--output", str(tmp_path / f"{processes}-{devices}")], processes, devices)
        for processes, devices in ((1, 1), (1, 4), (2, 1))
    )
    for divided in (four, two_processes):
        assert_close(divided, one, 1e-12)
        assert largest_difference(divided, one) > 0  # sums over several devices are rounded in another order


def run_command(words: list[str], processes: int, devices: int) -> dict[str, np.ndarray]:
    """Run `distilbert` in several processes with several devices each; return the model in its last word."""
    start = "import jax, sys; from distilbert_cli import main; "
    variables = [{} for _ in range(processes)]
    if processes > 1 and words[0] == "distill":
        start += f"jax.distributed.initialize('localhost:{free_port()}', {processes}, int(sys.argv.pop(1))); "
    elif processes > 1:  # the command itself joins them
        shared = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_NUM_PROCESSES": str(processes)}
        variables = [{**shared, "JAX_PROCESS_ID": str(number)} for number in range(processes)]
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    numbers = [[str(number)] if "argv.pop" in start else [] for number in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", f"{start} sys.exit(main(sys.argv[1:]))", *number, *words],
            env={**os.environ, **own, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, own in zip(numbers, variables, strict=True)
    ]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * processes, printed
    return load_file(Path(words[-1]) / "model.safetensors")
