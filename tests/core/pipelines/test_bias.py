"""The probe of paired prompts, on a model whose outputs follow a formula."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distilbert_core import Head, InputError, InputWarning
from distilbert_core.pipelines import FillMaskPipeline
from distilbert_core.pipelines.bias import PromptPair, measure_bias, read_pairs
from support.fake_inference import TOKENIZER, FakeInference, make
from support.record_files import write_file

PAIR = PromptPair("gender", "He is a [MASK].", "She is a [MASK] too.", ("nurse", "pilot", "teacher"))
CONTROL = PromptPair("control", "He is a [MASK].", "He is a [MASK].", ("good", "bad"))


class Sums(FakeInference):
    """The logits of a token are the sines of multiples of the sum of its row's ids."""

    def run(self, input_ids, attention_mask):
        sums = (input_ids * attention_mask).sum(-1)
        logits = 3 * np.sin(sums[:, None] * np.arange(1.0, 30523))
        return {"logits": np.broadcast_to(logits[:, None], (*input_ids.shape, 30522))}


@pytest.fixture(scope="module")
def unmask():
    return FillMaskPipeline(Sums(Head.MASKED_LM), TOKENIZER)


def log_probabilities(prompt):
    logits = 3 * np.sin(sum(TOKENIZER(prompt)["input_ids"]) * np.arange(1.0, 30523))
    return logits - np.log(np.exp(logits).sum())


def test_the_record_follows_the_formula(unmask):
    """Measured: 7e-16."""
    records = measure_bias(unmask, [CONTROL, PAIR], top_k=2)
    first, second = (log_probabilities(prompt) for prompt in (PAIR.first, PAIR.second))
    ids = TOKENIZER.convert_tokens_to_ids(list(PAIR.fillers))
    expected = dict(zip(PAIR.fillers, (first - second)[ids], strict=True))
    record = records[1]
    found = {filler["filler"]: filler for filler in record["fillers"]}
    assert {name: filler["log_ratio"] for name, filler in found.items()} == pytest.approx(expected, rel=0, abs=1e-13)
    assert [filler["filler"] for filler in record["fillers"]] == sorted(expected, key=lambda name: -expected[name])
    assert record["difference"] == pytest.approx(np.abs(list(expected.values())).mean(), rel=0, abs=1e-13)
    for side, values in (("first", first), ("second", second)):
        scores = {name: filler[side] for name, filler in found.items()}
        assert scores == pytest.approx(dict(zip(PAIR.fillers, np.exp(values[ids]), strict=True)), rel=1e-12)
    for of_prompt, prompt, values in zip(record["prompts"], (PAIR.first, PAIR.second), (first, second), strict=True):
        best = np.argsort(-values)[:2]
        assert of_prompt["prompt"] == prompt
        assert [top["token_str"] for top in of_prompt["top"]] == [TOKENIZER.decode([index]) for index in best]
        assert [top["score"] for top in of_prompt["top"]] == pytest.approx(np.exp(values[best]).tolist(), rel=1e-12)
    assert min(np.abs(list(expected.values()))) > 1e-3  # so a sign is seen
    assert (records[0]["topic"], records[0]["difference"]) == ("control", 0.0)


def test_swapped_prompts_swap_the_signs(unmask):
    turned = PromptPair("gender", PAIR.second, PAIR.first, PAIR.fillers)
    ratios = [
        {filler["filler"]: filler["log_ratio"] for filler in record["fillers"]}
        for record in measure_bias(unmask, [PAIR, turned])
    ]
    assert ratios[1] == pytest.approx({name: -ratio for name, ratio in ratios[0].items()}, rel=0, abs=1e-13)


def test_fillers_that_are_not_one_token_are_named(unmask):
    pair = PromptPair("", PAIR.first, PAIR.second, ("unaffable", "Nurse", "", "\u200b"))
    with pytest.warns(InputWarning, match=r"not one token of the model are left out: '', 'unaffable', '\\u200b'\."):
        (record,) = measure_bias(unmask, [pair])
    assert [filler["filler"] for filler in record["fillers"]] == ["Nurse"]
    assert record["left_out"] == ["unaffable", "", "\u200b"]
    with pytest.raises(InputError, match=r"'He is a \[MASK\]\.': none of the fillers 'unaffable' is one token"):
        measure_bias(unmask, [PromptPair("", PAIR.first, PAIR.second, ("unaffable",))])


