"""Training with the parameters divided among processes, by PyTorch's FSDP2."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from distilbert_core.errors import InputError


def shard_(loss: nn.Module, blocks: nn.ModuleList, device: torch.device) -> None:
    """Divide the parameters of a module among all processes, in place.

    A block is gathered just before it is used, and released just after. Gradients are summed over the processes.

    Args:
        loss: The module whose forward pass is the loss of a micro-batch.
        blocks: The blocks of the encoder in it.
        device: The device of this process.

    Raises:
        InputError: There are no processes to divide among.
    """
    if not dist.is_initialized():
        raise InputError(
            "shard divides the parameters among the processes of torchrun: start the run with torchrun "
            "--nproc-per-node N -m distilbert_cli ..., or leave it out."
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for part in (*blocks[:-1], loss):  # losses read layers of the last block: it is gathered with the embeddings
        fully_shard(part, mesh=mesh)
    for part in loss.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
