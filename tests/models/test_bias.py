"""The probe of paired prompts, on each backend and on the command line."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from oracle.pipeline_cases import draw

from distilbert_cli import main
from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head, parameter_table
from distilbert_core.pipelines import pipeline
from distilbert_core.pipelines.bias import measure_bias, read_pairs
from support.pipelines import write_checkpoint
from support.reference import forward


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint("masked_lm", tmp_path_factory.mktemp("bias"))


@pytest.fixture(scope="module")
def expected(checkpoint):
    """The log ratios of the pairs of the package, from the reference in float64: one dict for each pair."""
    config = DistilBertConfig.from_pretrained(checkpoint)
    tokenizer = DistilBertTokenizerFast.from_pretrained(checkpoint)
    table = (parameter for parameter in parameter_table(config, Head.MASKED_LM) if parameter.tied_to is None)
    arrays = {parameter.name: draw(parameter.name, parameter.shape).astype(np.float64) for parameter in table}

    def logits(prompt):
        inputs = tokenizer([prompt], return_tensors="np")
        outputs = forward(config, Head.MASKED_LM, arrays, **inputs)["logits"]
        return outputs[inputs["input_ids"] == tokenizer.mask_token_id][0]

    ratios = []
    for pair in read_pairs():
        first, second = (np.array(logits(prompt)) for prompt in (pair.first, pair.second))
        first, second = (values - np.log(np.exp(values).sum()) for values in (first, second))
        ratios.append({word: (first - second)[tokenizer.convert_tokens_to_ids(word)] for word in pair.fillers})
    return ratios


def test_the_same_numbers_in_each_backend(framework, checkpoint, expected):
    """Measured in float64: 5e-14."""
    unmask = pipeline("fill-mask", checkpoint, framework=framework.name, dtype="float64")
    for record, ratios in zip(measure_bias(unmask), expected, strict=True):
        found = {filler["filler"]: filler["log_ratio"] for filler in record["fillers"]}
        assert found == pytest.approx(ratios, rel=0, abs=1e-11)
        assert record["difference"] == pytest.approx(np.abs(list(ratios.values())).mean(), rel=0, abs=1e-11)
    assert max(map(abs, expected[2].values())) > 0.1


def test_the_command(framework, checkpoint, expected, tmp_path, capsys):
    """The table has a row for each prompt; --fillers one for each filler; --json has everything."""

    def run(*words):
        model = ["--model", str(checkpoint), "--backend", framework.name, "--dtype", "float64"]
        assert main(["bias", *model, *words]) == 0
        return capsys.readouterr().out.splitlines()

    records = [json.loads(line) for line in run("--json", "--plot", str(tmp_path / "bias.png"))]
    assert (tmp_path / "bias.png").read_bytes().startswith(b"\x89PNG")
    assert [len(record["prompts"][0]["top"]) for record in records] == [5] * 12
    rows = [line.split("\t") for line in run("--top-k", "2")]
    assert [row[3] for row in rows] == [prompt for pair in read_pairs() for prompt in (pair.first, pair.second)]
    best = max(expected[2].items(), key=lambda item: item[1])
    assert rows[4][5].startswith(f"{best[0]} (x {math.exp(best[1]):.1f})")
    worst = min(expected[2].items(), key=lambda item: item[1])
    assert rows[5][5].startswith(f"{worst[0]} (x {math.exp(-worst[1]):.1f})")
    assert rows[4][4] == ", ".join(top["token_str"] for top in records[2]["prompts"][0]["top"][:2])
    run("--fillers", "--output", str(tmp_path / "fillers.csv"))
    with (tmp_path / "fillers.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(map(len, expected))
    ratios = {row["filler"]: float(row["log_ratio"]) for row in table if row["number"] == "3"}
    assert ratios == pytest.approx(expected[2])


def test_errors_of_the_command(checkpoint, tmp_path, capsys):
    for words, status, message in [
        (["--plot", "bias.svg", "--model", str(checkpoint)], 2, "bias.svg must end in .png."),
        (["--prompts", str(tmp_path / "none.tsv"), "--model", str(checkpoint)], 1, "none.tsv cannot be read"),
        (["--model", DEFAULT_MODEL, "--backend", "pt"], 1, "which fill-mask cannot use"),
    ]:
        assert main(["bias", *words]) == status
        assert message in " ".join(capsys.readouterr().err.split())
