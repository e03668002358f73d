"""A student made from a part of its teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distilbert_core import CheckpointError, DistilBertConfig, DistilBertTokenizer, DistilBertTokenizerFast, Head
from distilbert_core.errors import InputError
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.model.heads import parameter_table
from distilbert_core.model.parameters import initial_array
from support import reference
from support.checkpoints import BATCH, TOKENS, ragged_mask, random_arrays, save_random, small_config
from weight_conversion import bert_names, convert, corpus_vocabulary, make_student, open_weights
from weight_conversion.students.widths import strongest_units

WORDS = "distilbert.embeddings.word_embeddings.weight"
QUERY = "distilbert.transformer.layer.{}.attention.q_lin.weight"
MLM = {"n_layers": 5, "pad_token_id": 3}


def arrays_of(source) -> dict[str, np.ndarray]:
    return {name: np.array(tensor.read()) for name, tensor in open_weights(source).tensors.items()}


def same(found, expected) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def ids_and_mask(vocab_size: int) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(3).integers(0, vocab_size, (BATCH, TOKENS))
    return {"input_ids": ids, "attention_mask": ragged_mask()}


# -- layers -----------------------------------------------------------------------------------------------------


def of_layers(arrays: dict[str, np.ndarray], layers) -> dict[str, np.ndarray]:
    """The arrays of some layers, by another way than the code under test: one list of names for each layer."""
    blocks = [[name for name in arrays if f"transformer.layer.{layer}." in name] for layer in layers]
    first = [name for name in arrays if ".embeddings." in name]
    last = [name for name in arrays if not name.startswith("distilbert.")]
    renamed = {
        name.replace(f"layer.{old}.", f"layer.{new}."): arrays[name]
        for new, (old, names) in enumerate(zip(layers, blocks, strict=True))
        for name in names
    }
    return {**{name: arrays[name] for name in first}, **renamed, **{name: arrays[name] for name in last}}


@pytest.mark.parametrize("to", ["pt", "flax", "msgpack"])
@pytest.mark.parametrize(
    ("layers", "kept"),
    [(None, [0, 2, 4]), ((0, 3), [0, 3]), ((4, 1), [4, 1]), (range(5), [0, 1, 2, 3, 4])],
)
def test_layers_keep_their_bits_whatever_the_format(tmp_path, to, layers, kept):
    config = small_config(**MLM, dropout=0.25)
    arrays = save_random(tmp_path / "teacher", config, Head.MASKED_LM, dtype="float32")
    if to != "pt":
        convert(tmp_path / "teacher", tmp_path / to, to=to)
    student = make_student(tmp_path / ("teacher" if to == "pt" else to), tmp_path / "student", layers=layers)
    expected = config.updated(n_layers=len(kept), architectures=["DistilBertForMaskedLM"], torch_dtype="float32")
    assert student.config.to_dict() == expected.to_dict()
    assert (student.head, student.format) == (Head.MASKED_LM, "pt")
    same(arrays_of(tmp_path / "student"), of_layers(arrays, kept))
    text = ", ".join(map(str, kept))
    assert student.notes == ([] if len(kept) == 5 else [f"Of 5 layers, {text} were kept."])


def test_pruned_heads_follow_their_layers(tmp_path):
    config = small_config(n_layers=4, pruned_heads={1: [0], 3: [1, 2]})
    arrays = save_random(tmp_path / "teacher", config, Head.TOKEN_CLASSIFICATION)
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=(3, 0))
    assert student.config.pruned_heads == {0: [1, 2]}
    same(arrays_of(tmp_path / "student"), of_layers(arrays, (3, 0)))


def test_a_head_that_the_teacher_lacks_is_new(tmp_path):
    save_random(tmp_path / "teacher", small_config(), Head.BASE)
    student = make_student(tmp_path / "teacher", tmp_path / "student", head=Head.QUESTION_ANSWERING)
    assert student.head is Head.QUESTION_ANSWERING
    assert "New, and to be trained before use: qa_outputs.weight, qa_outputs.bias." in student.notes
    scale = student.config.initializer_range
    fresh = arrays_of(tmp_path / "student")["qa_outputs.weight"]
    # 24 normal draws: their deviation is within a factor of 2 of its expectation.
    assert scale / 2 < fresh.std() < 2 * scale


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING])
def test_the_head_of_a_bert_comes_along(tmp_path, head):
    labels = {"id2label": {0: "O", 1: "B", 2: "I"}}
    config = small_config(n_layers=3, num_labels=3, **labels)
    wanted = random_arrays(config, head, dtype="float32")
    names = bert_names(config, head)
    stored = {("bert." if "distilbert." in ours else "") + theirs: wanted[ours] for ours, theirs in names.items()}
    stored |= {"bert.embeddings.token_type_embeddings.weight": np.zeros((1, 12), np.float32)}
    stored |= {"bert.pooler.dense.bias": np.ones(12, np.float32)}
    fields = {"model_type": "bert", "vocab_size": 47, "max_position_embeddings": 23, "num_hidden_layers": 3}
    fields |= {"num_attention_heads": 3, "hidden_size": 12, "intermediate_size": 20, **labels}
    if head is Head.TOKEN_CLASSIFICATION:
        fields |= {"architectures": ["BertForTokenClassification"]}
    save_checkpoint(tmp_path / "bert", stored, {"config.json": json.dumps(fields).encode()})
    student = make_student(tmp_path / "bert", tmp_path / "student")
    assert (student.head, student.config.id2label) == (head, labels["id2label"])
    same(arrays_of(tmp_path / "student"), of_layers(wanted, (0, 2)))
    assert student.notes == [
        "The embedding of token type 0 was added to the position embeddings.",
        f"Dropped, as {head.architecture} has no such parameters: bert.pooler.dense.bias.",
        "Of 3 layers, 0, 2 were kept.",
    ]


def test_files_beside_the_weights_of_a_teacher_are_reported(tmp_path):
    save_random(tmp_path / "teacher", small_config(), Head.BASE)
    for name in (
        "modules.json",
        "optimizer.pt",
        "README.md",
    ):  # a model card, which is of another model, is known to stay
        (tmp_path / "teacher" / name).write_text("[]")
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=(0, 1))
    assert student.notes == ["Left behind: modules.json, optimizer.pt."]
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == ["config.json", "model.safetensors"]


# -- vocabulary -------------------------------------------------------------------------------------------------

# Ids 4 to 8 are not needed by the corpus below; characters are there at the beginning and within a word.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
TOKEN_LIST = [
    *(*SPECIAL, "the", "##ing", "film", "walk", "##er"),
    *("[MASK]", "a", "b", "##a", "##b", "ab", "##ab", "baa", "abba"),
]
CORPUS = ["ab abab", "Baa abba, ab!"]


def save_teacher(folder: Path, files: str, **changes) -> tuple[DistilBertConfig, dict[str, np.ndarray]]:
    config = small_config(vocab_size=len(TOKEN_LIST) + 1, **changes)
    arrays = save_random(folder, config, Head.MASKED_LM)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKEN_LIST))
    (folder / "README.md").write_text("The teacher.")
    (folder / "LICENSE").write_text("Free.")
    tokenizer = DistilBertTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(["b-b"])
    assert len(tokenizer) == config.vocab_size
    if files == "tokenizer.json":
        tokenizer.save_pretrained(folder)
        (folder / "vocab.txt").unlink()
    else:
        (folder / "added_tokens.json").write_text(json.dumps({"b-b": len(tokenizer) - 1}))
    return config, arrays


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("files", ["vocab.txt", "tokenizer.json"])
def test_a_trimmed_student_computes_the_same_as_its_teacher(tmp_path, files, tied):
    """Bit for bit but for the product with the word embeddings, whose order of summation NumPy chooses by the shape."""
    config, arrays = save_teacher(tmp_path / "teacher", files, tie_word_embeddings=tied)
    old = DistilBertTokenizerFast.from_pretrained(tmp_path / "teacher")
    texts = [*CORPUS, "b-b ab"]
    ids = corpus_vocabulary(old, texts)
    assert [old.convert_ids_to_tokens(index) for index in ids] == [*TOKEN_LIST[:4], *TOKEN_LIST[9:], "b-b"]
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=range(2), vocabulary=reversed(ids))
    assert student.notes == [f"Of {config.vocab_size} tokens, {len(ids)} were kept."]
    assert student.config.pad_token_id == 0

    new = DistilBertTokenizerFast.from_pretrained(tmp_path / "student")
    slow = DistilBertTokenizer.from_pretrained(tmp_path / "student")
    assert new.get_vocab() == {old.convert_ids_to_tokens(index): rank for rank, index in enumerate(ids)}
    before, after = old(texts, padding=True, return_tensors="np"), new(texts, padding=True, return_tensors="np")
    assert slow(texts, padding=True)["input_ids"] == after["input_ids"].tolist()
    assert [new.convert_ids_to_tokens(row) for row in after["input_ids"]] == [
        old.convert_ids_to_tokens(row) for row in before["input_ids"]
    ]
    assert (after["input_ids"] != before["input_ids"]).any()

    written = arrays_of(tmp_path / "student")
    assert ("vocab_projector.weight" in written) is not tied
    rows = {name: arrays[name][ids] if len(arrays[name]) == config.vocab_size else arrays[name] for name in arrays}
    same(written, rows)
    found = reference.base_model(student.config, written, **after)["last_hidden_state"]
    assert np.array_equal(found, reference.base_model(config, arrays, **before)["last_hidden_state"])
    logits = reference.forward(config, Head.MASKED_LM, arrays, **before)["logits"][..., ids]
    # Measured: 4.4e-16.
    np.testing.assert_allclose(
        reference.forward(student.config, Head.MASKED_LM, written, **after)["logits"], logits, rtol=0, atol=1e-14
    )


def test_token_fields_and_options_of_the_tokenizer_follow(tmp_path):
    folder = tmp_path / "teacher"
    save_teacher(folder, "vocab.txt", sep_token_id=3, bos_token_id=4)
    (folder / "vocab.txt").write_text(
        "".join(f"{token}\n" for token in ["the", *TOKEN_LIST[1:4], "[PAD]", *TOKEN_LIST[5:]])
    )
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 17}')
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"pad_token_id": 4, "bos_token_id": 7}))
    student = make_student(folder, tmp_path / "student", vocabulary=[1, 2, 3, 4, 9, 10])
    assert (student.config.pad_token_id, student.config.sep_token_id, student.config.bos_token_id) == (3, 2, None)
    assert "bos_token_id is None now: token 7 was not kept." in student.notes
    tokenizer = DistilBertTokenizerFast.from_pretrained(tmp_path / "student")
    assert (tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.model_max_length) == (3, 2, 17)
    assert tokenizer.tokenize("a A") == ["a", "[UNK]"]
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == [
        *("LICENSE", "config.json", "model.safetensors"),
        *("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    ]


def test_without_tokenizer_files(tmp_path):
    config = small_config()
    arrays = save_random(tmp_path / "teacher", config, Head.MASKED_LM)
    student = make_student(tmp_path / "teacher", tmp_path / "student", vocabulary={0, 46, 5})
    assert student.config.vocab_size == 3
    assert np.array_equal(arrays_of(tmp_path / "student")[WORDS], arrays[WORDS][[0, 5, 46]])


def test_all_files_of_a_whole_vocabulary_travel_but_the_model_card(tmp_path):
    save_teacher(tmp_path / "teacher", "tokenizer.json")
    make_student(tmp_path / "teacher", tmp_path / "student")
    for path in (tmp_path / "teacher").iterdir():
        if path.name not in ("README.md", "config.json", "model.safetensors"):
            assert (tmp_path / "student" / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "student/README.md").exists()


class TestCorpusVocabulary:
    @pytest.fixture
    def tokenizer(self, tmp_path):
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKEN_LIST))
        return DistilBertTokenizerFast.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("size", "beyond"),
        [(None, "film ab ##ab baa abba"), (9, ""), (10, "ab"), (11, "ab ##ab"), (12, "film ab ##ab")],
    )
    def test_the_most_frequent_tokens_are_kept_beside_the_fixed_ones(self, tokenizer, size, beyond):
        found = corpus_vocabulary(tokenizer, (text for text in ["ab abab abab", "film", "ab baa abba"]), size)
        always = {*range(4), *range(9, 14)}
        assert set(found) == always | set(tokenizer.convert_tokens_to_ids(beyond.split()))
        assert found == sorted(found)

    def test_nothing_becomes_unknown_that_was_not(self, tokenizer, tmp_path):
        (tmp_path / "config.json").write_text(small_config(vocab_size=len(TOKEN_LIST)).to_json_string())
        save_random(tmp_path, small_config(vocab_size=len(TOKEN_LIST)), Head.BASE)
        make_student(tmp_path, tmp_path / "student", vocabulary=corpus_vocabulary(tokenizer, CORPUS, 10))
        trimmed = DistilBertTokenizerFast.from_pretrained(tmp_path / "student")
        assert trimmed.tokenize("abba baa abc ab") == ["ab", "##b", "##a", "b", "##a", "##a", "[UNK]", "ab"]
        assert tokenizer.tokenize("abba baa abc ab") == ["abba", "baa", "[UNK]", "ab"]

    def test_a_single_text(self, tokenizer):
        with pytest.raises(InputError, match="texts must be several texts, such as a list, got one text"):
            corpus_vocabulary(tokenizer, "a film")

    def test_no_room(self, tokenizer):
        with pytest.raises(InputError, match=r"size must be at least 9, the number of .* characters, got 8\."):
            corpus_vocabulary(tokenizer, [], 8)


# -- widths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION], ids=lambda head: head.value)
def test_the_widths_of_the_teacher_change_nothing(tmp_path, head):
    arrays = save_random(tmp_path / "teacher", small_config(), head)
    make_student(tmp_path / "teacher", tmp_path / "student", layers=(0, 1), dim=12, hidden_dim=20, n_heads=3)
    same(arrays_of(tmp_path / "student"), arrays)


def test_feed_forward_units_without_effect_are_the_first_to_go(tmp_path):
    config = small_config()
    arrays = random_arrays(config, Head.MASKED_LM)
    idle = np.random.default_rng(1).permutation(20)[:7]
    for layer in range(2):
        arrays[f"distilbert.transformer.layer.{layer}.ffn.lin2.weight"][:, idle] = 0
    save_checkpoint(tmp_path / "teacher", arrays, {"config.json": config.to_json_string().encode()})
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=(0, 1), hidden_dim=13)
    assert student.notes == ["hidden_dim was reduced from 20 to 13."]
    inputs = ids_and_mask(config.vocab_size)
    expected = reference.forward(config, Head.MASKED_LM, arrays, **inputs)["logits"]
    found = reference.forward(student.config, Head.MASKED_LM, arrays_of(tmp_path / "student"), **inputs)["logits"]
    # Measured: 2.7e-15; the sum of fewer terms is rounded otherwise.
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-14)


def test_heads_are_kept_whole_by_the_norm_of_their_product():
    rng = np.random.default_rng(0)
    value, out = rng.normal(size=(12, 9)), rng.normal(size=(7, 12))
    value[4:8] *= 0.01
    products = [out[:, start : start + 4] @ value[start : start + 4] for start in (0, 4, 8)]
    strongest = int(np.argmax([np.linalg.norm(product) for product in products]))
    assert strongest_units(value, out, 2, 4).tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert strongest_units(value, out, 1, 4).tolist() == list(range(4 * strongest, 4 * strongest + 4))
    assert strongest_units(value, out, 5, 4).tolist() == list(range(12))


@pytest.mark.parametrize("sizes", [{"dim": 8}, {"n_heads": 2}, {"dim": 8, "n_heads": 2}])
@pytest.mark.parametrize("head", [Head.BASE, Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION])
def test_a_narrow_student_loads_and_keeps_its_dtype(tmp_path, head, sizes):
    config = small_config(pruned_heads={0: [0, 2]}, sinusoidal_pos_embds=True)
    save_random(tmp_path / "teacher", config, head, dtype="float16")
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=(0, 1), **sizes)
    got = student.config
    assert (got.dim, got.n_heads, got.pruned_heads, got.sinusoidal_pos_embds) == (8, 2, {0: [1]}, False)
    assert student.dtypes == ["float16"]
    assert {p.name: p.shape for p in parameter_table(got, head) if p.tied_to is None} == {
        name: tensor.shape for name, tensor in student.tensors.items()
    }
    assert student.notes == [
        "dim was reduced from 12 to 8.",
        "n_heads was reduced from 3 to 2.",
        "The position table is learned now: after the projection it does not hold sines any more.",
    ]


def test_word_embeddings_of_few_directions_lose_nothing(tmp_path):
    """Where the projection leaves nothing out, products between words are the teacher's."""
    config = small_config()
    arrays = random_arrays(config, Head.BASE)
    rng = np.random.default_rng(2)
    few = rng.normal(size=(47, 4)) @ rng.normal(size=(4, 12))
    few -= few.mean(-1, keepdims=True)  # nor is anything along the axis that a layer norm takes out
    for name in arrays:
        if "orm.weight" in name:
            arrays[name][:] = 1
        elif "orm.bias" in name:
            arrays[name][:] = 0
    words = "embeddings.word_embeddings.weight"
    arrays[words] = few
    save_checkpoint(tmp_path / "teacher", arrays, {"config.json": config.to_json_string().encode()})
    make_student(tmp_path / "teacher", tmp_path / "student", dim=4)
    found = arrays_of(tmp_path / "student")[words]
    # Measured: 2.0e-13 of products around 100.
    np.testing.assert_allclose(found @ found.T, few @ few.T, rtol=0, atol=3e-12)


