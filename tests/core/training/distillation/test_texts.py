"""Running text becomes packed rows, and words are hidden, without any framework."""

from __future__ import annotations

import gzip
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import DEFAULT_MODEL, IGNORE_INDEX, DistilBertConfig, DistilBertTokenizerFast, Head, InputError
from distilbert_core.model.inference import Inference
from distilbert_core.training import TASKS
from distilbert_core.training.distillation import DistillationRecipe
from distilbert_core.training.distillation.texts import FEWEST, LINES_AT_ONCE, PackedMaskedLM, draw_masked

TOKENIZER = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
CONFIG = DistilBertConfig.from_pretrained(DEFAULT_MODEL)
VOCABULARY = len(TOKENIZER)


def make(smoothing: float = 0.7, **recipe) -> PackedMaskedLM:
    return PackedMaskedLM(TOKENIZER, CONFIG, DistillationRecipe(mask_smoothing=smoothing, **recipe))


def lines(*texts: str, document: int = 0) -> list[dict]:
    return [{"text": text, "document": document} for text in texts]


def tokens(features) -> list[tuple[str, int]]:
    return [(" ".join(TOKENIZER.convert_ids_to_tokens(list(feature.ids))), feature.row) for feature in features]


# -- from a file to rows ---------------------------------------------------------------------------------------------

FILES = {  # name -> content, and its texts with their documents
    "book.txt": ("one\ntwo\n\n \nthree\n", [("one", 0), ("two", 0), ("", 1), (" ", 2), ("three", 2)]),
    "book": ("one\r\n\r\ntwo", [("one", 0), ("", 1), ("two", 1)]),
    "book.txt.gz": (gzip.compress(b"one\n\ntwo\n"), [("one", 0), ("", 1), ("two", 1)]),
    "rows.tsv": ("label\ttext\n1\tone\n0\ttwo\n", [("one", 1), ("two", 2)]),
    "rows.csv": ('text\none\n"two\n\nthree"\n', [("one", 1), ("two\n\nthree", 2)]),
    "rows.jsonl": ('{"text": "one"}\n\n{"text": ""}\n{"text": "two"}\n', [("one", 1), ("", 2), ("two", 3)]),
}


