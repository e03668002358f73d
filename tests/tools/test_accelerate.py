"""accelerate's training loop, and the files that it saves and loads."""

from __future__ import annotations

import copy

import accelerate
import pytest
import torch

from distilbert_core import DistilBertTokenizerFast, Head
from distilbert_pt import DataCollatorWithPacking
from support import trainer_checks
from support.checkpoints import HEADS_WITH_LOSS, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
TOKENIZER = DistilBertTokenizerFast.from_pretrained("sst2-tiny")


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.QUESTION_ANSWERING])
def test_a_loop_with_accumulated_gradients(head, tmp_path):
    """Two micro-batches of the same rows are one step of a plain loop."""
    model = trainer_checks.new_model(head, tmp_path / "from")
    rows = trainer_checks.make_trainer(model, head, tmp_path / "unused")
    batch = rows.data_collator(rows.train_dataset)
    expected = trainer_checks.plain_loop(model, batch)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    prepared, optimizer = accelerator.prepare(
        model.train(), torch.optim.AdamW(model.parameters(), lr=trainer_checks.RATE, weight_decay=0.0)
    )
    for _ in range(2 * trainer_checks.STEPS):
        with accelerator.accumulate(prepared):
            accelerator.backward(prepared(**batch).loss)
            optimizer.step()
            optimizer.zero_grad()
    assert_close(trainer_checks.state_of(model), expected[-1], trainer_checks.TOLERANCE)

    accelerator.save_state(tmp_path / "state")
    saved = copy.deepcopy(trainer_checks.state_of(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    accelerator.load_state(tmp_path / "state")
    assert_close(trainer_checks.state_of(model), saved, 0.0)
    accelerator.unwrap_model(prepared).save_pretrained(
        tmp_path / "to", state_dict=accelerator.get_state_dict(prepared), save_function=accelerator.save
    )
    assert_close(trainer_checks.state_of(PT.load(head, tmp_path / "to", dtype="auto")), saved, 0.0)


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION])
def test_packed_rows(head, tmp_path):
    """A prepared loader and model train to the weights of a plain loop of padded batches."""
    model = trainer_checks.new_model(head, tmp_path)
    rows = trainer_checks.make_rows(head)
    expected = trainer_checks.plain_loop(model, trainer_checks.collator(head, TOKENIZER)(copy.deepcopy(rows)))
    loader = torch.utils.data.DataLoader(
        rows * trainer_checks.STEPS, batch_size=len(rows), collate_fn=DataCollatorWithPacking(model)
    )
    accelerator = accelerate.Accelerator(cpu=True)
    prepared, optimizer, loader = accelerator.prepare(
        model.train(), torch.optim.AdamW(model.parameters(), lr=trainer_checks.RATE, weight_decay=0.0), loader
    )
    for batch in loader:
        accelerator.backward(prepared(**batch).loss)
        optimizer.step()
        optimizer.zero_grad()
    assert_close(trainer_checks.state_of(model), expected[-1], trainer_checks.TOLERANCE)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_what_save_model_writes_is_loaded(head, tmp_path):
    """It has no config.json; tied weights are in it once."""
    model = PT.new(head, small_config())
    accelerate.Accelerator(cpu=True).save_model(model, tmp_path)
    other = PT.new(head, small_config(), seed=1)
    accelerate.load_checkpoint_in_model(other, tmp_path)
    assert_close(trainer_checks.state_of(other), trainer_checks.state_of(model), 0.0)
    again = PT.load(head, tmp_path, config=model.config)
    assert_close(trainer_checks.state_of(again), trainer_checks.state_of(model), 0.0)
    with pytest.raises(OSError, match=r"config\.json"):
        PT.load(head, tmp_path)


def test_models_made_without_memory():
    with accelerate.init_empty_weights():
        model = PT.cls(Head.MASKED_LM)(small_config())
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    model.tie_weights()  # which was done before each parameter got a place of its own
    assert accelerate.utils.find_tied_parameters(model) == [
        ["distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"]
    ]
