"""PyTorch models in the hands of other libraries: Transformers, peft and sentence-transformers."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
import transformers

from distilbert_core import Head
from distilbert_core.pipelines import pipeline
from distilbert_pt.tensors import to_array, to_tensor
from support.checkpoints import random_arrays, random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.paths import EXAMPLES
from support.pipelines import VOCAB

pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' and peft's own

PT = FRAMEWORKS["pt"]
TOLERANCE = 1e-13  # float64; measured: 1.2e-14


def small(head: Head):
    """Transformers 5 wants two labels for question answering."""
    return small_config(**({"num_labels": 2} if head is Head.QUESTION_ANSWERING else {}))


def theirs(head: Head, config):
    """A freshly initialised model of Transformers."""
    fields = {name: value for name, value in config.to_dict().items() if name not in ("label2id", "torch_dtype")}
    cls = getattr(transformers, f"DistilBert{head.value}")
    return cls(transformers.DistilBertConfig(**fields)).double().eval()


def arrays(config, head: Head):
    inputs = random_inputs(config, head)
    inputs["attention_mask"][..., 0] = 1  # their fused attention gives other numbers for a row without any key
    return inputs


def tensors(config, head: Head):
    return {name: to_tensor(array) for name, array in arrays(config, head).items()}


def numbers(model, inputs):
    return {name: to_array(value) for name, value in model(**inputs).items()}


@pytest.mark.parametrize("head", Head)
def test_state_dicts_go_both_ways(head):
    """Strictly: no name is missing on either side, not even of a tied parameter."""
    config = small(head)
    inputs = tensors(config, head)
    ours, reference = PT.new(head, config).double(), theirs(head, config)
    fresh = numbers(ours, inputs)

    ours.load_state_dict(reference.state_dict(), strict=True)
    expected = numbers(reference, inputs)
    assert largest_difference(fresh, expected) > 1e-3
    assert_close(numbers(ours, inputs), expected, TOLERANCE)

    again = PT.new(head, config, seed=1).double()
    reference.load_state_dict(again.state_dict(), strict=True)
    assert_close(numbers(reference, inputs), numbers(again, inputs), TOLERANCE)


LORA = {"r": 2, "target_modules": ["q_lin", "v_lin", "lin1", "lin2"], "init_lora_weights": False}
TASKS = {  # peft's own wrappers, where it has one
    Head.BASE: "FEATURE_EXTRACTION",
    Head.SEQUENCE_CLASSIFICATION: "SEQ_CLS",
    Head.TOKEN_CLASSIFICATION: "TOKEN_CLS",
    Head.QUESTION_ANSWERING: "QUESTION_ANS",
}


def with_lora(model, head):
    torch.manual_seed(0)
    return peft.get_peft_model(model, peft.LoraConfig(task_type=TASKS.get(head), **LORA)).double()


@pytest.mark.parametrize("head", [Head.SEQUENCE_CLASSIFICATION, Head.MASKED_LM])  # with a wrapper, and tied
def test_lora_trains_the_same_parameters_as_in_transformers(head):
    """Adapters are put in by module names: the same ones, with the same values, losses and gradients."""
    config = small(head)
    state = {name: to_tensor(array) for name, array in random_arrays(config, head).items()}
    results = []
    for model in (PT.new(head, config).double(), theirs(head, config)):
        model.load_state_dict(state, strict=False)  # without tied parameters
        lora = with_lora(model, head)
        loss = lora(**tensors(config, head)).loss
        loss.backward()
        gradients = {name: to_array(p.grad) for name, p in lora.named_parameters() if p.requires_grad}
        results.append({"loss": to_array(loss), **gradients})
    ours, reference = results
    assert sum(".lora_" in name for name in ours) == 2 * 4 * config.n_layers
    assert_close(ours, reference, TOLERANCE)


@pytest.mark.parametrize("head", Head)
def test_adapters_are_saved_loaded_and_merged(tmp_path, head):
    config = small(head)
    save_random(tmp_path / "base", config, head)
    inputs = tensors(config, head)
    base = PT.load(head, tmp_path / "base", dtype="auto")
    before = numbers(base, inputs)
    lora = with_lora(base, head).eval()
    expected = numbers(lora, inputs)
    assert largest_difference(expected, before) > 1e-2

    lora.save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(
        PT.load(head, tmp_path / "base", dtype="auto"), tmp_path / "adapter", autocast_adapter_dtype=False
    )
    assert_close(numbers(loaded, inputs), expected, TOLERANCE)

    merged = loaded.merge_and_unload()
    assert set(merged.state_dict()) == {parameter.name for parameter in merged.parameter_table}
    assert_close(numbers(merged, inputs), expected, TOLERANCE)


def test_what_lora_trained_is_loaded_by_each_backend(framework, tmp_path):
    head = Head.SEQUENCE_CLASSIFICATION
    config = small(head)
    inputs = tensors(config, head)
    save_random(tmp_path, config, head)
    lora = with_lora(PT.load(head, tmp_path, dtype="auto"), head).eval()
    expected = numbers(lora, inputs)
    lora.merge_and_unload().save_pretrained(tmp_path)
    model = framework.load(head, tmp_path, dtype="float64")
    assert_close(framework.call(model, **arrays(config, head)), expected, TOLERANCE)


def test_sentence_transformers(tmp_path, monkeypatch):
    """The module of examples/ gives the vectors of the pipeline and of Transformers' model."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.syspath_prepend(EXAMPLES)
    from sentence_transformers_module import DistilBertModule, main

    texts = ["A dull film.", "A lovely film , and not a moment too long .", "", "word " * 40]
    save_random(tmp_path / "base", small_config(vocab_size=30522), Head.BASE, dtype="float32")
    (tmp_path / "base" / "vocab.txt").write_bytes(VOCAB.read_bytes())
    expected = np.stack(pipeline("feature-extraction", tmp_path / "base", framework="pt")(texts, pooling="mean"))

    main(["--model", str(tmp_path / "base"), "--out", str(tmp_path / "out")])
    ours = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu", trust_remote_code=True)
    assert isinstance(ours[0], DistilBertModule)
    # All are float32. Measured: 6.0e-8.
    np.testing.assert_allclose(ours.encode(texts), expected, rtol=0, atol=1e-6)

    reference = sentence_transformers.SentenceTransformer(str(tmp_path / "base"), device="cpu")
    reference.max_seq_length = 23
    vectors = reference.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)
    prompted = ours.encode(texts[:1], prompt="query: ")
    np.testing.assert_allclose(prompted, ours.encode([f"query: {texts[0]}"]), rtol=0, atol=1e-6)