def unexplained(states: np.ndarray, wanted: np.ndarray) -> float:
    """The share of the variance of states [rows, D] that a linear read-out of others does not give, on other rows."""
    states = np.c_[states, np.ones(len(states))]
    half = len(states) // 2
    readout = np.linalg.lstsq(states[:half], wanted[:half], rcond=None)[0]
    rest = wanted[half:] - states[half:] @ readout
    return float((rest**2).sum() / ((wanted[half:] - wanted[:half].mean(0)) ** 2).sum())


def test_a_projected_student_begins_nearer_to_its_teacher_than_a_random_one(tmp_path):
    """A random network passes on much of its input too, and is the measure of what the projection brings."""
    teacher = make_student("sst2-tiny", tmp_path / "teacher", layers=range(2), head=Head.BASE)
    student = make_student(tmp_path / "teacher", tmp_path / "student", layers=(0, 1), dim=64, hidden_dim=320)
    tokenizer = DistilBertTokenizerFast.from_pretrained(tmp_path / "teacher")
    files = sorted(Path(reference.__file__).parent.glob("*.py"))
    ids = tokenizer(" ".join(path.read_text() for path in files), add_special_tokens=False)["input_ids"]
    inputs = {"input_ids": np.array(ids[: 50 * 16]).reshape(50, 16)}

    def last(config, arrays):
        return reference.base_model(config, arrays, **inputs)["last_hidden_state"].reshape(-1, config.dim)

    wanted = last(teacher.config, arrays_of(tmp_path / "teacher"))
    projected = last(student.config, arrays_of(tmp_path / "student"))
    fresh = {p.name: initial_array(p, student.config) for p in parameter_table(student.config, Head.BASE)}
    errors = unexplained(projected, wanted), unexplained(last(student.config, fresh), wanted)
    assert errors[0] < 0.75 * errors[1]  # measured: 0.45 against 0.72


