"""Fine-tune a text classifier in several processes, with PyTorch's DDP or FSDP2.

    torchrun --nproc-per-node 2 examples/torch_fsdp.py --parallel fsdp --train train.tsv --out FOLDER

The training file has tab-separated columns `sentence` and `label` (the index of the class). Each process computes its
share of the rows of every batch, and the gradients are averaged. Without dropout, the weights equal those of one
process (`python examples/torch_fsdp.py --parallel none ...`). The first process writes the model.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from distilbert_core import DistilBertTokenizerFast
from distilbert_pt import DistilBertForSequenceClassification

Row = tuple[str, int]


def read_rows(path: Path) -> list[Row]:
    """Return the sentences and labels of a tab-separated file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["sentence"], int(row["label"])) for row in csv.DictReader(file, delimiter="\t")]


def share_of_batches(
    rows: Sequence[Row], batch_size: int, rank: int, world_size: int, generator: torch.Generator
) -> Iterator[list[Row]]:
    """Yield this process's rows of every batch. All processes shuffle in the same way; an incomplete batch is dropped.

    All shares have the same number of rows, so the mean of their mean losses is the mean over the batch.

    Raises:
        ValueError: The processes cannot share a batch evenly.
    """
    if batch_size % world_size:
        raise ValueError(f"--batch-size must be a multiple of the {world_size} processes, got {batch_size}.")
    order = torch.randperm(len(rows), generator=generator).tolist()
    for start in range(0, len(rows) - batch_size + 1, batch_size):
        yield [rows[i] for i in order[start + rank : start + batch_size : world_size]]


def distribute(model: DistilBertForSequenceClassification, parallel: str) -> nn.Module:
    """Return the model with a copy in each process ('ddp'), sharded ('fsdp'), or unchanged ('none')."""
    if parallel == "ddp":
        return DistributedDataParallel(model)
    if parallel == "fsdp":
        mesh = init_device_mesh(model.device.type, (dist.get_world_size(),))
        for block in model.distilbert.transformer.layer:
            fully_shard(block, mesh=mesh)  # gathered just before it is used, and released just after
        fully_shard(model, mesh=mesh)  # the embeddings and the head
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parallel", choices=("none", "ddp", "fsdp"), default="fsdp")
    parser.add_argument("--model", default="sst2-tiny", help="folder, embedded model or Hub id (default: %(default)s)")
    parser.add_argument("--train", type=Path, required=True, help="tab-separated file with columns sentence and label")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model and its tokenizer to")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32, help="rows over all processes (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--dtype", default="float32", help="dtype of the weights (default: %(default)s)")
    parser.add_argument("--no-dropout", action="store_true", help="turn dropout off, to compare runs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else "cpu"
    rank, world_size = 0, 1
    if args.parallel != "none":
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
        rank, world_size = dist.get_rank(), dist.get_world_size()

    tokenizer = DistilBertTokenizerFast.from_pretrained(args.model)
    model = DistilBertForSequenceClassification.from_pretrained(args.model, dtype=args.dtype, device=device)
    config = model.config
    distributed = distribute(model, args.parallel).train(not args.no_dropout)
    optimizer = torch.optim.AdamW(distributed.parameters(), lr=args.learning_rate)  # after sharding

    rows = read_rows(args.train)
    shuffling = torch.Generator().manual_seed(args.seed)  # the same in all processes
    torch.manual_seed(args.seed + rank)  # dropout differs between processes
    for epoch in range(args.epochs):
        for share in share_of_batches(rows, args.batch_size, rank, world_size, shuffling):
            sentences, labels = zip(*share, strict=True)
            batch = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt").to(device)
            loss = distributed(**batch, labels=torch.tensor(labels, device=device)).loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(distributed.parameters(), 1.0)
            optimizer.step()
        if rank == 0:
            print(f"epoch {epoch + 1}, {world_size} process(es): last loss {loss.item():.4f}", flush=True)

    # All processes gather the weights; the first one receives them.
    state = get_model_state_dict(distributed, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:
        whole = DistilBertForSequenceClassification(config).to(getattr(torch, args.dtype))
        whole.load_state_dict(state)
        whole.save_pretrained(args.out)
        tokenizer.save_pretrained(args.out)
    if args.parallel != "none":
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
