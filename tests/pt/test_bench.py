"""`distilbert bench` on the embedded model, in processes of their own."""

from __future__ import annotations

import json

from distilbert_cli import main
from support.record_files import write_file


def test_bench_of_the_embedded_model(tmp_path, capsys):
    file = write_file(tmp_path / "texts.csv", 'review\nA lovely film.\n"Dull, and far too long."\nNot bad at all.\n')
    words = ["bench", "--backends", "pt", "--rounds", "1", "--seconds", "0", "--file", str(file), "--column", "review"]
    assert main([*words, "--json", str(tmp_path / "b.json"), "--png", str(tmp_path / "b.png")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    content = json.loads((tmp_path / "b.json").read_text())
    float32, bfloat16 = content["results"]
    assert content["reference"] == "pt float64"
    assert 0 < float32["largest_difference"] < 1e-4  # measured: 1e-6
    assert 1e-3 < bfloat16["largest_difference"] < 0.5  # measured: 4e-2
    assert float32["answers_changed"] == 0
    assert content["advice"][0]["commands"] == [
        f"distilbert predict --model sst2-tiny --backend pt --file {file} --column review"
    ]
    assert content["advice"][0]["commands"][0] in captured.out
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
