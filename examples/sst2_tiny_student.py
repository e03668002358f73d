"""How `make_sst2_tiny.py` makes a narrow student from a wide teacher: a projection onto principal axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distilbert_pt import DistilBertConfig, DistilBertForSequenceClassification


@torch.no_grad()
def linear_inputs(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the input of each linear layer of a model for a batch, by the name of the layer."""
    inputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, received, name=name: inputs.update({name: received[0]}))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    model.eval()
    model(**batch)
    for hook in hooks:
        hook.remove()
    return inputs


def principal_axes(streams: Iterable[Tensor], mask: Tensor, count: int) -> Tensor:
    """Return the leading axes [D, count] of the teacher's residual stream; all layers have the same weight.

    The mean is not subtracted: it is the strongest axis, and keeps the layer norms of student and teacher similar.
    """
    moment = torch.zeros(())
    for stream in streams:
        states = stream[mask] if stream.ndim == 3 else stream  # the classifier reads one token only
        moment = moment + states.T @ states / states.square().sum()
    return torch.linalg.eigh(moment).eigenvectors[:, -count:].flip(1)


def strongest_units(received: Tensor, weight: Tensor, count: int, size: int = 1) -> Tensor:
    """Return the sorted indices of the inputs of a linear layer that contribute most to its output.

    Args:
        received: Inputs of the layer, [tokens, inputs].
        weight: Its kernel, [outputs, inputs].
        count: Number of inputs to keep.
        size: Number of neighbouring inputs that stay together, such as the size of a head.
    """
    contribution = (received.var(0) * weight.square().sum(0)).view(-1, size).sum(-1)
    groups = contribution.topk(count // size).indices.sort().values
    return (groups[:, None] * size + torch.arange(size)).flatten()


@torch.no_grad()
def project(
    teacher: DistilBertForSequenceClassification, config: DistilBertConfig, batch: dict[str, Tensor]
) -> tuple[DistilBertForSequenceClassification, Tensor]:
    """Make a narrower student from a teacher.

    Args:
        teacher: The teacher. Student and teacher have the same number of layers and the same head size.
        config: Architecture of the student.
        batch: Inputs on which activations are measured.

    Returns:
        The student, and the axes [teacher's width, student's width] of its residual stream.
    """
    mask = batch["attention_mask"].bool()
    inputs = linear_inputs(teacher, batch)
    layers = [f"distilbert.transformer.layer.{layer}" for layer in range(config.n_layers)]
    # Layer norm of the teacher -> the linear layer that receives its output.
    norms = {"distilbert.embeddings.LayerNorm": f"{layers[0]}.attention.q_lin"}
    following = [f"{layer}.attention.q_lin" for layer in layers[1:]] + ["pre_classifier"]
    for layer, after in zip(layers, following, strict=True):
        norms |= {f"{layer}.sa_layer_norm": f"{layer}.ffn.lin1", f"{layer}.output_layer_norm": after}
    axes = principal_axes([inputs[name] for name in norms.values()], mask, config.dim)

    old = teacher.state_dict()
    new: dict[str, Tensor] = {}
    scale = old["distilbert.embeddings.LayerNorm.weight"]
    for table in ("word", "position"):
        name = f"distilbert.embeddings.{table}_embeddings.weight"
        centred = old[name] - old[name].mean(-1, keepdim=True)
        new[name] = (centred * scale) @ axes

    def narrow(first: Sequence[str], last: str, received: Tensor, units: Tensor, axes_out: Tensor) -> None:
        """Keep `units` between the layers `first` and `last`; the mean of the others is added to the bias."""
        for name in first:
            new[f"{name}.weight"] = old[f"{name}.weight"][units] @ axes
            new[f"{name}.bias"] = old[f"{name}.bias"][units]
        dropped = torch.ones(received.shape[-1], dtype=torch.bool).index_fill(0, units, False)
        weight = old[f"{last}.weight"]
        constant = old[f"{last}.bias"] + weight[:, dropped] @ received.mean(0)[dropped]
        new[f"{last}.weight"] = axes_out.T @ weight[:, units]
        new[f"{last}.bias"] = axes_out.T @ constant

    for layer in layers:
        attention, ffn = f"{layer}.attention", f"{layer}.ffn"
        context = inputs[f"{attention}.out_lin"][mask]
        heads = strongest_units(context, old[f"{attention}.out_lin.weight"], config.dim, config.head_size)
        narrow([f"{attention}.{part}_lin" for part in "qkv"], f"{attention}.out_lin", context, heads, axes)
        hidden = inputs[f"{ffn}.lin2"][mask]
        units = strongest_units(hidden, old[f"{ffn}.lin2.weight"], config.hidden_dim)
        narrow([f"{ffn}.lin1"], f"{ffn}.lin2", hidden, units, axes)
    features = inputs["classifier"]
    units = strongest_units(features, old["classifier.weight"], config.dim)
    narrow(["pre_classifier"], "classifier", features, units, torch.eye(config.num_labels))

    student = DistilBertForSequenceClassification(config)
    student.load_state_dict(new, strict=False)  # the layer norms are set below
    fit_layer_norms(student, {name: inputs[layer] @ axes for name, layer in norms.items()}, batch)
    return student, axes


def fit_layer_norms(model: nn.Module, targets: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
    """Fit scale and shift of each layer norm to its target, by least squares.

    All are fitted in one forward pass, in the order of the data flow, as each one passes on its fitted output.
    """
    mask = batch["attention_mask"].bool()

    def fit(module: nn.LayerNorm, received: tuple[Tensor], _: Tensor, target: Tensor) -> Tensor:
        normal = F.layer_norm(received[0], module.normalized_shape, eps=module.eps)
        # A target [B, D] is the input of the classifier: the first token of each row.
        x, y = (normal[mask], target[mask]) if target.ndim == 3 else (normal[:, 0], target)
        centred = x - x.mean(0)
        module.weight.copy_((centred * y).mean(0) / centred.square().mean(0))
        module.bias.copy_(y.mean(0) - module.weight * x.mean(0))
        return normal * module.weight + module.bias

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(partial(fit, target=y)) for name, y in targets.items()]
    model.eval()
    model(**batch)
    for hook in hooks:
        hook.remove()
