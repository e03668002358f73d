"""What two processes do; `test_parallel.py` starts them with torchrun. Arguments: a way, a checkpoint, where to save.

Each process takes every second row. All rows have the same number of labels, so averaged gradients are those of all.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
import transformers
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.nn.parallel import DistributedDataParallel

from distilbert_core import Head
from distilbert_pt import DistilBertForMaskedLM, TransformerBlock
from support import trainer_checks

HEAD = Head.MASKED_LM  # the one with tied weights


def rows() -> dict[str, torch.Tensor]:
    """Four rows [4, 6] of ids that are labels too."""
    ids = torch.randint(5, 40, (4, 6), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "labels": ids}


def ddp(model: torch.nn.Module) -> torch.nn.Module:
    return DistributedDataParallel(model)


def fsdp1(model: torch.nn.Module) -> torch.nn.Module:
    policy = partial(transformer_auto_wrap_policy, transformer_layer_cls={TransformerBlock})
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu"))


def fsdp2(model: torch.nn.Module) -> torch.nn.Module:
    mesh = init_device_mesh("cpu", (2,))
    for block in model.distilbert.transformer.layer:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def train(way: str, source: str, out: str) -> None:
    """Four steps of AdamW on all rows, then the whole weights in a folder."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = DistilBertForMaskedLM.from_pretrained(source, dtype="float64").train()
    model.gradient_checkpointing_enable()
    parallel = {"ddp": ddp, "fsdp1": fsdp1, "fsdp2": fsdp2}[way](model)
    optimizer = torch.optim.AdamW(parallel.parameters(), lr=trainer_checks.RATE, weight_decay=0.0)
    mine = {name: tensor[rank::2] for name, tensor in rows().items()}
    for _ in range(trainer_checks.STEPS):
        optimizer.zero_grad()
        parallel(**mine)["loss"].backward()  # FSDP1 turns every dict into a plain one
        optimizer.step()
    options = StateDictOptions(full_state_dict=True, cpu_offload=way != "fsdp1")  # there PyTorch 2.13 crashes on a CPU
    state = {name.removeprefix("module."): t for name, t in get_model_state_dict(parallel, options=options).items()}
    if rank == 0:
        DistilBertForMaskedLM(model.config).double().save_pretrained(out, state_dict=state)
    dist.destroy_process_group()


def trainer(source: str, out: str) -> None:
    """The same by Transformers' Trainer."""
    model = DistilBertForMaskedLM.from_pretrained(source, dtype="float64")
    batch = rows()
    arguments = transformers.TrainingArguments(
        output_dir=out,
        max_steps=trainer_checks.STEPS,
        per_device_train_batch_size=2,
        learning_rate=trainer_checks.RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        max_grad_norm=0.0,
        gradient_checkpointing=True,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    dataset = [{name: tensor[index] for name, tensor in batch.items()} for index in range(4)]
    run = transformers.Trainer(model=model, args=arguments, train_dataset=dataset)
    run.train()
    run.save_model(out)


if __name__ == "__main__":
    way, source, out = sys.argv[1:]
    trainer(source, out) if way == "trainer" else train(way, source, out)
