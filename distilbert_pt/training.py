"""Training in PyTorch: a step of AdamW on a batch of NumPy arrays."""

from __future__ import annotations

import atexit
import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from distilbert_core.model import contract
from distilbert_core.model.outputs import PLAIN_OUTPUTS
from distilbert_core.model.packed_batches import Batch
from distilbert_core.training.engine import Division, Engine, mean_losses, step_seed
from distilbert_core.training.objectives import Function, Objective, View
from distilbert_core.training.recipe import Recipe
from distilbert_pt import losses
from distilbert_pt.tensors import ON_HOST, to_array, to_device, to_tensor, upcast

MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim calls them


class ModelView(View):
    """A model of this backend, as the loss of an objective sees it."""

    losses: ClassVar[contract.Losses] = losses

    def outputs(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the outputs [..., L] at `indices`."""
        rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
        outputs: Tensor = self.model.packed_outputs(**rows).flatten(0, 1)  # [R * S, ...]
        return outputs[batch["indices"]]

    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the hidden states [M, D] at `tokens`."""
        rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
        hidden: Tensor = self.model.base_model.packed_outputs(**rows).flatten(0, 1)  # [R * C, D]
        return hidden[batch["tokens"]]

    def hidden_states(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the hidden states [M, D] at `tokens`: of the embeddings, then of each block."""
        rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
        output = self.model.base_model(**rows, **{**PLAIN_OUTPUTS, "output_hidden_states": True})
        return tuple(states.flatten(0, 1)[batch["tokens"]] for states in output.hidden_states)

    def logits(self, hidden: Tensor) -> Tensor:
        """[K, D] -> [K, L]."""
        logits: Tensor = self.model.head_logits(hidden[:, None])
        return logits.flatten(1)

    def take(self, values: Tensor, indices: Tensor) -> Tensor:
        """Return the values at some indices of the first axis."""
        return values[indices]

    def where(self, condition: Tensor, values: Tensor, other: float) -> Tensor:
        """Return the values where a condition holds, and a number elsewhere."""
        return values.masked_fill(~condition, other)

    def relations(self, values: Tensor, heads: int) -> Tensor:
        """[B, T, A] -> [B, heads, T, T]."""
        parts = upcast(values).unflatten(-1, (heads, -1))  # [B, T, heads, A / heads]
        return torch.einsum("bqnh,bknh->bnqk", parts, parts) / parts.shape[-1] ** 0.5

    def project(self, values: Tensor, name: str) -> Tensor:
        """[M, D] -> [M, E]."""
        return values @ self.extra[name]


class Loss(nn.Module):
    """The loss of a micro-batch as a forward pass, which FSDP2 needs: it gathers parameters for it.

    Args:
        model: The model in training.
        extra: The objective's arrays that are trained beside it.
        objective: The objective.
    """

    def __init__(self, model: Any, extra: Mapping[str, nn.Parameter], objective: Objective):
        super().__init__()
        self.model = model
        self.extra = nn.ParameterDict(extra)
        self._objective = objective

    def forward(self, batch: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses [] by name; `batch` returns the arrays, because FSDP2 would move tensors to the device."""
        extra = {name: self.extra[name] for name in self.extra}
        return self._objective.loss(ModelView(self.model, extra), batch())


class BackendEngine(Engine):
    """Training in PyTorch; on several devices if torchrun started several processes.

    With the recipe's `shard`, each process trains a part of every parameter. The attribute `model` is then a whole
    copy, as it was at the last `state` or `load_state`.
    """

    backend = "pt"
    shards = True
    bfloat16_options: ClassVar = {"dtype": "float32"}  # autocast chooses what to compute in bfloat16

    def __init__(self, model: Any, recipe: Recipe, learning_rates: np.ndarray, objective: Objective):
        super().__init__(model, recipe, learning_rates, objective)
        trained = copy.deepcopy(model) if recipe.shard else model
        extra = {name: nn.Parameter(to_tensor(x.copy()).to(model.device)) for name, x in objective.extra.items()}
        self._loss = Loss(trained, extra, objective)
        self.extra = self._loss.extra
        if recipe.shard:
            from distilbert_pt.sharding import shard_  # its imports take long

            shard_(self._loss, trained.base_model.transformer.layer, model.device)
        decayed, others = (
            {p.name: trained.get_parameter(p.name) for p in self.trained if recipe.decays(p) is decay}
            for decay in (True, False)
        )
        others |= {name: self.extra[name] for name in self.extra}
        self._parameters = decayed | others
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(decayed.values()), "weight_decay": recipe.weight_decay},
                {"params": list(others.values()), "weight_decay": 0.0},
            ],
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.epsilon,
        )

    @classmethod
    def init_distributed(cls) -> dict[str, Any]:
        """Join the other processes, if torchrun started them; return the GPU of this process."""
        if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(dist.destroy_process_group)
        gpu = int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.is_available() else None
        if dist.is_initialized():  # no process writes before all have looked at the files
            dist.barrier(device_ids=None if gpu is None else [gpu])
        return {} if gpu is None else {"device": f"cuda:{gpu}"}

    @classmethod
    def find_division(cls) -> Division:
        """Return the processes of `torch.distributed`, if there are any."""
        return Division(dist.get_rank(), processes=dist.get_world_size()) if dist.is_initialized() else Division()

    def compute(self, model: Any, function: Function, batches: Sequence[Batch]) -> list[dict[str, Tensor]]:
        """Evaluate a function of a model and packed micro-batches, in inference mode and without gradients."""
        with torch.no_grad():
            return [function(ModelView(model, {}), self._tensors(batch)) for batch in batches]

    def _take_step(self, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
        self._loss.train()
        self._optimizer.zero_grad()
        scale = 1 / (len(micro_batches) * self.division.processes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(self.recipe.seed, step, self.division.rank))
            values = [self._backward(micro_batch, scale) for micro_batch in micro_batches]
        losses = self._reduce(mean_losses(values))
        clip_(list(self._parameters.values()), self.recipe.max_grad_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = float(self.learning_rates[step])
        self._optimizer.step()
        self._loss.eval()
        return losses

    def _backward(self, batch: Batch, scale: float) -> dict[str, float]:
        """Add the gradient of a micro-batch, scaled, to the others, and return its losses."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16"):
            values: dict[str, Tensor] = self._loss(lambda: self._tensors(batch))
        (scale * values["loss"]).backward()
        return {name: value.item() for name, value in values.items()}

    def _reduce(self, losses: dict[str, float]) -> dict[str, float]:
        """Sum the gradients of all processes, and return the means of their losses."""
        if self.division.processes == 1:
            return losses
        means = torch.tensor([*losses.values()], dtype=torch.float64, device=self.model.device)
        means /= self.division.processes
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        gradients = [] if self.recipe.shard else gradients  # FSDP2 has summed them
        for reduction in [dist.all_reduce(tensor, async_op=True) for tensor in (*gradients, means)]:
            reduction.wait()
        return dict(zip(losses, means.tolist(), strict=True))

    def _tensors(self, batch: Batch) -> dict[str, Tensor]:
        values = {name: value if isinstance(value, Tensor) else to_tensor(value) for name, value in batch.items()}
        device = self.model.device
        return {name: tensor if name in ON_HOST else to_device(tensor, device) for name, tensor in values.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters and moments. Dropout follows from the index of a step."""
        tensors = dict(self._parameters)
        for name, parameter in self._parameters.items():
            tensors |= {f"{name}.{part}": self._optimizer.state[parameter][part] for part in (*MOMENTS, "step")}
        arrays = {name: np.array(to_array(whole(tensor))) for name, tensor in tensors.items()}  # copies
        self._copy_whole(arrays)
        return arrays

    @torch.no_grad()
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace parameters and moments."""
        for name, tensor in self._parameters.items():
            tensor.copy_(divided_as(to_tensor(state[name]), tensor))
            moments = {moment: divided_as(to_tensor(state[f"{name}.{moment}"]), tensor) for moment in MOMENTS}
            self._optimizer.state[tensor] = {"step": torch.tensor(state[f"{name}.step"].item()), **moments}
        self._copy_whole(state)

    @torch.no_grad()
    def _copy_whole(self, state: Mapping[str, np.ndarray]) -> None:
        """Give the whole model the parameters of a state, if this process trains parts of them."""
        if self.recipe.shard:
            for parameter in self.trained:
                self.model.get_parameter(parameter.name).copy_(to_tensor(state[parameter.name]))


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor from the processes that hold its parts, which must call this together."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


def divided_as(tensor: Tensor, like: Any) -> Tensor:
    """Return a tensor, whole in each process, on the device of another one and divided as that one is."""
    tensor = tensor.to(like.device)
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def clip_(parameters: list[Tensor], max_norm: float) -> None:
    """Scale the gradients down, all together, to a norm; as optax and Keras do, without PyTorch's additional 1e-6."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(gradients))
    parts = [gradient.to_local() if hasattr(gradient, "to_local") else gradient for gradient in gradients]
    torch._foreach_mul_(parts, torch.clamp(max_norm / norm, max=1.0))
