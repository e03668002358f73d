"""Token shards: the same features as the files give, in the same order, however they were written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from itertools import chain, islice

import numpy as np
import pytest

from distilbert_core import CheckpointError, DistilBertConfig, DistilBertTokenizerFast, InputError, InputWarning
from distilbert_core.training import Recipe, prepare, shard_writing
from distilbert_core.training.batches import batch_order
from distilbert_core.training.data import Data
from distilbert_core.training.features import Features
from distilbert_core.training.preparing import PURPOSES
from distilbert_core.training.shards import TokenShards
from distilbert_core.training.sources import open_source

MODEL = "sst2-tiny"
WORDS = ("the", "film", "was", "long", "but", "warm", "and", "funny", "a", "story", "of", "two", "friends")


def lines(count: int) -> list[str]:
    """Lines of 1 to 12 words; each seventh is blank."""
    rng = np.random.default_rng(0)
    return ["" if i % 7 == 6 else " ".join(rng.choice(WORDS, rng.integers(1, 13))) for i in range(count)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Files of the corpus by task."""
    folder = tmp_path_factory.mktemp("corpus")
    text = "\n".join(lines(900)) + "\n"
    (folder / "lines.txt").write_text(text)
    with gzip.open(folder / "lines.txt.gz", "wt") as file:
        file.write(text)
    labels = ["POSITIVE", "NEGATIVE", ""]
    rows = [{"text": line or "empty", "label": labels[i % 3]} for i, line in enumerate(lines(300))]
    for name, kept in (("partly", rows), ("labelled", [row for row in rows if row["label"]])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    scores = "".join(f"{line or 'empty'}\t{i / 7}\t{1 + i % 2}\n" for i, line in enumerate(lines(200)))
    (folder / "scores.tsv").write_text("text\tlabel\tweight\n" + scores)
    return folder


CASES = {  # what is prepared -> task, purpose, file
    "lines": ("masked-lm", "finetune", "lines.txt"),
    "joined lines": ("masked-lm", "distill", "lines.txt"),
    "packed file": ("masked-lm", "distill", "lines.txt.gz"),
    "labels": ("sequence-classification", "finetune", "labelled.jsonl"),
    "some labels": ("sequence-classification", "distill", "partly.jsonl"),
    "numbers and weights": ("regression", "finetune", "scores.tsv"),
}


def expected(task: str, purpose: str, file) -> tuple[list, Features]:
    """The tokens, target and weight of each feature of a file that is read into memory; and the features."""
    tasks, recipe = PURPOSES[purpose]
    config = DistilBertConfig.from_pretrained(MODEL)
    if task == "regression":
        config = config.updated(num_labels=1)
    kind = tasks[task]
    in_memory = kind(DistilBertTokenizerFast.from_pretrained(MODEL), config, recipe(max_length=16))
    features = Data.read(kind, open_source("data", file), None).features(in_memory, stacklevel=2)
    return contents(features), features


def contents(features) -> list:
    return [(list(feature.ids), feature.target, feature.weight) for feature in features]


def prepared(case: str, corpus, output, **options) -> TokenShards:
    task, purpose, name = CASES[case]
    new_head = {"new_head": True} if task == "regression" else {}
    given = {"model": MODEL, "output": output, "purpose": purpose, "max_length": 16, **new_head, **options}
    return prepare(task, corpus / name, **given)


@pytest.mark.filterwarnings("ignore::distilbert_core.InputWarning")
@pytest.mark.parametrize("case", CASES)
def test_shards_have_the_features_of_the_file(corpus, tmp_path, monkeypatch, case):
    """Several units and several files; random access, order and frequencies are the same, too."""
    monkeypatch.setattr(shard_writing, "UNIT", 50)
    task, purpose, name = CASES[case]
    rows, in_memory = expected(task, purpose, corpus / name)
    shards = prepared(case, corpus, tmp_path / "tokens", rows_per_shard=40)
    features = shards.features()
    assert len(shards.index["shards"]) > 2
    assert contents(features) == rows
    assert (len(features), features.tokens) == (shards.rows, shards.tokens) == (len(rows), in_memory.tokens)
    picked = np.random.default_rng(1).integers(len(rows), size=30)
    assert contents(features.select(picked)) == [rows[i] for i in picked]
    assert features.lengths_of(picked).tolist() == [len(rows[i][0]) for i in picked]
    vocabulary = shards.settings["vocab_size"]
    assert (features.token_counts(vocabulary) == in_memory.token_counts(vocabulary)).all()
    assert (Features([features]).parts[0].parts[0].token_counts(vocabulary) <= shards.counts()).all()
    for recipe in (Recipe(batch_size=8), Recipe(max_tokens=100)):
        orders = [list(islice(batch_order(them, recipe), 60)) for them in (features, in_memory)]
        assert orders[0] == orders[1]


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_processes_write_the_same_bytes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writing, "UNIT", 50)
    one, two = (
        prepared("joined lines", corpus, tmp_path / str(processes), rows_per_shard=40, processes=processes)
        for processes in (1, 2)
    )
    assert files_of(one.folder) == files_of(two.folder)


