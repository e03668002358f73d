"""Exported models behind the interface of inference: ONNX Runtime and OpenVINO give the numbers of PyTorch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import CheckpointError, DistilBertTokenizerFast, Head, InputError
from distilbert_core.model.loading import load_inference
from distilbert_core.model.packing import Packing, Ragged
from distilbert_core.pipelines import pipeline
from support.checkpoints import BATCH, HEADS, TOKENS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.pipelines import write_checkpoint
from support.processes import fresh_python
from weight_conversion import convert

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")

ENGINES = ("onnx", "openvino")
TOLERANCE = 2e-5  # float32, of hidden states up to 7; measured: 3.6e-6
TEXTS = ["A lovely film.", "Two hours I will not get back.", "Warm, funny, wise.", "Dull and far too long."]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function that returns two folders with a head's random checkpoint: original and exported."""
    made = {}

    def folders(head, to="onnx"):
        if (head, to) not in made:
            folder = tmp_path_factory.mktemp(head.value)
            save_random(folder / "pt", small_config(), head)
            convert(folder / "pt", folder / "onnx", to, dtype="float32")
            made[head, to] = folder / "pt", folder / "onnx"
        return made[head, to]

    return folders


# Files of the former version take a padded batch, too.
GRAPHS = [*((head, "onnx") for head in HEADS), (Head.TOKEN_CLASSIFICATION, "onnx-padded")]
GRAPHS += [(Head.SEQUENCE_CLASSIFICATION, "onnx-padded")]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("head", "to"), GRAPHS)
def test_real_tokens_have_the_outputs_of_pytorch(exported, head, to, engine, monkeypatch):
    monkeypatch.setattr("distilbert_core.model.exported.GROUP_TOKENS", 2 * TOKENS)  # so that there are several groups
    monkeypatch.setattr("distilbert_core.model.exported.CHUNK_TOKENS", 2 * TOKENS)
    monkeypatch.setattr("distilbert_core.model.packing.ROW_LENGTHS", (2 * TOKENS + 1,))  # several texts in a row
    pt, onnx = exported(head, to)
    inputs = {name: random_inputs(small_config(), head)[name] for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][..., 0] = 1
    expected = load_inference("pt", head, pt).run(**inputs)
    real = inputs["attention_mask"] == 1
    if head.reads_tokens:
        for array in expected.values():
            array[~real] = 0
    model = load_inference(engine, head, onnx)
    assert model.model.is_packed is (to == "onnx")
    assert_close(model(**inputs), expected, TOLERANCE)
    if head.reads_tokens:
        wanted = np.random.default_rng(0).random((BATCH, TOKENS)) < 0.5
        some = {name: array[wanted & real] for name, array in expected.items()}
        assert_close(model(**inputs, tokens=wanted), some, TOLERANCE)


def test_a_text_does_not_attend_to_its_neighbours_in_the_row(exported):
    model = load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1])
    texts = Ragged.from_rows([[5, 6, 7], [8, 9], [4]])
    together = model.run_packed(Packing.from_lengths(texts.lengths, 6).rows(texts))[0]
    alone = [model.run_ragged(Ragged.from_rows([ids]))["logits"] for ids in ([5, 6, 7], [8, 9], [4])]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=TOLERANCE)
    one_text = Packing(np.arange(6), np.ones((1, 6), np.int32))  # the same row as a single segment
    assert abs(model.run_packed(one_text.rows(texts))[0] - together).max() > 0.01


def scores(folder, engine):
    classify = pipeline("text-classification", folder, framework=engine, top_k=None, function_to_apply="none")
    assert classify.framework == engine
    return np.array([[label["score"] for label in sorted(answer, key=str)] for answer in classify(TEXTS)])


@pytest.fixture(scope="module")
def float32_scores():
    """The logits of `TEXTS` by the embedded model."""
    return scores("sst2-tiny", "pt")


