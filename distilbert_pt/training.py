"""Fine-tuning: a step of AdamW on a batch, NumPy in."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from distilbert_core.model.heads import Head
from distilbert_core.training.batches import Batch
from distilbert_core.training.distillation.trainer import PROJECTION, Distiller, weighted_losses
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.trainer import NOTHING, Trainer, mean_losses, step_seed
from distilbert_pt import losses
from distilbert_pt.tensors import to_array, to_tensor

MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim calls them


class BackendTrainer(Trainer):
    """Training in PyTorch."""

    backend = "pt"
    mixed: ClassVar = {"dtype": "float32"}  # PyTorch chooses what to compute in bfloat16: autocast

    @classmethod
    def join(cls) -> dict[str, Any]:
        """Wait for the other processes, if torchrun started them; see `Trainer.join`."""
        if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(dist.destroy_process_group)
        return {"device": f"cuda:{os.environ.get('LOCAL_RANK', 0)}"} if torch.cuda.is_available() else {}

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray, extra: Mapping[str, np.ndarray] = NOTHING):
        super().__init__(model, recipe, rates)
        if dist.is_initialized():
            self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.extra = {name: nn.Parameter(to_tensor(array).to(model.device)) for name, array in extra.items()}
        decayed, others = (
            {p.name: model.get_parameter(p.name) for p in self.trained if recipe.decays(p) is decay}
            for decay in (True, False)
        )
        others |= self.extra
        self.parameters = decayed | others
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(decayed.values()), "weight_decay": recipe.weight_decay},
                {"params": list(others.values()), "weight_decay": 0.0},
            ],
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.epsilon,
        )

    def packed_step(self, parts: Sequence[Batch], number: int) -> dict[str, float]:
        """Take a step and return the losses before it; see `Trainer.packed_step`."""
        self.model.train()
        self.optimizer.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(self.recipe.seed, number, self.rank))
            values = [self._backward(part, 1 / (len(parts) * self.world_size)) for part in parts]
        losses = self._over_processes(mean_losses(values))
        clip_(list(self.parameters.values()), self.recipe.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rates[number])
        self.optimizer.step()
        self.model.eval()
        return losses

    def _over_processes(self, losses: dict[str, float]) -> dict[str, float]:
        """Add up the gradients of all processes, and return the means of their losses."""
        if self.world_size == 1:
            return losses
        means = torch.tensor([*losses.values()], dtype=torch.float64, device=self.model.device) / self.world_size
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        for sum_ in [dist.all_reduce(tensor, async_op=True) for tensor in (*gradients, means)]:
            sum_.wait()
        return dict(zip(losses, means.tolist(), strict=True))

    def _backward(self, batch: Batch, scale: float) -> dict[str, float]:
        """Add the gradient of a batch, scaled, to the others, and return its losses."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16"):
            values = self.batch_losses(self._tensors(batch))
        (scale * values["loss"]).backward()
        return {name: value.item() for name, value in values.items()}

    def _tensors(self, batch: Batch) -> dict[str, Tensor]:
        values = {name: value if isinstance(value, Tensor) else to_tensor(value) for name, value in batch.items()}
        return {name: tensor.to(self.model.device) for name, tensor in values.items()}

    def batch_losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch by name, 'loss' being what is minimised."""
        return {"loss": training_loss(self.model, batch)}

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters and moments; dropout follows from the number of a step."""
        arrays = {name: to_array(tensor) for name, tensor in self.parameters.items()}
        for name, tensor in self.parameters.items():
            for moment in MOMENTS:
                arrays[f"{name}.{moment}"] = to_array(self.optimizer.state[tensor][moment])
            arrays[f"{name}.step"] = self.optimizer.state[tensor]["step"].numpy()
        return arrays

    @torch.no_grad()
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        for name, tensor in self.parameters.items():
            tensor.copy_(to_tensor(state[name]))
            moments = {moment: to_tensor(state[f"{name}.{moment}"]).to(tensor.device) for moment in MOMENTS}
            self.optimizer.state[tensor] = {"step": torch.tensor(state[f"{name}.step"].item()), **moments}


class BackendDistiller(Distiller, BackendTrainer):
    """Distillation in PyTorch."""

    @torch.no_grad()
    def teach(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the teacher says; see `Distiller.teach`."""
        assert self.teacher is not None
        hidden, logits = hidden_and_logits(self.teacher.model, self._tensors(batch))
        return {"teacher_hidden": hidden, "teacher_logits": logits}

    def batch_losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted sum and its terms; see `BackendTrainer.batch_losses`."""
        hidden, logits = hidden_and_logits(self.model, batch)
        if PROJECTION in self.extra:
            hidden = hidden @ self.extra[PROJECTION]  # [M, D] -> [M, E]
        return weighted_losses(losses, self.recipe, hidden, logits, batch)


def hidden_and_logits(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the hidden states [M, D] and logits [K, V] of what `pack_comparison` returned."""
    rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
    hidden = model.distilbert.packed_outputs(**rows).flatten(0, 1)[batch["tokens"]]  # [M, D]
    return hidden, model.head_logits(hidden[batch["predicted"]][:, None]).flatten(1)  # [K, V]


def training_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the task's loss of what `pack_batch` returned."""
    weights = batch.get("sample_weight")
    rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
    outputs = model.packed_outputs(**rows).flatten(0, 1)[batch["order"]]  # [B, L], [M, L], or [B, T, 2]
    if model.head is Head.QUESTION_ANSWERING:  # padding is no place for an answer
        start, end = outputs.masked_fill(~batch["attention_mask"][..., None], -torch.inf).unbind(-1)
        positions = batch["start_positions"], batch["end_positions"]
        loss: Any = losses.question_answering_loss(start, end, *positions, weights)
        return loss
    if model.head is Head.MULTIPLE_CHOICE:
        outputs = outputs.reshape(len(batch["labels"]), -1)  # [B, C]
    return model.task_loss(outputs, batch["labels"], weights)


@torch.no_grad()
def clip_(parameters: list[Tensor], max_norm: float) -> None:
    """Scale gradients down, all together, to a norm; as optax and Keras do, without PyTorch's 1e-6 beside it."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, torch.clamp(max_norm / norm, max=1.0))