def test_a_stopped_call_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch):
    """Stopped after each of the first files; the rows that are in a file are not encoded again."""
    monkeypatch.setattr(shard_writing, "UNIT", 50)
    whole = files_of(prepared("joined lines", corpus, tmp_path / "whole", rows_per_shard=40).folder)
    encoded = []

    def stops_after(count):
        def encode(task, dtype, unit):
            if len(encoded) == count:
                raise KeyboardInterrupt
            encoded.append(unit[0]["text"])
            return encode_unit(task, dtype, unit)

        return encode

    encode_unit = shard_writing.encode_unit
    for count in (3, 7, 12):
        monkeypatch.setattr(shard_writing, "encode_unit", stops_after(count))
        with pytest.raises(KeyboardInterrupt):
            prepared("joined lines", corpus, tmp_path / "stopped", rows_per_shard=40)
        with pytest.raises(CheckpointError, match=r"stopped is not finished: run the same distilbert prepare again"):
            TokenShards.open(tmp_path / "stopped")
    monkeypatch.setattr(shard_writing, "encode_unit", encode_unit)
    assert files_of(prepared("joined lines", corpus, tmp_path / "stopped", rows_per_shard=40).folder) == whole
    monkeypatch.setattr(shard_writing, "encode_unit", stops_after(0))
    prepared("joined lines", corpus, tmp_path / "stopped", rows_per_shard=40)  # finished: nothing to encode


def test_several_sources_follow_one_another(corpus, tmp_path):
    rows = [{"text": "one more"}]
    shards = prepare(
        "masked-lm", [corpus / "lines.txt", rows], model=MODEL, output=tmp_path / "tokens", purpose="distill"
    )
    assert shards.features()[-1].ids == [101, 2028, 2062, 102]
    assert shards.index["records"] == 901


def test_a_stream_is_read_without_holding_it(tmp_path):
    """An object such as datasets.IterableDataset: columns and no length, and rows that are yielded for each pass."""
    alive = set()

    class Row(dict):
        def __del__(self):
            alive.discard(id(self))

    class Stream:
        column_names = ("text",)

        def __iter__(self):
            for index in range(9000):
                row = Row(text=f"film {index}")
                alive.add(id(row))
                most[0] = max(most[0], len(alive))
                yield row

    most = [0]
    shards = prepare("masked-lm", Stream(), model=MODEL, output=tmp_path / "tokens")
    assert shards.rows == 9000
    assert most[0] < 10


def test_cut_rows_are_said(corpus, tmp_path):
    with pytest.warns(InputWarning, match=r"tokens: \d+ of 900 rows are longer than max_length=8 and are cut. Give"):
        prepared("lines", corpus, tmp_path / "tokens", max_length=8)