@pytest.mark.parametrize("to", ["onnx-int8", "onnx-int8-static", "openvino-int8"])
def test_int8_is_smaller_and_answers_alike(to, tmp_path, float32_scores, monkeypatch):
    calibration = {}
    if to != "onnx-int8":
        tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        calibration = {"calibrate": tokenizer([*TEXTS, "Not bad.", "A film about a man and a dog."])["input_ids"]}
    if to == "openvino-int8":
        pytest.importorskip("nncf")
    notes = convert("sst2-tiny", tmp_path / "int8", to, **calibration).notes
    assert ("Calibrated on 6 of 6 texts." in notes) is bool(calibration)
    weights = next(path for path in (tmp_path / "int8").iterdir() if path.name in ("model.onnx", "openvino_model.bin"))
    assert weights.stat().st_size < 40e6  # of 47 MB; word embeddings may stay float32
    int8 = scores(tmp_path / "int8", "openvino" if to == "openvino-int8" else "onnx")
    assert 0 < abs(int8 - float32_scores).max() < 0.5  # 0 would not be int8
    assert (int8.argmax(1) == float32_scores.argmax(1)).all()


def test_on_the_command_line(tmp_path, capsys):
    convert("sst2-tiny", tmp_path, "onnx")
    for engine in ENGINES:
        assert main(["predict", "A lovely film.", "--backend", engine, "--model", str(tmp_path)]) == 0
        assert "POSITIVE" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_loaded(exported, engine, tmp_path):
    pt, onnx = exported(Head.TOKEN_CLASSIFICATION)
    with pytest.raises(CheckpointError, match=r"model\.onnx"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, pt)
    with pytest.raises(CheckpointError, match="was exported as DistilBertForTokenClassification"):
        load_inference(engine, Head.MASKED_LM, onnx)
    with pytest.raises(InputError, match="dtype must be"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, onnx, dtype="float64")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((onnx / "config.json").read_bytes())
    (broken / "model.onnx").write_bytes((onnx / "model.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be read as an ONNX file"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, broken)


def test_openvino_says_so_if_it_computes_in_something_else(exported, monkeypatch):
    """Asked for what the processor cannot do, it takes float32 without a word."""
    onnx = exported(Head.TOKEN_CLASSIFICATION)[1]
    from openvino import CompiledModel, Type

    monkeypatch.setattr(CompiledModel, "get_property", lambda self, name: Type.f32)
    with pytest.raises(
        InputError, match=r"OpenVINO cannot compute in dtype='bfloat16' on this processor: it chose f32"
    ):
        load_inference("openvino", Head.TOKEN_CLASSIFICATION, onnx, dtype="bfloat16")


def test_a_device_that_does_not_exist(exported):
    with pytest.raises(InputError, match=r"device must be one of .*CPU.* got 'Abacus'"):
        load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1], device="Abacus")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pickle_is_loaded_again_from_the_folder(exported, engine):
    head = Head.TOKEN_CLASSIFICATION
    model = load_inference(engine, head, exported(head)[1], device=-1)
    inputs = {name: random_inputs(small_config(), head)[name] for name in ("input_ids", "attention_mask")}
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.backend, copy.head) == (engine, head)
    np.testing.assert_array_equal(copy(**inputs)["logits"], model(**inputs)["logits"])


def test_padding_on_the_left_is_refused_where_the_graph_reads_the_first_token(exported):
    inputs = {"input_ids": np.ones((1, 3), int), "attention_mask": np.array([[0, 1, 1]])}
    pt, padded = exported(Head.SEQUENCE_CLASSIFICATION, "onnx-padded")
    model = load_inference("onnx", Head.SEQUENCE_CLASSIFICATION, padded)
    with pytest.raises(InputError, match="must not begin with padding"):
        model(**inputs)
    packed = load_inference("onnx", Head.SEQUENCE_CLASSIFICATION, exported(Head.SEQUENCE_CLASSIFICATION)[1])
    assert_close(packed(**inputs), load_inference("pt", Head.SEQUENCE_CLASSIFICATION, pt)(**inputs), TOLERANCE)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"attention_mask": np.ones((1, 3), int)}, "takes input_ids and attention_mask, got attention_mask"),
        (
            {"input_ids": np.ones((1, 3), int), "head_mask": np.ones(3)},
            "takes input_ids and attention_mask, got input_ids",
        ),
        ({"input_ids": np.ones((1, 99), int)}, "99 tokens, more than max_position_embeddings"),
        ({"input_ids": np.ones((1, 3), int), "attention_mask": np.ones((1, 2), int)}, "attention_mask must have shape"),
        ({"input_ids": np.full((1, 3), 1.5)}, "input_ids must be integers, got float64"),
        ({"input_ids": np.full((1, 3), -1)}, "input_ids must lie in .*got -1"),
        ({"input_ids": np.zeros((0, 3), int)}, r"must hold at least one token, got the shape \(0, 3\)"),
        (
            {"input_ids": np.ones((1, 3), int), "tokens": np.ones((2, 3), bool)},
            "tokens must have the shape of input_ids",
        ),
    ],
)
def test_bad_inputs(exported, inputs, message):
    model = load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1])
    with pytest.raises(InputError, match=message):
        model(**inputs)


