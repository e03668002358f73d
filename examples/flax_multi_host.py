"""Fine-tune the embedded classifier on the devices of several JAX processes, data-parallel.

    python examples/flax_multi_host.py                                            # one process
    python examples/flax_multi_host.py --processes 2 --process-id 0 &             # two on this host; on several hosts
    python examples/flax_multi_host.py --processes 2 --process-id 1               # --coordinator is the first one's

Every process runs this program. Each reads its own rows, all have the same parameters, and the gradients are computed
over the whole batch. Process 0 prints the losses, which do not depend on the number of processes.
"""

from __future__ import annotations

import argparse

import jax
import numpy as np
import optax
from flax import nnx

from distilbert_core import DistilBertTokenizerFast
from distilbert_flax import FlaxDistilBertForSequenceClassification
from distilbert_flax.sharding import DATA_PARALLEL, shard, shard_batch

REVIEWS = [
    ("A lovely film.", 1),
    ("Two hours I will not get back.", 0),
    ("The acting is a delight from first to last.", 1),
    ("Loud, long and empty.", 0),
    ("I laughed, I cried, I went again.", 1),
    ("It forgets its own plot.", 0),
    ("Not bad at all.", 1),
    ("A waste of a good cast.", 0),
]


def main() -> None:
    """Train a few steps, print the losses, and save the model if --save-to is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="number of processes")
    parser.add_argument("--process-id", type=int, default=0, help="index of this process")
    parser.add_argument("--coordinator", default="localhost:9377", help="host and a free port of process 0")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--save-to", help="folder for the trained model")
    options = parser.parse_args()

    if options.processes > 1:  # before any other call that initialises JAX's devices
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # used on CPU only
        jax.distributed.initialize(options.coordinator, options.processes, options.process_id)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

    model = FlaxDistilBertForSequenceClassification.from_pretrained(
        "sst2-tiny", mesh=mesh, rules=DATA_PARALLEL, scan_layers=True
    )
    optimizer = nnx.Optimizer(model, optax.adamw(1e-4, weight_decay=0.01), wrt=nnx.Param)
    shard(optimizer, mesh, DATA_PARALLEL)  # also its step count

    rows = np.array_split(np.arange(len(REVIEWS)), options.processes)[options.process_id]
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    inputs = tokenizer([REVIEWS[row][0] for row in rows], padding="max_length", max_length=16, return_tensors="np")
    labels = np.array([REVIEWS[row][1] for row in rows])
    batch = shard_batch({**inputs, "labels": labels}, mesh, DATA_PARALLEL)

    @nnx.jit(donate_argnums=(0, 1))
    def train_step(model, optimizer, batch):
        loss, gradients = nnx.value_and_grad(lambda model: model(**batch).loss)(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(train_step(model, optimizer, batch)) for _ in range(options.steps)]
    if jax.process_index() == 0:
        print("losses", *losses)
        if options.save_to:
            model.save_pretrained(options.save_to)


if __name__ == "__main__":
    main()
