"""peft: adapters that know their base, are trained by Trainer, reloaded and merged; prompts."""

from __future__ import annotations

import json

import peft
import pytest
import torch

from distilbert_core import Head
from distilbert_pt import DistilBertForSequenceClassification
from support import trainer_checks
from support.checkpoints import save_random, small_config
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
HEAD = Head.SEQUENCE_CLASSIFICATION
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own


@pytest.fixture
def base(tmp_path):
    save_random(tmp_path / "base", small_config(num_labels=2, **trainer_checks.NO_DROPOUT), HEAD)
    return str(tmp_path / "base")


def test_lora_with_a_trained_classifier(base, tmp_path):
    model = PT.load(HEAD, base, dtype="float64")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = {"task_type": "SEQ_CLS", "r": 2, "lora_alpha": 16, "target_modules": ["q_lin", "v_lin"]}
    lora = peft.get_peft_model(model, peft.LoraConfig(**settings, modules_to_save=["classifier"])).double()
    trainer = trainer_checks.make_trainer(lora, HEAD, tmp_path / "run", label_names=["labels"])
    trainer.train()
    logits = lora.eval()(input_ids=IDS).logits
    assert (logits - PT.load(HEAD, base, dtype="float64")(IDS).logits).abs().max() > 1e-3

    lora.save_pretrained(tmp_path / "adapter")
    described = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == base
    base_again = DistilBertForSequenceClassification.from_pretrained(
        described["base_model_name_or_path"], dtype="float64"
    )
    again = peft.PeftModel.from_pretrained(base_again, tmp_path / "adapter").double().eval()
    assert (again(input_ids=IDS).logits - logits).abs().max() < 1e-12
    checkpoint = tmp_path / "run" / "checkpoint-2" / "adapter_model.safetensors"  # the best one, in use now
    assert checkpoint.read_bytes() == (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()

    merged = again.merge_and_unload()
    assert type(merged) is DistilBertForSequenceClassification
    assert (merged(IDS).logits - logits).abs().max() < 1e-12
    merged.save_pretrained(tmp_path / "merged")
    assert (PT.load(HEAD, tmp_path / "merged", dtype="auto")(IDS).logits - logits).abs().max() < 1e-12
    frozen = [name for name in before if "q_lin" not in name and "v_lin" not in name and "classifier" not in name]
    assert all(torch.equal(merged.state_dict()[name], before[name]) for name in frozen)


def test_prompts(base):
    """Virtual tokens go in as embeddings, before the text's."""
    model = PT.load(HEAD, base, dtype="float64")
    sizes = {"token_dim": model.config.dim, "num_attention_heads": model.config.n_heads}
    settings = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3, **sizes)
    tuned = peft.get_peft_model(model, settings).double().eval()
    prompt = tuned.get_prompt(batch_size=2)
    embeds = torch.cat([prompt, model.get_input_embeddings()(IDS)], dim=1)
    mask = (IDS != 0).long()
    expected = model(inputs_embeds=embeds, attention_mask=torch.cat([torch.ones(2, 3), mask], 1)).logits
    assert torch.equal(tuned(input_ids=IDS, attention_mask=mask).logits, expected)
