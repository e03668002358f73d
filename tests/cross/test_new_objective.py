"""A third objective, written in one module and once for all backends: contrastive learning of texts.

The two texts of a pair should be more similar to each other than to the texts of other pairs (Gao et al. 2021,
"SimCSE: Simple Contrastive Learning of Sentence Embeddings").

Shapes: N pairs, T tokens, D model size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from distilbert_core import Head
from distilbert_core.model.packing import Ragged
from distilbert_core.training import Recipe
from distilbert_core.training.engine import load_engine
from distilbert_core.training.objectives import Objective
from support.checkpoints import save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

STEPS, PAIRS, TOKENS = 8, 6, 11
SCALE = "scale"  # of similarities; it is trained beside the model
RECIPE = Recipe(learning_rate=5e-3, weight_decay=0.1, max_grad_norm=1e3, dropout=0.0, dtype="float64")


# -- the objective ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContrastiveLoss:
    """The cross-entropy of the similarities between all first and all second texts, [N, N]."""

    margin: float = 0.0

    def __call__(self, view, batch):
        hidden = view.hidden(batch)  # [2 * N, D], of first tokens
        first, second = (view.take(hidden, batch[name]) for name in ("first", "second"))
        similarities = view.losses.cosine_similarities(first, second) - self.margin * batch["same"]
        return {"loss": view.losses.cross_entropy(view.extra[SCALE] * similarities, batch["labels"])}


class Contrastive(Objective):
    """Pairs of texts: input_ids and attention_mask [N, 2, T]."""

    extra = {SCALE: np.array(3.0)}  # noqa: RUF012

    def __init__(self, margin=0.0):
        self.margin = margin

    @property
    def loss(self):
        return ContrastiveLoss(self.margin)

    def pack(self, batch, head, packer, sizes):
        texts = Ragged.from_padded(batch["input_ids"], batch["attention_mask"].reshape(-1, TOKENS) != 0)
        packing = packer(texts.lengths)
        packing = packing.with_rows(sizes.rows(len(packing.segment_ids)))
        pairs = np.arange(len(batch["input_ids"]))
        return {
            **packing.rows(texts),
            "tokens": packing.slots[texts.first_tokens],
            "first": 2 * pairs,
            "second": 2 * pairs + 1,
            "same": np.eye(len(pairs)),
            "labels": pairs,
        }


# -- its tests ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_random(folder, small_config(), Head.BASE)
    return folder


def batches():
    """Return a batch for each step, of texts of different lengths; two batches take turns."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, small_config().vocab_size, (2, PAIRS, 2, TOKENS))
    masks = (np.arange(TOKENS) < rng.integers(1, TOKENS + 1, (2, PAIRS, 2, 1))).astype(np.int64)
    both = [{"input_ids": i, "attention_mask": m} for i, m in zip(ids, masks, strict=True)]
    return both * (STEPS // 2)


def train(name, folder, margin):
    """Return the losses of all steps, and the weights after them."""
    learning_rates = RECIPE.learning_rates(STEPS)
    engine = load_engine(name, Head.BASE, folder, RECIPE, learning_rates, lambda model, engine: Contrastive(margin))
    losses = [engine.step(batch, step)["loss"] for step, batch in enumerate(batches())]
    scale = next(array for key, array in engine.state().items() if key.endswith(SCALE))
    return np.array(losses), {**FRAMEWORKS[name].parameters(engine.model), SCALE: scale}


def reference(folder, margin):
    """Return the same by a loop in plain PyTorch, on padded texts."""
    model = FRAMEWORKS["pt"].load(Head.BASE, folder, dtype="float64")
    scale = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
    decayed = [model.get_parameter(p.name) for p in model.parameter_table if RECIPE.decays(p)]
    others = [model.get_parameter(p.name) for p in model.parameter_table if not RECIPE.decays(p)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": [*others, scale], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, eps=RECIPE.epsilon)
    losses = []
    for step, batch in enumerate(batches()):
        ids, mask = (torch.from_numpy(array).flatten(0, 1) for array in batch.values())
        unit = F.normalize(model(ids, mask).last_hidden_state[:, 0], dim=-1)
        similarities = unit[0::2] @ unit[1::2].T - margin * torch.eye(PAIRS)
        loss = F.cross_entropy(scale * similarities, torch.arange(PAIRS))
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.learning_rates(STEPS)[step]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), {**FRAMEWORKS["pt"].parameters(model), SCALE: np.array(scale.item())}


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_the_trajectory_is_that_of_a_plain_loop(folder, margin):
    """In all three backends, in float64."""
    losses, weights = reference(folder, margin)
    assert losses[-2:].mean() < losses[:2].mean()
    for name in ("pt", "tf", "flax"):
        its_losses, its_weights = train(name, folder, margin)
        assert_close(its_losses, losses, 1e-8)
        assert_close(its_weights, weights, 1e-8)


def test_equal_losses_are_compiled_once():
    assert ContrastiveLoss(0.25) == ContrastiveLoss(0.25) != ContrastiveLoss(0.5)
    assert hash(Contrastive(0.25).loss) == hash(Contrastive(0.25).loss)