@pytest.mark.parametrize("name", FILES)
def test_lines_keep_their_documents(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [(row["text"], row["document"]) for row in PackedMaskedLM.read(tmp_path / name)] == expected


def test_a_column_of_another_name(tmp_path):
    (tmp_path / "rows.tsv").write_text("sentence\none\n")
    assert PackedMaskedLM.read(tmp_path / "rows.tsv", {"text": "sentence"}) == [{"text": "one", "document": 1}]


BAD_FILES = {
    "empty.txt": ("", "is empty"),
    "rows.tsv": ("sentence\none\n", "has no column 'text'; its columns are 'sentence'"),
    "rows.jsonl": ('{"text": "one"}\n{"text": 2}\n', "record 2: text must be a text, got 2"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_impossible_file(tmp_path, name):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        PackedMaskedLM.read(tmp_path / name)


# -- from rows to features -------------------------------------------------------------------------------------------

ROWS = {  # of max_length 10: 7 tokens of a pair, 8 of one line
    "a pair split near its middle": (
        lines("a b c", "d", "e f"),
        [("[CLS] a b c [SEP] d e f [SEP]", 0)],
    ),
    "of two boundaries as near the first": (
        lines("a b", "c d", "e f"),
        [("[CLS] a b [SEP] c d e f [SEP]", 0)],
    ),
    "one line": (
        lines("a"),
        [("[CLS] a [SEP]", 0)],
    ),
    "full rows": (
        lines("a b c d e f g h", "a b c", "d e f g", "h i j k l"),
        [
            ("[CLS] a b c d e f g h [SEP]", 0),
            ("[CLS] a b c [SEP] d e f g [SEP]", 1),
            ("[CLS] h i j k l [SEP]", 3),
        ],
    ),
    "a long line goes on, and the next follows it": (
        lines("a b c d e f g h i j k l m n o p q r", "s t u v w", "x"),
        [
            ("[CLS] a b c d e f g h [SEP]", 0),
            ("[CLS] i j k l m n o p [SEP]", 0),
            ("[CLS] q r [SEP] s t u v w [SEP]", 0),
        ],  # and x is too little
    ),
    "a short row before a long line stays": (
        lines("a b", "c d e f g h i"),
        [("[CLS] a b [SEP]", 0), ("[CLS] c d e f g h i [SEP]", 1)],
    ),
    "leftovers": (
        [
            *lines("a b c d e", "f g h i", document=0),  # too little
            *lines("a b c d e", "f g h i j", document=1),  # just enough
            *lines("a b c d", document=2),  # all that there is
        ],
        [
            ("[CLS] a b c d e [SEP]", 0),
            ("[CLS] a b c d e [SEP]", 2),
            ("[CLS] f g h i j [SEP]", 3),
            ("[CLS] a b c d [SEP]", 4),
        ],
    ),
    "documents stay apart": (
        [*lines("a b", "", document=0), *lines("", "c d", "e", document=1)],
        [("[CLS] a b [SEP]", 0), ("[CLS] c d [SEP] e [SEP]", 3)],
    ),
    "nothing to hide": (
        [*lines("☃", document=0), *lines("a ☃", document=1)],
        [("[CLS] a [UNK] [SEP]", 1)],
    ),
    "no text": (lines("", " "), []),
    "no line": ([], []),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_written_out(case):
    rows, expected = ROWS[case]
    assert tokens(make(max_length=10).encode(rows)) == expected


SMALL = [  # longest row, rows of 'a b c', 'd'
    (3, ["[CLS] a [SEP]", "[CLS] b [SEP]", "[CLS] c [SEP]"]),  # d is too little
    (5, ["[CLS] a b c [SEP]"]),
    (7, ["[CLS] a b c [SEP] d [SEP]"]),
    (None, ["[CLS] a b c [SEP] d [SEP]"]),
]


@pytest.mark.parametrize(("max_length", "expected"), SMALL)
def test_rows_of_any_length(max_length, expected):
    assert [text for text, _ in tokens(make(max_length=max_length).encode(lines("a b c", "d")))] == expected


def test_rows_have_128_tokens_at_most_by_default():
    features = make().encode(lines(*["a b c d e"] * 60))
    assert [len(feature.ids) for feature in features] == [128, 128, 53]  # 25 lines each, and 10


def test_the_number_of_lines_tokenized_together_makes_no_difference():
    rows = [{"text": f"a b c d {number % 7}", "document": 0} for number in range(2 * LINES_AT_ONCE + 3)]
    features = make(max_length=8).encode(rows)
    assert [feature.row for feature in features] == list(range(len(rows)))
    assert tokens(features[-1:]) == [(f"[CLS] a b c d {(len(rows) - 1) % 7} [SEP]", len(rows) - 1)]


documents = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=5)  # tokens of their lines


@given(documents, st.integers(3, 20))
@settings(max_examples=200, deadline=None)
def test_each_token_comes_once_and_in_order(sizes, max_length):
    words = iter(range(1000, VOCABULARY))
    wanted = [[[next(words) for _ in range(size)] for size in document] for document in sizes]
    rows = [(number, line) for number, document in enumerate(wanted) for line in document]
    task = make(max_length=max_length)
    task.tokenizer = ByNumber()
    features = task.encode([{"text": " ".join(map(str, line)), "document": number} for number, line in rows])

    special = {TOKENIZER.cls_token_id, TOKENIZER.sep_token_id}
    for feature in features:
        assert len(feature.ids) <= max_length
        held = [word for word in feature.ids if word not in special]
        assert held[0] in rows[feature.row][1]
        assert len({number for number, line in rows if set(line) & set(held)}) == 1  # of one document
    found = [word for feature in features for word in feature.ids if word not in special]
    assert found == sorted(found)
    left_out = set(range(1000, next(words))) - set(found)
    for number, document in enumerate(wanted):
        all_words = [word for line in document for word in line]
        lost = left_out & set(all_words)
        assert lost == set(all_words[len(all_words) - len(lost) :]), number  # only the end of a document
        assert len(lost) < min(FEWEST, max(len(all_words), 1))  # and never all of it


class ByNumber:
    """Texts are numbers with spaces between, which are the ids."""

    cls_token_id, sep_token_id = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id

    def __call__(self, texts, add_special_tokens, verbose):
        assert not add_special_tokens
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}


# -- which words are hidden ------------------------------------------------------------------------------------------


def test_weights_are_counts_to_the_power():
    task = make(smoothing=0.5)
    task.fit(task.encode(lines("a a a a b ☃")))
    a, b, unseen = TOKENIZER.convert_tokens_to_ids(["a", "b", "film"])
    assert task.weights[[a, b, unseen]].tolist() == [0.5, 1.0, 1.0]
    assert task.weights.shape == (VOCABULARY,)
    assert np.flatnonzero(task.weights == 0).tolist() == sorted(TOKENIZER.all_special_ids)


@pytest.fixture(scope="module")
def hidden():
    """(task, features, batch) of 39 rows of 126 'a' and one of 78 'b'."""
    task = make(max_length=128)
    rows = [*lines(*[" ".join("a" * 126)] * 39), {"text": " ".join("b" * 78), "document": 1}]
    features = task.encode(rows)
    task.fit(features)
    return task, features, task.batch(features, [3, 1])


def test_the_requested_fraction_of_tokens_is_hidden_and_no_special_ones(hidden):
    task, features, batch = hidden
    original = task.inputs(features)
    np.testing.assert_array_equal(batch["attention_mask"], original["attention_mask"])
    places = batch["labels"] != IGNORE_INDEX
    words = ~np.isin(original["input_ids"], TOKENIZER.all_special_ids)
    assert words.sum() == 39 * 126 + 78
    assert places.sum() == math.ceil(0.15 * words.sum())
    assert not (places & ~words).any()
    np.testing.assert_array_equal(batch["labels"][places], original["input_ids"][places])
    np.testing.assert_array_equal(batch["input_ids"][~places], original["input_ids"][~places])
    # 749 are hidden, so five standard errors of a share of 80 % are 7.3 %, of 10 % 5.5 %.
    assert abs((batch["input_ids"][places] == TOKENIZER.mask_token_id).mean() - 0.8) < 0.073
    assert abs((batch["input_ids"][places] == batch["labels"][places]).mean() - 0.1) < 0.055


def test_rare_words_are_hidden_more_often():
    """One of many places at a time, so that none are used up: the chances are the weights themselves."""
    task = make(max_length=128, mask_probability=0.001)
    features = task.encode([*lines(*["a " * 101] * 8), *lines("b " * 100, document=1)])  # 808 'a' to 100 'b'
    task.fit(features)
    a, b = TOKENIZER.convert_tokens_to_ids(["a", "b"])
    drawn = Counter()
    for step in range(2000):
        labels = task.batch(features, [0, step])["labels"]
        drawn.update(labels[labels != IGNORE_INDEX].tolist())
    assert drawn[a] + drawn[b] == 2000
    # All places of a word together have its count ** 0.3.
    share = 100**0.3 / (100**0.3 + 808**0.3)
    assert abs(drawn[b] / 2000 - share) < 5 * math.sqrt(share * (1 - share) / 2000)
    assert drawn[b] / 2000 - 100 / 908 > 10 * math.sqrt(share * (1 - share) / 2000)  # far from uniform


def test_probabilities_equal_those_of_sequential_draws():
    weights = np.array([0.0, 1.0, 2.0, 4.0])
    draws = 20_000
    rng = np.random.default_rng(0)
    found = Counter(
        tuple(np.flatnonzero(draw_masked(rng, weights, fraction=0.5))) for _ in range(draws)
    )  # ceil(1.5) of 3
    # First i, then j of what is left, or the other way round.
    expected = {
        pair: w / 7 * v / (7 - w) + v / 7 * w / (7 - v)
        for pair, w, v in (((1, 2), 1, 2), ((1, 3), 1, 4), ((2, 3), 2, 4))
    }
    assert math.isclose(sum(expected.values()), 1)
    assert found.keys() == expected.keys()
    for pair, chance in expected.items():
        assert abs(found[pair] / draws - chance) < 5 * math.sqrt(chance * (1 - chance) / draws)


CHOSEN = [  # weights, part, how many
    ([[1, 0, 1], [0, 1, 1]], 0.25, 1),
    ([[1, 0, 1], [0, 1, 1]], 0.26, 2),
    ([[1, 0, 1], [0, 1, 1]], 1.0, 4),
    ([[1, 0, 1], [0, 1, 1]], 1e-9, 1),
    ([[0, 0]], 0.5, 0),
    ([[1e-300, 1e300, 0]], 0.5, 1),
]


@pytest.mark.parametrize(("weights", "part", "count"), CHOSEN)
def test_the_number_is_rounded_up(weights, part, count):
    weights = np.array(weights, float)
    before = weights.copy()
    chosen = draw_masked(np.random.default_rng(0), weights, part)
    assert chosen.shape == weights.shape
    assert chosen.dtype == bool
    assert chosen.sum() == count
    assert not chosen[weights == 0].any()
    np.testing.assert_array_equal(weights, before)


def test_the_seed_decides_what_is_hidden(hidden):
    task, features, batch = hidden
    again, other = (task.batch(features, seed) for seed in ([3, 1], [3, 2]))
    assert all((again[name] == batch[name]).all() for name in batch)
    assert (other["labels"] != batch["labels"]).any()


# -- evaluation ------------------------------------------------------------------------------------------------------


class Recorder(Inference):
    """Gives all words the same chance, and keeps what it was asked."""

    backend, head = "none", Head.MASKED_LM

    def __init__(self):
        self.asked = []

    def __call__(self, **arrays):
        self.asked.append(arrays)
        return {"logits": np.zeros((int(arrays["tokens"].sum()), VOCABULARY), np.float32)}


def test_evaluation_is_that_of_masked_lm():
    task = make(max_length=64, mask_probability=0.3)
    features = task.encode(lines(*["a b c d e f g"] * 30))
    recorders = [Recorder() for _ in range(3)]
    metrics = [task.evaluate(recorder, [], features) for recorder in recorders[:2]]  # which needs no counts
    metrics.append(TASKS["masked-lm"](TOKENIZER, CONFIG, task.recipe).evaluate(recorders[2], [], features))
    assert metrics[0] == metrics[1] == metrics[2]
    assert math.isclose(metrics[0]["loss"], math.log(VOCABULARY), rel_tol=1e-12)  # measured: 0
    for calls in zip(*(recorder.asked for recorder in recorders), strict=True):
        assert all((call[name] == calls[0][name]).all() for call in calls for name in calls[0])


# -- what is impossible ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [-0.1, math.nan, math.inf, "0.7", None])
def test_impossible_smoothing(smoothing):
    with pytest.raises(InputError, match=f"mask_smoothing must be a number >= 0, got {smoothing!r}"):
        make(smoothing=smoothing)


def test_no_room_for_a_word():
    with pytest.raises(InputError, match=r"max_length must be at least 3, for \[CLS\], a word and \[SEP\]; got 2"):
        make(max_length=2)


def test_a_batch_before_tokens_were_counted():
    task = make()
    with pytest.raises(InputError, match=r"call fit\(features\) first"):
        task.batch(task.encode(lines("a b")), [0])
