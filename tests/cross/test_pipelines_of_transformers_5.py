"""The pipelines of the three backends against each other and against those of Transformers 5."""

from __future__ import annotations

from itertools import combinations

import peft
import pytest
import torch
import transformers
from oracle.pipeline_cases import CASES, CHECKPOINTS, NAMES, STORY, TEXTS, answers, largest_difference

from distilbert_core import BACKENDS, DEFAULT_MODEL, Head, InputError, backend_class
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.model.inference import unwrapped
from distilbert_core.pipelines import pipeline
from support.pipelines import VOCAB, load, write_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own

# All sides are float32. Measured: two backends 4.3e-6; a backend and Transformers 3.5e-6.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipelines")


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_same_answers(root, checkpoint):
    cases = [case for case in CASES if case.checkpoint == checkpoint]
    folder = write_checkpoint(checkpoint, root)
    sides = {
        name: {case.name: load(case.task, folder, name)(case.inputs, **case.options) for case in cases}
        for name in BACKENDS
    }
    if "question-answering" not in {case.task for case in cases}:  # gone from Transformers 5
        sides["transformers"] = answers(transformers, checkpoint, VOCAB, cases)
    for first, second in combinations(sides.values(), 2):
        assert largest_difference(first, second) <= TOLERANCE


def test_embedded_model(framework):
    theirs = transformers.pipeline("text-classification", str(EMBEDDED_MODELS / DEFAULT_MODEL), device="cpu")
    ours = pipeline("text-classification", framework=framework.name)
    texts = [*TEXTS, *NAMES, STORY, "Neither good nor bad, merely long.", "I love it!"]
    for options in ({}, {"top_k": None}, {"top_k": 1}):
        assert largest_difference(ours(texts, **options), theirs(texts, truncation=True, **options)) <= TOLERANCE
        # One bare text: Transformers puts its answer into a list.
        assert largest_difference(ours(texts[0], **options), theirs(texts[0], **options)) <= TOLERANCE


def classifier(root):
    return backend_class("pt", Head.SEQUENCE_CLASSIFICATION).from_pretrained(write_checkpoint("moods", root))


def test_model_with_an_adapter(root):
    """The adapter's numbers are in the answers."""
    lora = peft.LoraConfig(target_modules=["q_lin", "v_lin"], task_type="SEQ_CLS", init_lora_weights=False)
    model = peft.get_peft_model(classifier(root), lora).eval()
    classify = pipeline("text-classification", model=model, tokenizer=root / "moods", function_to_apply="none")
    for text, answer in zip(TEXTS, classify(TEXTS, top_k=None), strict=True):
        with torch.no_grad():
            logits = model(**classify.tokenizer(text, return_tensors="pt")).logits[0]
        expected = {classify.config.id2label[i]: float(logit) for i, logit in enumerate(logits)}
        assert (
            max(abs(expected[row["label"]] - row["score"]) for row in answer) <= TOLERANCE
        )  # measured: 9.5e-7; without the adapter 0.54


@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel], ids=["compiled", "parallel"])
def test_wrapped_model(root, wrap):
    model = classifier(root)
    assert unwrapped(wrap(model)) is model
    tokenizer = root / "moods"
    assert pipeline(model=wrap(model), tokenizer=tokenizer)(TEXTS) == pipeline(model=model, tokenizer=tokenizer)(TEXTS)


def test_prompt_that_is_not_in_the_layers():
    wrapper = torch.nn.Module()
    wrapper.get_base_model = lambda: None
    wrapper.active_peft_config = peft.PromptTuningConfig(num_virtual_tokens=3)
    with pytest.raises(InputError, match="A prompt that peft has learned is not in the model's layers"):
        pipeline("ner", model=wrapper)
