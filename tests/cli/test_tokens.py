"""The command `tokenize`."""

from __future__ import annotations

import pytest

from distilbert_cli import main


@pytest.mark.parametrize("slow", [[], ["--slow"]], ids=["fast", "slow"])
def test_tokens(capsys, slow):
    assert main(["tokenize", "Füße!", "unaffable", *slow]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == [
        ["1", "[CLS]", "101", "0", "0"],
        ["1", "fu", "11865", "0", "2"],
        ["1", "##ße", "17499", "2", "4"],
        ["1", "!", "999", "4", "5"],
        ["1", "[SEP]", "102", "0", "0"],
        ["2", "[CLS]", "101", "0", "0"],
        ["2", "una", "14477", "0", "3"],
        ["2", "##ffa", "20961", "3", "6"],
        ["2", "##ble", "3468", "6", "9"],
        ["2", "[SEP]", "102", "0", "0"],
    ]