BAD_CALLS = {
    "a task with windows": ({"task": "question-answering"}, r"task must be one of sequence-classification, regression"),
    "an unknown task": ({"task": "masked"}, r"task must be one of .*Did you mean 'masked-lm'"),
    "an unknown purpose": ({"purpose": "train"}, "purpose must be"),
    "no process": ({"processes": 0}, "processes must be a positive integer"),
    "empty files": ({"rows_per_shard": 0}, "rows_per_shard must be a positive integer"),
    "another length": ({"max_length": 8}, r"tokens was prepared with another max_length; give another output"),
    "another purpose": ({"purpose": "distill"}, r"tokens was prepared with another encoding"),
    "other rows": ({"data": [{"text": "b"}]}, r"tokens was prepared with another sources"),
    "a folder of something else": ({"output": "other"}, "other has other files; give another output"),
    "labels of a task without": ({"labels": ["a"]}, "labels must be left out: masked-lm"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_impossible_arguments(tmp_path, case):
    given = {"task": "masked-lm", "data": [{"text": "a"}], "model": MODEL, "output": "tokens", "max_length": 16}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    prepare(**{**given, "output": tmp_path / "tokens"})
    before = files_of(tmp_path / "tokens")
    changes, message = BAD_CALLS[case]
    given |= changes
    with pytest.raises(InputError, match=message):
        prepare(**{**given, "output": tmp_path / given["output"]})
    assert files_of(tmp_path / "tokens") == before


def test_an_unknown_argument(tmp_path):
    with pytest.raises(TypeError, match=r"Unknown keyword argument\(s\): batch"):
        prepare("masked-lm", [{"text": "a"}], model=MODEL, output=tmp_path / "tokens", batch=3)


def test_a_row_that_is_impossible_is_named(corpus, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n{"text": 3}\n')
    with pytest.raises(InputError, match=r"rows.jsonl: record 2: text must be a text, got 3"):
        prepare("masked-lm", file, model=MODEL, output=tmp_path / "tokens")
    with pytest.raises(InputError, match=r"has no row with a token for masked-lm"):
        prepare("masked-lm", [{"text": ""}], model=MODEL, output=tmp_path / "empty")


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def edited(**changes):
    return lambda content: json.dumps({**json.loads(content), **changes}).encode()


SHARD = "tokens-00000.npy"
DAMAGE = {
    "a shorter file": (SHARD, lambda content: content[:-1], "is damaged: its checksum"),
    "a changed token": (SHARD, lambda content: content[:-40] + b"\1" + content[-39:], "is damaged: its checksum"),
    "no checksum": ("index.json", edited(shards=[{"file": SHARD, "rows": 1, "tokens": 1}]), "it lacks 'sha256'"),
    "a path out of the folder": (
        "index.json",
        edited(shards=[{"file": "../tokens-00000.npy", "rows": 1, "tokens": 1}]),
        "has an impossible entry",
    ),
    "another version": ("index.json", edited(version=2), "in version 1"),
    "no settings": ("index.json", edited(settings={}), "it lacks 'task'"),
    "no JSON": ("index.json", lambda content: b"{", "index.json is not valid JSON"),
    "fewer counts": ("token_counts.npy", lambda content: content[:-8], "cannot be read as array of token counts"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_shards(tmp_path, case):
    folder = tmp_path / "tokens"
    prepare("masked-lm", [{"text": "a film"}], model=MODEL, output=folder, max_length=16)
    name, change, message = DAMAGE[case]
    damage(folder, name, change)
    with pytest.raises(CheckpointError, match=message):
        TokenShards.open(folder).features()


def test_all_rows_are_in_the_orders_once(corpus, tmp_path):
    """Orders by rows and by tokens, over two epochs of the shards."""
    features = prepared("joined lines", corpus, tmp_path / "tokens").features()
    by_tokens = batch_order(features, Recipe(max_tokens=64))
    seen = list(islice(chain.from_iterable(by_tokens), 3 * len(features)))
    assert min(np.bincount(seen, minlength=len(features))) >= 2
    assert max(features.lengths_of(np.array(batch)).sum() for batch in islice(by_tokens, 50)) <= 64


def test_two_processes_prepare_one_folder(corpus, tmp_path):
    """As the processes of a run do: one writes, the other waits, and both read the same."""
    code = "import sys; from distilbert_core.training import prepare; print(prepare('masked-lm', sys.argv[1], "
    code += f"model='{MODEL}', output=sys.argv[2], max_length=16).checksum())"
    command = [sys.executable, "-c", code, str(corpus / "lines.txt"), str(tmp_path / "tokens")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    checksums = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert checksums == {TokenShards.open(tmp_path / "tokens").checksum()}