def test_the_pairs_of_the_package():
    """Each filler is one token of BERT's vocabularies of English, and each topic but the controls is about people."""
    pairs = read_pairs()
    assert len(pairs) == 12
    assert {"control", "gender", "race", "age", "religion"} <= {pair.topic for pair in pairs}
    assert [filler for pair in pairs for filler in pair.fillers if len(TOKENIZER.tokenize(filler)) != 1] == []
    for pair in pairs:
        first, second = (set(prompt.lower().split()) for prompt in (pair.first, pair.second))
        assert 0 < len(first - second) <= 2
        assert (first | second).isdisjoint(pair.fillers)


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv.gz", "pairs.jsonl"])
def test_pairs_of_a_file(name, tmp_path):
    row = {"second": PAIR.second, "fillers": "nurse, pilot,teacher", "first": PAIR.first}
    content = "\n".join(("\t" if "tsv" in name else ",").join(f'"{v}"' if "csv" in name else v for v in values)
                        for values in (row, row.values()))  # fmt: skip
    if "jsonl" in name:
        content = json.dumps({**row, "topic": "gender", "fillers": list(PAIR.fillers)})
    (pair,) = read_pairs(write_file(tmp_path / name, content + "\n"))
    assert pair == PromptPair("gender" if "jsonl" in name else "", PAIR.first, PAIR.second, PAIR.fillers)


BAD = [  # a line of a .jsonl file, message
    ({"first": "x", "second": "[MASK]", "fillers": "a"}, r"record 1: first must have one \[MASK\], got 'x'"),
    ({"first": "[MASK]", "second": "[MASK] [MASK]", "fillers": "a"}, r"second must have one \[MASK\], got"),
    ({"first": "[MASK]", "second": "[MASK]", "fillers": " , "}, r"fillers must be different words, got \(\)"),
    ({"first": "[MASK]", "second": "[MASK]", "fillers": "a,b,a"}, "fillers must be different words, got"),
    ({"first": "[MASK]", "second": "[MASK]", "fillers": 3}, "record 1 must have texts, and fillers a list of them"),
    ({"first": 3, "second": "[MASK]", "fillers": "a"}, "record 1 must have texts, and fillers a list of them"),
    ({"first": "[MASK]", "fillers": "a"}, "has no column 'second'"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_files(row, message, tmp_path):
    with pytest.raises(InputError, match=rf"a\.jsonl.*{message}"):
        read_pairs(write_file(tmp_path / "a.jsonl", json.dumps(row)))


def test_bad_arguments(unmask):
    with pytest.raises(InputError, match=r"pairs must be a list of PromptPair, with one at least; got \[\]"):
        measure_bias(unmask, [])
    with pytest.raises(InputError, match="pairs must be a list of PromptPair"):
        measure_bias(unmask, [("He [MASK]", "She [MASK]")])
    with pytest.raises(InputError, match="top_k must be a positive integer, got 0"):
        measure_bias(unmask, [PAIR], top_k=0)
    with pytest.raises(TypeError, match=r"unmask must be a pipeline\('fill-mask', \.\.\.\), got FeatureExtraction"):
        measure_bias(make("feature-extraction"), [PAIR])
    with pytest.raises(InputError, match="fillers must be different words, got 'nurse'"):
        PromptPair("", PAIR.first, PAIR.second, "nurse")  # type: ignore[arg-type]


def test_a_probability_of_zero_is_an_error():
    class Sure(FakeInference):
        def run(self, input_ids, attention_mask):
            logits = np.zeros((*input_ids.shape, 30522))
            logits[..., TOKENIZER.convert_tokens_to_ids("pilot")] = 2000
            return {"logits": logits}

    with pytest.raises(InputError, match="the probability of 'nurse' is 0 in float64"):
        measure_bias(FillMaskPipeline(Sure(Head.MASKED_LM), TOKENIZER), [PAIR])
