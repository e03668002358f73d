"""The tasks of GLUE: their files, columns, labels and metrics."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pyarrow.parquet
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, Head, InputError
from distilbert_core.errors import InputWarning
from distilbert_core.files.records import parse_records
from distilbert_core.training import Recipe, evaluate, finetune
from distilbert_core.training.sources import TableSource
from distilbert_core.training.tasks import GLUE_TASKS
from distilbert_core.training.tasks.glue import GLUE
from support.fake_inference import FakeInference
from support.record_files import write_file
from support.tasks import CONFIG, TOKENIZER

# Task -> the first lines of GLUE's file, the columns of the Hub's copy, and our rows of both.
A, B = "A first text.", 'He said "no.'  # an unclosed quotation mark is a character like any other
WANTED: dict[str, tuple[list[str], dict[str, list], tuple]] = {
    "cola": (
        [f"gj04\t1\t\t{A}", f"gj04\t0\t*\t{B}"],
        {"sentence": [A, B], "label": [1, 0]},
        ((A, "acceptable"), (B, "unacceptable")),
    ),
    "sst2": (
        ["sentence\tlabel", f"{A}\t1", f"{B}\t0"],
        {"sentence": [A, B], "label": [1, 0]},
        ((A, "positive"), (B, "negative")),
    ),
    "mrpc": (
        ["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", f"1\t70\t71\t{A}\t{B}", f"0\t72\t73\t{B}\t{A}"],
        {"sentence1": [A, B], "sentence2": [B, A], "label": [1, 0]},
        ((A, B, "equivalent"), (B, A, "not_equivalent")),
    ),
    "stsb": (
        ["index\tgenre\tsentence1\tsentence2\tscore", f"0\tnews\t{A}\t{B}\t5.000", f"1\tnews\t{B}\t{A}\t0.8"],
        {"sentence1": [A, B], "sentence2": [B, A], "label": [5.0, 0.8]},
        ((A, B, 5.0), (B, A, 0.8)),
    ),
    "qqp": (
        ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", f"7\t1\t2\t{A}\t{B}\t1", f"8\t3\t4\t{B}\t{A}\t0"],
        {"question1": [A, B], "question2": [B, A], "label": [1, 0]},
        ((A, B, "duplicate"), (B, A, "not_duplicate")),
    ),
    "mnli": (
        ["i\tsentence1\tsentence2\tlabel1\tgold_label", f"0\t{A}\t{B}\tx\tcontradiction", f"1\t{B}\t{A}\t\tneutral"],
        {"premise": [A, B], "hypothesis": [B, A], "label": [2, 1]},
        ((A, B, "contradiction"), (B, A, "neutral")),
    ),
    "qnli": (
        ["index\tquestion\tsentence\tlabel", f"0\t{A}\t{B}\tnot_entailment", f"1\t{B}\t{A}\tentailment"],
        {"question": [A, B], "sentence": [B, A], "label": [1, 0]},
        ((A, B, "not_entailment"), (B, A, "entailment")),
    ),
    "rte": (
        ["index\tsentence1\tsentence2\tlabel", f"0\t{A}\t{B}\tnot_entailment", f"1\t{B}\t{A}\tentailment"],
        {"sentence1": [A, B], "sentence2": [B, A], "label": [1, 0]},
        ((A, B, "not_entailment"), (B, A, "entailment")),
    ),
    "wnli": (
        ["index\tsentence1\tsentence2\tlabel", f"0\t{A}\t{B}\t1", f"1\t{B}\t{A}\t0"],
        {"sentence1": [A, B], "sentence2": [B, A], "label": [1, 0]},
        ((A, B, "entailment"), (B, A, "not_entailment")),
    ),
}  # fmt: skip


def kind_of(name):
    return GLUE_TASKS[f"glue/{name}"]


def values(rows):
    """The rows without the names of the columns, in the order text, text_pair, label."""
    return tuple(tuple(row[name] for name in ("text", "text_pair", "label") if name in row) for row in rows)


def write_folder(folder, name, ending=".tsv"):
    """Write GLUE's files of a task: the first row to learn from, all rows to evaluate on."""
    lines, _, _ = WANTED[name]
    head = len(lines) - 2
    write_file(folder / f"train{ending}", "".join(f"{line}\n" for line in lines[: head + 1]))
    for part in GLUE[name].parts:
        write_file(folder / f"dev{part}{ending}", "".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz"])
@pytest.mark.parametrize("name", GLUE)
def test_a_folder_of_glue(name, ending, tmp_path):
    kind, folder = kind_of(name), write_folder(tmp_path, name, ending)
    expected = WANTED[name][2]
    assert values(kind.read(kind.source_of("train", folder, training=True))) == expected[:1]
    assert kind.evaluation_of(str(folder)) == str(folder)
    rows = kind.read_for_evaluation(kind.source_of("eval", str(folder)))
    assert values(rows) == (expected * 2 if name == "mnli" else expected)
    assert [row.get("part") for row in rows] == (["", "", "_mm", "_mm"] if name == "mnli" else [None, None])


@pytest.mark.parametrize("name", GLUE)
def test_the_copy_on_the_hub(name, tmp_path):
    kind, (_, columns, expected) = kind_of(name), WANTED[name]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    file = write_file(tmp_path / "validation.jsonl", "".join(f"{json.dumps({'idx': 3, **row})}\n" for row in rows))
    for given in (columns, rows, file, str(file)):
        assert values(kind.read(given)) == expected
        assert kind.evaluation_of(given) is None
    shard = tmp_path / "validation-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.table({**columns, "idx": [0, 1]}), shard)
    assert values(kind.read(shard)) == expected


def test_parts_of_mnli_in_parquet(tmp_path):
    for part in ("_matched", "_mismatched"):
        for shard in range(2):
            table = pyarrow.table(WANTED["mnli"][1])
            pyarrow.parquet.write_table(table, tmp_path / f"validation{part}-0000{shard}-of-00002.parquet")
    rows = kind_of("mnli").read(tmp_path)
    assert [row["part"] for row in rows] == [""] * 4 + ["_mm"] * 4


def test_names_of_columns(tmp_path):
    """Ours, a header in place of none, and names of one's own."""
    kind = kind_of("cola")
    assert values(kind.read([{"text": A, "label": "acceptable", "part": "_mm"}])) == ((A, "acceptable"),)
    table = write_file(tmp_path / "a.tsv", f"sentence\tlabel\tx\ty\n{A}\t0\t\t\n")
    assert values(kind.read(table)) == ((A, "unacceptable"),)
    table = write_file(tmp_path / "b.tsv", f"words\tlabel\n{A}\t0\n")
    assert values(kind.read(table, {"text": "words"})) == ((A, "unacceptable"),)


class Classes(TableSource):
    """A table that knows the names of its labels."""

    def __init__(self, names, **columns):
        super().__init__("train", columns, list(columns))
        self.names = names

    def class_names(self, column):
        return self.names if column == "label" else None


def test_labels_that_a_source_names():
    """A data set may have them in another order. Names that are digits say nothing."""
    kind, turned = kind_of("rte"), ["not_entailment", "entailment"]
    for names, wanted in ((turned, "not_entailment"), (["0", "1"], "entailment"), (None, "entailment")):
        source = Classes(names, sentence1=[A], sentence2=[B], label=[0])
        assert values(kind.read(source)) == ((A, B, wanted),)
    with pytest.raises(InputError, match="train has the labels 'no', 'yes', and those of glue/rte are 'entailment', "):
        kind.read(Classes(["no", "yes"], sentence1=[A], sentence2=[B], label=[0]))


def test_lines_of_qqp_that_are_broken(tmp_path):
    """GLUE's QQP has some. They are counted; in any other task such a line is an error."""
    header, first, second = WANTED["qqp"][0]
    path = write_file(tmp_path / "train.tsv", f"{header}\n{first}\nrest of a question\t9\n{second}\n1\t2\n")
    with pytest.warns(InputWarning, match=r"train\.tsv: 2 lines have another .* the first of them is line 3\."):
        assert values(kind_of("qqp").read(path)) == WANTED["qqp"][2]
    with pytest.warns(InputWarning, match=r"2 lines"):
        kind_of("qqp").read(kind_of("qqp").source_of("train", tmp_path, training=True))
    other = write_file(tmp_path / "rte.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\n")
    with pytest.raises(InputError, match=r"rte\.tsv line 2 must have 4 columns, got 3"):
        kind_of("rte").read(other)
    lines: list[int] = []
    assert list(parse_records(path, ["is_duplicate"], skipped=lines)) == [("1",), ("0",)]
    assert lines == [3, 5]


BAD = [  # task, content of dev.tsv, message
    ("sst2", "sentence1\tlabel\na\t1\n", "dev.tsv has no column 'sentence'; its columns are 'sentence1', 'label'. Are"),
    ("mrpc", "Quality\ta\n1\t2\n", "has no column '#1 String' or 'sentence1', '#2 String' or 'sentence2'; its"),
    ("stsb", "index\tsentence1\tsentence2\n0\ta\tb\n", "has no column 'score'; its columns"),
    ("sst2", "sentence\tlabel\na\t2\n", "1: label must be one of 'negative', 'positive', or its index from"),
    ("rte", "sentence1\tsentence2\tlabel\na\tb\tneutral\n", "label must be one of 'entailment', 'not_entailment', or"),
    ("wnli", "sentence1\tsentence2\tlabel\na\tb\t\n", "got ''."),
    ("stsb", "sentence1\tsentence2\tscore\na\tb\thigh\n", "label must be a number, got 'high'"),
    ("cola", "gj04\t1\t\n", "has no column 'sentence', 'label'; its columns are 'gj04', '1', ''"),
    ("cola", "gj04\t1\t\ta\ngj04\t1\ta\n", "dev.tsv line 2 must have 4 columns, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_files(name, content, message, tmp_path):
    write_file(tmp_path / "dev.tsv", content)
    with pytest.raises(InputError, match=re.escape(message)):
        kind_of(name).read(tmp_path / "dev.tsv")


def test_rows_without_labels():
    with pytest.raises(
        InputError, match=r"record 2: label must be one .*; got None\. GLUE's test files have no labels"
    ):
        kind_of("sst2").read({"sentence": [A, B], "label": [1, -1]})


def test_folders_without_the_files(tmp_path):
    kind = kind_of("sst2")
    message = (
        f"{tmp_path} has no dev.tsv, and no such file of another format. The files of SST-2 are at "
        "https://gluebenchmark.com/tasks, and at nyu-mll/glue on the Hub (validation-*.parquet in its folder sst2)."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        kind.read(tmp_path)
    (tmp_path / "SST-2").mkdir()
    with pytest.raises(InputError, match=re.escape(f"Did you mean {tmp_path / 'SST-2'}?")):
        kind.source_of("train", tmp_path, training=True)
    for ending in (".tsv", ".tsv.gz"):
        write_folder(tmp_path, "sst2", ending)
    with pytest.raises(InputError, match=r"has dev\.tsv, dev\.tsv\.gz, and only one is the data of glue/sst2"):
        kind.read(tmp_path)
    write_file(tmp_path / "dev_matched.tsv", "x")
    with pytest.raises(InputError, match=r"has no dev_mismatched\.tsv"):
        kind_of("mnli").read(tmp_path)


# -- metrics ----------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(5)
LOGITS, TRUTH = RANDOM.normal(size=(40, 2)), RANDOM.integers(2, size=40)


def measured(name, labels, logits, truth, parts=None):
    """The metrics of logits for rows with these true labels, where the head has these names of labels."""
    kind = kind_of(name)
    rows = [{"text": "a", "label": str(label)} for label in truth]
    if parts is not None:
        rows = [{**row, "part": part} for row, part in zip(rows, parts, strict=True)]
    task = kind(TOKENIZER, CONFIG.updated(**kind.config_fields(labels)), Recipe())
    checked = [{**row, **kind.check({"text": "a", "label": row["label"]})} for row in rows]
    return kind.metric, task.measure(checked, task.features(checked), list(logits))


@pytest.mark.parametrize("name", [name for name in GLUE if GLUE[name].labels and name != "mnli"])
def test_metrics_are_those_of_scikit_learn(name):
    """The positive label is 1 for GLUE, wherever the head has it."""
    predicted = LOGITS.argmax(-1)
    expected = {
        "f1": sklearn.f1_score(TRUTH, predicted),
        "accuracy": sklearn.accuracy_score(TRUTH, predicted),
        "matthews_correlation": sklearn.matthews_corrcoef(TRUTH, predicted),
    }
    assert expected["f1"] != sklearn.f1_score(TRUTH, predicted, pos_label=0)
    own = {"cola": ["matthews_correlation"], "mrpc": ["f1", "accuracy"], "qqp": ["f1", "accuracy"]}
    names = own.get(name, ["accuracy"])
    for labels, logits in ((GLUE[name].labels, LOGITS), (GLUE[name].labels[::-1], LOGITS[:, ::-1])):
        metric, values = measured(name, labels, logits, TRUTH)
        assert values == pytest.approx({name: expected[name] for name in names}, abs=1e-12)
        assert (metric, list(values)) == (names[0], names)


def test_metrics_of_the_two_parts_of_mnli():
    logits, truth = RANDOM.normal(size=(40, 3)), RANDOM.integers(3, size=40)
    right = logits.argmax(-1) == truth
    labels = GLUE["mnli"].labels
    both = ["" if i % 3 else "_mm" for i in range(40)]
    _, values = measured("mnli", labels, logits, truth, both)
    mismatched = np.array(both) == "_mm"
    assert values == {"accuracy_mm": right[mismatched].mean(), "accuracy": right[~mismatched].mean()}
    metric, values = measured("mnli", labels, logits, truth)
    assert (metric, values) == ("accuracy", {"accuracy": right.mean()})


def test_metrics_of_stsb_are_those_of_scipy():
    numbers, truth = RANDOM.normal(size=40), RANDOM.uniform(0, 5, 40)
    metric, values = measured("stsb", None, numbers[:, None], truth)
    expected = {"pearson": stats.pearsonr(numbers, truth)[0], "spearman": stats.spearmanr(numbers, truth)[0]}
    assert values == pytest.approx(expected, abs=1e-12)
    assert metric == "pearson"


# -- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(monkeypatch):
    """Note what would be loaded to be trained."""
    calls = []

    def stop(experiment, *options):
        calls.append(experiment)

    monkeypatch.setattr("distilbert_core.training.experiment.Experiment.run", stop)
    return calls


@pytest.mark.parametrize("name", GLUE)
def test_a_run_from_a_folder(name, tmp_path, prepared):
    """A new head has all of GLUE's labels in GLUE's order; the folder's evaluation data are used."""
    folder = write_folder(tmp_path, name)
    new = {"new_head": True, "backend": "pt"}
    finetune(f"glue/{name}", folder, model=DEFAULT_MODEL, output=tmp_path / "new", **new)
    finetune(f"glue/{name}", folder, eval=folder / "train.tsv", model=DEFAULT_MODEL, output=tmp_path / "new", **new)
    first, second = prepared
    assert (len(first.features), len(first.eval_rows), len(second.eval_rows)) == (1, 4 if name == "mnli" else 2, 1)
    config, labels = first.task.config, GLUE[name].labels
    assert config.num_labels == max(1, len(labels))
    if labels:
        assert [config.id2label[i] for i in range(len(labels))] == list(labels)
    assert first.settings["task"] == f"glue/{name}"


@pytest.mark.parametrize("name", ["qqp", "stsb", "mnli"])
def test_a_large_file_is_prepared_on_disk(name, tmp_path, prepared, monkeypatch):
    """With the same features as in memory, and one warning about lines that are left out."""
    folder = write_folder(tmp_path, name)
    if name == "qqp":
        with (folder / "train.tsv").open("a") as file:
            file.write("a line with one column\n")
    for size in (1 << 20, 0):
        monkeypatch.setattr("distilbert_core.training.data.IN_MEMORY", size)
        options = {"model": DEFAULT_MODEL, "output": tmp_path / f"{size}", "new_head": True, "backend": "pt"}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            finetune(f"glue/{name}", folder, **options)
        assert ["left out" in str(warning.message) for warning in caught] == [True] * (name == "qqp")
    of_memory, of_disk = ([(f.ids, f.target) for f in experiment.features] for experiment in prepared)
    assert of_memory == of_disk
    assert [type(experiment.features.parts[0]).__name__ for experiment in prepared] != ["MemoryPart"] * 2


def test_evaluation_of_a_head_without_names_and_of_others(tmp_path, monkeypatch):
    """LABEL_0 is GLUE's first label. A head with other names is an error."""
    folder, model = write_folder(tmp_path, "mnli"), tmp_path / "model"
    TOKENIZER.save_pretrained(model)
    config = {"architectures": ["DistilBertForSequenceClassification"], "num_labels": 3}
    DistilBertConfig(**config).save_pretrained(model)
    inference = FakeInference(Head.SEQUENCE_CLASSIFICATION, **config)
    values = evaluate("glue/mnli", folder, model=model, inference=inference)
    assert set(values) == {"accuracy", "accuracy_mm"}
    with pytest.raises(InputError, match="Label 'contradiction' is not one of the model's 2 labels"):
        evaluate("glue/mnli", folder, model=DEFAULT_MODEL, inference=FakeInference(inference.head, num_labels=2))
    with pytest.raises(InputError, match=r"task must be .*wnli, got 'glue/sst-2'\. Did you mean 'glue/sst2'"):
        evaluate("glue/sst-2", folder, model=DEFAULT_MODEL)


def test_no_warning_about_whole_files(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind_of("qqp").read(write_folder(tmp_path, "qqp"))
