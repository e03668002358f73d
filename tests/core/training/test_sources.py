"""Rows in memory, in the containers of several libraries, and objects that cannot be rows."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow.parquet
import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, InputError
from distilbert_core.files.records import parse_records
from distilbert_core.training import TASKS, finetune
from distilbert_core.training.data import Data, head_labels
from distilbert_core.training.labels import find_label
from distilbert_core.training.sources import open_source, open_sources, plain
from support.record_files import write_file

CLASSES = TASKS["sequence-classification"]
COLUMNS = {"text": ["a", "b"], "label": [1, 0], "n": [5, 6]}
ROWS = [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]


class ClassLabel:
    """A feature as the library datasets has it."""

    names = ("bad", "good")


class ListOf:
    feature = ClassLabel()


class Examples:
    """Rows as a data set of PyTorch has them."""

    def __getitem__(self, number):
        return {name: column[number] for name, column in COLUMNS.items()}


class Scalar:
    """A value of an Arrow table."""

    def __init__(self, value):
        self.value = value

    def as_py(self):
        return self.value


class NAType:
    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


class Table:
    """Columns as a DataFrame has them."""

    def __init__(self, table=COLUMNS, wrap=list, **attributes):
        self.table = table
        self.wrap = wrap
        self.__dict__.update(attributes or {"columns": np.array(list(table))})

    def __len__(self):
        return 2

    def __getitem__(self, column):
        return self.wrap(self.table[column])


def streamed():
    return (dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True))


FORMS = {
    "rows": lambda: list(streamed()),
    "a tuple of rows": lambda: tuple(streamed()),
    "an iterator": streamed,
    "a data set of PyTorch": Examples,
    "columns": lambda: COLUMNS,
    "iterable columns": lambda: {name: iter(column) for name, column in COLUMNS.items()},
    "a DataFrame": Table,
    "a DataFrame with NumPy's types": lambda: Table(
        wrap=lambda column: np.array(column, object if column == ["a", "b"] else None)
    ),
    "an Arrow table": lambda: Table(
        wrap=lambda column: map(Scalar, column), column_names=list(COLUMNS), columns=[1, 2]
    ),
    "a Dataset": lambda: Table(column_names=list(COLUMNS), features={}),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_memory(form):
    assert CLASSES.read(FORMS[form]()) == ROWS


def test_rows_are_read_by_the_names_of_columns():
    assert CLASSES.read({"sentence": ["a"], "y": ["x"], "text": ["?"]}, {"text": "sentence", "label": "y"}) == [
        {"text": "a", "label": "x"}
    ]


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan"), NAType(), None])
def test_a_missing_value_is_none(value):
    assert plain([value, "nan"]) == [None, "nan"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([np.array([1]), "a"], object), [[1], "a"]),
        ((True, 0.5), [True, 0.5]),
        (Scalar({"text": np.array(["a"])}), {"text": ["a"]}),
    ],
)
def test_values_of_libraries(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_class_labels_have_names():
    features = {"label": ClassLabel(), "text": object()}
    data = Data.read(CLASSES, open_source("train", Table(column_names=list(COLUMNS), features=features)), None)
    assert (data.class_names, [row["label"] for row in data.rows]) == (["bad", "good"], ["good", "bad"])
    words = {"words": [["x", "y"]], "tags": [[1, 0]]}
    for feature in (ListOf(), [ClassLabel()]):
        table = Table(words, column_names=list(words), features={"tags": feature})
        rows = TASKS["token-classification"].read(table, {"tokens": "words", "labels": "tags"})
        assert rows == [{"tokens": ["x", "y"], "labels": ["good", "bad"]}]
    unlabelled = Table({**COLUMNS, "label": [1, -1]}, column_names=list(COLUMNS), features=features)
    with pytest.raises(InputError, match=r"rows: record 2: label must be the name of a label, .* got None"):
        CLASSES.read(unlabelled)


def test_whose_names_the_labels_have():
    """A head without label names takes the names of the rows; other names are matched without regard to case."""
    numbered, named = DistilBertConfig(num_labels=2), DistilBertConfig(id2label={0: "BAD", 1: "GOOD"})
    assert head_labels(numbered, ["bad", "good"]) == ["bad", "good"]
    assert head_labels(numbered, ["bad", "fair", "good"]) == ["LABEL_0", "LABEL_1"]
    assert head_labels(named, ["bad", "good"]) == ["BAD", "GOOD"]
    assert [find_label(["BAD", "GOOD"], name) for name in ("good", "Good", "0", "2", "fair")] == [1, 1, 0, None, None]
    assert [find_label(["us", "Us", "US"], name) for name in ("Us", "uS")] == [1, None]


def test_the_checksum_covers_the_training_rows():
    sums = [Data.read(CLASSES, open_source("train", form()), None).checksum for form in FORMS.values()]
    assert len(set(sums)) == 1
    others = [{**COLUMNS, "n": [0, 0]}, {**COLUMNS, "label": [1, 1]}]
    same, other = (Data.read(CLASSES, open_source("train", columns), None).checksum for columns in others)
    assert same == sums[0] != other


BAD = [  # rows, message
    (5, "train must be the path of a file, or rows: a list of dicts, .* got 5"),
    (b"a", "train must be the path of a file, or rows: .* got b'a'"),
    ("imdb", "train: imdb cannot be read: No such file. For a data set of the Hub, name its split too: imdb:train"),
    ("no-*.tsv", r"train: no file matches no-\*.tsv"),
    (["a.tsv", "b.jsonl"], r"train \(2 files\) must be files of one format, got .tsv, .jsonl"),
    (None, "train must be the path of a file, or rows: .* got None"),
    (["a", "b"], "train: a cannot be read: No such file"),
    ([["a"]], r"train: record 1 must be a dict with the columns as keys, got \['a'\]"),
    ([{"text": "a", "label": 0}, ("b", 1)], r"train: record 2 must be a dict with the columns as keys, got \('b', 1\)"),
    ([{"text": "a", "label": 0}, {"text": "b"}], "train: record 2 has no column 'label'; it has 'text'"),
    ([], "train is empty: it holds no rows"),
    ({"text": "a", "label": 1}, r"train: column 'text' must be a list of values, got 'a'. A row is given in a list"),
    ({"text": ["a"], "label": [0, 1]}, "train: the columns 'text', 'label' must have one length"),
    (
        {"train": Table(), "test": Table()},
        r"train has the splits 'train', 'test'; give one of them: train=data\['train'\]",
    ),
    (Table(columns=["text", "text", "label"]), "train has columns with the same name; its columns are 'text', 'text'"),
    (
        {"text": ["a"], "labels": [0]},
        r"train has no column 'label'; its columns are 'text', 'labels'. Say which it is: columns=\{'label': 'labe",
    ),
    ({"text": ["a", None], "label": [0, 1]}, "train: record 2: text must be a text, got None"),
    ({"text": ["a"], "label": [1.0]}, "train: record 1: label must be .*; got 1.0. Write it as 1."),
    (
        {"text": ["a"], "label": [0.5]},
        "train: record 1: label must be .*; got 0.5. Other numbers are for the task 'reg",
    ),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_what_cannot_be_rows(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        finetune("sequence-classification", given, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt")
    assert not (tmp_path / "new").exists()


def test_rows_to_measure_on_are_called_eval(tmp_path):
    with pytest.raises(InputError, match="eval: record 1: label must be a number, got 'x'"):
        finetune(
            "regression",
            {"text": ["a"], "label": [1]},
            eval=[{"text": "a", "label": "x"}],
            model=DEFAULT_MODEL,
            output=tmp_path,
            backend="pt",
        )


def test_several_sources(tmp_path):
    file = write_file(tmp_path / "a.txt", "x\n")
    assert [source.name for source in open_sources("data", [file, Table(), [{"text": "y"}]])] == [
        str(file),
        "data[1]",
        "data[2]",
    ]
    assert [source.name for source in open_sources("data", [{"text": "y"}])] == ["data"]
    assert [source.name for source in open_sources("data", file)] == [str(file)]
    with pytest.raises(InputError, match="data must be one file at least, or rows; got none"):
        open_sources("data", [])


class LoadingError(Exception):
    """A model would be loaded now."""


@pytest.mark.parametrize(
    ("task", "rows", "labels"),
    [
        (
            "token-classification",
            {"tokens": [["a"]], "labels": [["O"]]},
            ["O"],
        ),  # sst2-tiny's head has two other labels
        (
            "sequence-classification",
            Table(column_names=list(COLUMNS), features={"label": ClassLabel()}),
            ["bad", "good"],
        ),
    ],
)
def test_a_new_head_for_rows(tmp_path, monkeypatch, task, rows, labels):
    """The head of another task is not taken for this one's, and a Dataset's classes are its labels in their order."""

    def load(backend, head, *args, **kwargs):
        labels_of_head = kwargs["config"].id2label
        assert (head, kwargs["new_head"], labels_of_head) == (TASKS[task].head, True, dict(enumerate(labels)))
        raise LoadingError

    monkeypatch.setattr("distilbert_core.training.experiment.load_engine", load)
    new_head = task == "sequence-classification"
    with pytest.raises(LoadingError):
        finetune(task, rows, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", new_head=new_head)


UNREADABLE = [
    ("a.parquet", "a.parquet cannot be read as a Parquet file"),
    (
        "a.feather",
        "write it as .csv, .tsv, .jsonl or .parquet; in Python, give the rows that pandas.read_feather returns",
    ),
    ("a.XLSX", "pandas.read_excel"),
    ("a.csv.zip", "cannot be read: unpack it, or pack it with gzip"),
    ("a.json", "a.json is read as SQuAD's, for question-answering; write rows to .jsonl.*sequence-classification"),
    ("a.conll", "a.conll has words with their labels, for token-classification"),
]


@pytest.mark.parametrize(("name", "message"), UNREADABLE)
def test_files_of_other_forms(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        CLASSES.read(write_file(tmp_path / name, "text,label\na,b\n"))


# -- several files ------------------------------------------------------------------------------------------------


def test_several_files_are_read_in_the_order_of_their_names(tmp_path):
    for part, label in (("b", 1), ("a", 0)):
        write_file(tmp_path / f"{part}.tsv", f"text\tlabel\n{part}1\t{label}\n{part}2\t{label}\n")
    expected = [
        {"text": f"{part}{number}", "label": str(label)} for part, label in (("a", 0), ("b", 1)) for number in "12"
    ]
    pattern = str(tmp_path / "*.tsv")
    assert CLASSES.read(pattern) == CLASSES.read([tmp_path / "a.tsv", tmp_path / "b.tsv"]) == expected
    assert CLASSES.read([tmp_path / "b.tsv", str(tmp_path / "a*")]) == expected[2:] + expected[:2]
    one, both = (open_source("train", name) for name in (tmp_path / "a.tsv", pattern))
    assert len({one.checksum([]), both.checksum([]), open_source("train", tmp_path / "b.tsv").checksum([])}) == 3


def test_a_bad_record_of_several_files_has_the_name_of_its_file(tmp_path):
    write_file(tmp_path / "a.jsonl", '{"text": "a", "label": "x"}\n' * 3)
    write_file(tmp_path / "b.jsonl", '{"text": "a", "label": "x"}\n{"text": 5, "label": "x"}\n')
    with pytest.raises(InputError, match=r"/b\.jsonl: record 2: text must be"):
        CLASSES.read(str(tmp_path / "[ab].jsonl"))
    write_file(tmp_path / "b.jsonl", '{"text": "a"}\n')
    with pytest.raises(InputError, match=r"/b\.jsonl line 1 has no column 'label'"):
        CLASSES.read(str(tmp_path / "[ab].jsonl"))


def test_files_of_a_format_of_the_task(tmp_path):
    write_file(tmp_path / "a.conll", "Ada B-PER\n\n")
    write_file(tmp_path / "b.conll", "London B-LOC\nis O\n\n")
    rows = TASKS["token-classification"].read(str(tmp_path / "?.conll"))
    assert [row["tokens"] for row in rows] == [["Ada"], ["London", "is"]]


def test_a_file_whose_name_is_a_pattern(tmp_path):
    write_file(tmp_path / "a[1].tsv", "text\tlabel\na\t0\n")
    assert CLASSES.read(tmp_path / "a[1].tsv") == [{"text": "a", "label": "0"}]


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.table(
        {"text": [f"a{number}" for number in range(3000)], "label": [0, 1, 2] * 1000, "n": [[1]] * 3000}
    )
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    rows = [{"text": f"a{number}", "label": str(number % 3)} for number in range(3000)]
    assert CLASSES.read(path) == rows
    assert list(parse_records(path, ["label", "text", "text"]))[2999] == (2, "a2999", "a2999")
    with pytest.raises(InputError, match=r"a.parquet has no column 'body'; its columns are 'text', 'label', 'n'"):
        next(parse_records(path, ["body"]))
    with pytest.raises(InputError, match=r"a.parquet: column 'n' of record 1 must be a text, got list"):
        next(parse_records(path, ["n"], only_texts=True))
    content = bytearray(path.read_bytes())
    content[10:2000] = bytes(1990)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a.parquet cannot be read as a Parquet file"):
        CLASSES.read(path)


# -- a data set of the Hub ----------------------------------------------------------------------------------------


def test_a_data_set_of_the_hub(monkeypatch):
    """The parts of its name reach the library, and its table is read like one in memory."""
    asked = []

    class Library:
        @staticmethod
        def load_dataset(*place, split):
            asked.append((*place, split))
            if split == "no":
                raise ValueError("Unknown split")
            return Table(column_names=["text", "label"], features={"label": ClassLabel()})

    monkeypatch.setitem(sys.modules, "datasets", Library)
    for name in ("imdb:train", "owner/name:test[:10]", "nyu-mll/glue/sst2:validation"):
        source = open_source("train", name)
        assert (source.name, source.class_names("label")) == (name, ["bad", "good"])
    places = [("imdb", None), ("owner/name", None), ("nyu-mll/glue", "sst2")]
    assert asked == [(*place, split) for place, split in zip(places, ("train", "test[:10]", "validation"), strict=True)]
    with pytest.raises(InputError, match=r"train: the data set a/b:no cannot be loaded.*ValueError: 'Unknown split'"):
        open_source("train", "a/b:no")


def test_a_folder_or_no_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read: it is a folder; give a file. .* datasets.load_from_disk"):
        CLASSES.read(tmp_path)
    with pytest.raises(InputError, match=r"imdb cannot be read: .*No such file"):
        CLASSES.read(tmp_path / "imdb")
