"""Transformers' own pipelines with a model and a tokenizer of ours: the answers of our pipelines."""

from __future__ import annotations

import pytest
import transformers

from distilbert_core import DistilBertTokenizerFast, Head
from distilbert_core.pipelines import pipeline
from support.checkpoints import save_random, small_config
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
TEXTS = ["a good film", "bad , if not the worst"]
pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own


@pytest.fixture
def parts(tmp_path, request):
    """A model of ours with a head, our tokenizer, and the folder of both."""
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    save_random(tmp_path, small_config(vocab_size=len(tokenizer), num_labels=2), request.param)
    tokenizer.save_pretrained(tmp_path)
    return PT.load(request.param, tmp_path), tokenizer, tmp_path


def close(got, expected):
    if isinstance(expected, dict):
        return all(close(got[name], expected[name]) for name in expected)
    if isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(close, got, expected))
    return abs(got - expected) < 1e-5 if isinstance(expected, float) else got == expected


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("text-classification", Head.SEQUENCE_CLASSIFICATION),
        ("token-classification", Head.TOKEN_CLASSIFICATION),
        ("fill-mask", Head.MASKED_LM),
    ],
    indirect=["parts"],
)
def test_answers(task, parts):
    model, tokenizer, folder = parts
    texts = [f"{text} [MASK]" for text in TEXTS] if task == "fill-mask" else TEXTS
    theirs = transformers.pipeline(task, model=model, tokenizer=tokenizer)
    got, expected = theirs(texts, batch_size=2), pipeline(task, str(folder), framework="pt")(texts)
    assert close(got, expected), (got, expected)


@pytest.mark.parametrize("parts", [Head.BASE], indirect=True)
def test_features_need_tuples(parts):
    """That pipeline turns outputs that are not Transformers' own into dicts, and reads them by number."""
    model, tokenizer, _ = parts
    model.config.return_dict = False
    got = transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer)(TEXTS[0])
    expected = model(**tokenizer(TEXTS[0], return_tensors="pt"))[0].tolist()
    assert close(got, expected)