# -- what cannot be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ()}, "layers must name layers of the teacher, each at most once, from 0 to 1, got []."),
        ({"layers": (0, 2)}, "layers must name layers of the teacher, each at most once, from 0 to 1, got [0, 2]."),
        ({"layers": (-1,)}, "from 0 to 1, got [-1]."),
        ({"layers": (1, 1)}, "from 0 to 1, got [1, 1]."),
        ({"vocabulary": ()}, "vocabulary must hold ids from 0 to 18, got none."),
        ({"vocabulary": (0, 19)}, "vocabulary must hold ids from 0 to 18, got ids from 0 to 19."),
        ({"vocabulary": (-1, 0)}, "vocabulary must hold ids from 0 to 18, got ids from -1 to 0."),
        ({"vocabulary": (1, 2, 3)}, "vocabulary must hold the padding token, id 0."),
        ({"vocabulary": (0, 1, 3)}, "vocabulary must hold the special tokens, it lacks [CLS], [MASK]."),
        ({"dim": 10}, "dim must be n_heads times 4, the size of a head, got dim=10 and n_heads=2."),
        ({"dim": 8, "n_heads": 3}, "dim must be n_heads times 4, the size of a head, got dim=8 and n_heads=3."),
        ({"dim": 16}, "dim must be from 1 to the teacher's 12, got 16."),
        ({"dim": 0}, "dim must be from 1 to the teacher's 12, got 0."),
        ({"n_heads": 0}, "dim must be from 1 to the teacher's 12, got 0."),
        ({"dim": 12, "n_heads": 4}, "n_heads must be from 1 to the teacher's 3, got 4."),
        ({"hidden_dim": 21}, "hidden_dim must be from 1 to the teacher's 20, got 21."),
        ({"hidden_dim": 0}, "hidden_dim must be from 1 to the teacher's 20, got 0."),
    ],
    ids=str,
)
def test_impossible_students(tmp_path, options, message):
    save_teacher(tmp_path / "teacher", "vocab.txt")
    with pytest.raises(InputError) as caught:
        make_student(tmp_path / "teacher", tmp_path / "student", **options)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher"]