def test_fields_of_a_configuration_are_refused(exported):
    with pytest.raises(TypeError, match=r"Unknown keyword argument\(s\): num_labels"):
        load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1], num_labels=3)


@pytest.mark.parametrize("head", [Head.MULTIPLE_CHOICE, Head.QUESTION_ANSWERING])
def test_a_program_of_torch_export_needs_only_pytorch(exported, head, tmp_path):
    pt, folder = exported(head, "pt2")
    inputs = {name: random_inputs(small_config(), head)[name] for name in ("input_ids", "attention_mask")}
    np.savez(tmp_path / "inputs.npz", **inputs)
    fresh_python(f"""
import sys
import numpy as np
import torch
run = torch.export.load({str(folder / "model.pt2")!r}).module()
inputs = {{name: torch.from_numpy(array) for name, array in np.load({str(tmp_path / "inputs.npz")!r}).items()}}
np.savez({str(tmp_path / "outputs.npz")!r}, **{{name: value.detach() for name, value in run(**inputs).items()}})
assert not [name for name in sys.modules if name.startswith("distilbert")]
""")
    expected = load_inference("pt", head, pt).run(**inputs)
    assert_close(dict(np.load(tmp_path / "outputs.npz")), expected, TOLERANCE)


def test_a_graph_that_pools_runs_like_one_that_does_not(tmp_path):
    save_random(tmp_path / "pt", small_config(), Head.BASE)
    convert(tmp_path / "pt", tmp_path / "onnx", "onnx-padded", dtype="float32", pooling="cls", normalize=True)
    inputs = {name: random_inputs(small_config(), Head.BASE)[name] for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][:] = 1
    model, expected = (load_inference(name, Head.BASE, tmp_path / name).run(**inputs) for name in ("onnx", "pt"))
    assert_close(model, expected, TOLERANCE)
    program = load_inference("onnx", Head.BASE, tmp_path / "onnx").model.program
    first = expected["last_hidden_state"][:, 0]
    vectors = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(program.run(inputs)["sentence_embedding"], vectors, atol=TOLERANCE)


def test_a_folder_for_transformers_js(tmp_path):
    folder = write_checkpoint("entities", tmp_path)  # it has vocab.txt, but no tokenizer.json
    notes = convert(folder, tmp_path / "js", "transformersjs").notes
    graphs = {f"onnx/model{suffix}.onnx" for suffix in ("", "_fp16", "_quantized")}
    assert {note.split()[1] for note in notes if note.startswith("Checked ")} == graphs
    files = {path.relative_to(tmp_path / "js").as_posix() for path in (tmp_path / "js").rglob("*") if path.is_file()}
    assert files == {"config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", *graphs}
    sizes = [(tmp_path / "js" / name).stat().st_size for name in sorted(graphs, key=len)]
    assert sizes == sorted(sizes, reverse=True)
    tokenizer = DistilBertTokenizerFast(tokenizer_file=tmp_path / "js" / "tokenizer.json")
    assert tokenizer(TEXTS)["input_ids"] == DistilBertTokenizerFast.from_pretrained(folder)(TEXTS)["input_ids"]
    for name in graphs:
        session = onnxruntime.InferenceSession(tmp_path / "js" / name)
        assert [entry.name for entry in session.get_inputs()] == ["input_ids", "attention_mask"]  # no token_type_ids
        assert [(entry.name, entry.type) for entry in session.get_outputs()] == [("logits", "tensor(float)")]
    ours, expected = (
        [token["score"] for tokens in pipeline("token-classification", path, framework=name)(TEXTS) for token in tokens]
        for name, path in (("onnx", tmp_path / "js"), ("pt", folder))
    )
    assert ours == pytest.approx(expected, abs=1e-5)


def test_transformers_js_needs_a_tokenizer(tmp_path):
    save_random(tmp_path / "pt", small_config(n_layers=1), Head.QUESTION_ANSWERING)
    notes = convert(tmp_path / "pt", tmp_path / "js", "transformersjs").notes
    assert "The source has no tokenizer: Transformers.js needs tokenizer.json and tokenizer_config.json." in notes
