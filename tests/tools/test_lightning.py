"""A LightningModule around our model: fit, a checkpoint, and its three ways back."""

from __future__ import annotations

import lightning
import pytest
import torch

from distilbert_core import Head
from distilbert_pt import DataCollatorWithPacking
from support import trainer_checks
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
HEAD = Head.MASKED_LM
pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning's own


class Module(lightning.LightningModule):
    def __init__(self, folder):
        super().__init__()
        self.save_hyperparameters()
        self.model = PT.load(HEAD, folder, dtype="float64").train()

    def training_step(self, batch, _):
        loss = self.model(**batch).loss
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=trainer_checks.RATE, weight_decay=0.0)


@pytest.mark.parametrize("packed", [False, True])
def test_fit_and_reload(packed, tmp_path):
    model = trainer_checks.new_model(HEAD, tmp_path / "from")
    collate = trainer_checks.make_trainer(model, HEAD, tmp_path / "unused").data_collator
    rows = trainer_checks.make_rows(HEAD)
    expected = trainer_checks.plain_loop(model, collate(rows))
    module = Module(tmp_path / "from")
    trainer = lightning.Trainer(
        max_steps=trainer_checks.STEPS,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=True,
    )
    collate = DataCollatorWithPacking(model) if packed else collate
    loader = torch.utils.data.DataLoader(trainer_checks.make_rows(HEAD), batch_size=len(rows), collate_fn=collate)
    trainer.fit(module, loader)
    assert_close(trainer_checks.state_of(module.model), expected[-1], trainer_checks.TOLERANCE)

    file = tmp_path / "last.ckpt"
    trainer.save_checkpoint(file)
    again = Module.load_from_checkpoint(file, weights_only=False)
    assert_close(trainer_checks.state_of(again.model), trainer_checks.state_of(module.model), 0.0)
    assert again.model.vocab_projector.weight is again.model.get_input_embeddings().weight
    ours = PT.load(HEAD, file, config=model.config, dtype="auto")
    assert_close(trainer_checks.state_of(ours), trainer_checks.state_of(module.model), 0.0)
