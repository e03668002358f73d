"""Adapters that peft itself saved give the same numbers in all three frameworks as in peft."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from distilbert_core import CheckpointWarning, Head
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

HEAD = Head.SEQUENCE_CLASSIFICATION
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_lin", "lin1"], "lora_alpha": 5},
    "rslora and all biases": {"target_modules": ["out_lin", "lin2"], "use_rslora": True, "bias": "all"},
    "patterns": {
        "target_modules": ["q_lin", "v_lin"],
        "rank_pattern": {"v_lin": 3},
        "alpha_pattern": {"layer.1.attention.q_lin": 7},
        "bias": "lora_only",
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_of_peft(kind, tmp_path):
    save_random(tmp_path / "base", small_config(), Head.BASE)
    with pytest.warns(CheckpointWarning, match="freshly initialised"):
        base = FRAMEWORKS["pt"].load(HEAD, tmp_path / "base", dtype="float64", num_labels=3)
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, **KINDS[kind])).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 4)
    model.save_pretrained(tmp_path / "adapter")
    inputs = {name: x for name, x in random_inputs(small_config(), HEAD).items() if name != "labels"}
    expected = model(**{name: torch.from_numpy(x) for name, x in inputs.items()}).logits.detach().numpy()
    assert np.ptp(expected) > 0.1
    for framework in FRAMEWORKS.values():
        loaded = framework.load(HEAD, tmp_path / "adapter", dtype="float64")
        assert_close(framework.call(loaded, **inputs).logits, expected, 1e-12)
