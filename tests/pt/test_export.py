"""An exported program is saved and runs in a new Python process; test_model.py compares the values of all classes."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from distilbert_core import Head
from distilbert_pt.tensors import to_array, to_tensor
from support.checkpoints import BATCH, CHOICES, TOKENS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.processes import fresh_python

PT = FRAMEWORKS["pt"]
HEAD = Head.MULTIPLE_CHOICE  # the one with the most axes
SIZES = [(BATCH, CHOICES, TOKENS), (1, CHOICES, TOKENS), (BATCH, CHOICES, 1), (3, 2, 23)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a saved program with three dynamic axes, and the model."""
    folder = tmp_path_factory.mktemp("exported")
    config = small_config()
    save_random(folder, config, HEAD)
    model = PT.load(HEAD, folder, dtype="float64")
    inputs = {name: to_tensor(random_inputs(config, HEAD)[name]) for name in ("input_ids", "attention_mask")}
    axes = {0: Dim("batch"), 1: Dim("choices", min=2), 2: Dim("tokens", max=config.max_position_embeddings)}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, axes))
    torch.export.save(program, folder / "model.pt2")
    return folder, model


def test_a_saved_program_runs_elsewhere(exported):
    folder, model = exported
    torch.manual_seed(0)
    batches = [
        {"input_ids": torch.randint(0, 47, size), "attention_mask": (torch.rand(size) < 0.8).long()} for size in SIZES
    ]
    torch.save(batches, folder / "inputs.pt")
    fresh_python(f"""
import torch
import distilbert_core
import distilbert_pt  # the program returns its output type
run = torch.export.load({str(folder / "model.pt2")!r}).module()
outputs = [run(**batch) for batch in torch.load({str(folder / "inputs.pt")!r})]
assert {{type(output) for output in outputs}} == {{distilbert_core.MultipleChoiceModelOutput}}
torch.save([output.logits for output in outputs], {str(folder / "outputs.pt")!r})
""")
    outputs = torch.load(folder / "outputs.pt")
    for output, batch in zip(outputs, batches, strict=True):
        assert_close(to_array(output), PT.call(model, **batch).logits, 1e-13)  # measured: 0


def test_a_program_refuses_inputs_that_are_too_long(exported):
    folder, _ = exported
    run = torch.export.load(folder / "model.pt2").module()
    ids = torch.ones(2, 2, 24, dtype=torch.int64)
    with pytest.raises(AssertionError, match=r"input_ids.*<= 23"):
        run(input_ids=ids, attention_mask=ids)