def test_ids_without_a_token(tmp_path):
    save_random(tmp_path / "teacher", small_config(vocab_size=22), Head.BASE)
    (tmp_path / "teacher/vocab.txt").write_text("".join(f"{token}\n" for token in TOKEN_LIST))
    with pytest.raises(InputError, match=r"must hold ids of tokens, the tokenizer has none for \[20, 21\]\."):
        make_student(tmp_path / "teacher", tmp_path / "student", vocabulary=(*range(10), 20, 21))


def test_a_folder_with_files_is_left_alone_or_replaced(tmp_path):
    save_teacher(tmp_path / "teacher", "vocab.txt")
    folder = tmp_path / "student"
    save_teacher(folder, "tokenizer.json")
    save_random(folder, small_config(), Head.BASE, max_shard_size="10KB")
    (folder / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "model.safetensors.index.json" in before
    with pytest.raises(CheckpointError, match=r"exists already; give force=True \(--force\) to replace files in it"):
        make_student(tmp_path / "teacher", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    student = make_student(tmp_path / "teacher", folder, force=True)
    removed = [*sorted(name for name in before if name.startswith("model-")), "model.safetensors.index.json"]
    removed += ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
    assert student.notes[-1] == f"Removed from {folder}: {', '.join(removed)}."
    # No file of the old tokenizer and no shard is left; files that are not part of the checkpoint stay.
    assert sorted(path.name for path in folder.iterdir()) == [
        *("LICENSE", "README.md", "added_tokens.json", "config.json", "model.safetensors", "notes.txt", "vocab.txt"),
    ]
    assert open_weights(folder).config.n_layers == 1


def test_a_teacher_that_changes_during_the_call(tmp_path, monkeypatch):
    save_random(tmp_path / "teacher", small_config(), Head.BASE)

    def change(*args):
        save_random(tmp_path / "teacher", small_config(), Head.BASE, seed=1)
        return narrow_arrays(*args)

    from weight_conversion.students import making

    narrow_arrays = making.narrow_arrays
    monkeypatch.setattr(making, "narrow_arrays", change)
    with pytest.raises(CheckpointError, match="teacher was changed while it was read; nothing was written"):
        make_student(tmp_path / "teacher", tmp_path / "student")
    assert [path.name for path in tmp_path.iterdir()] == ["teacher"]
