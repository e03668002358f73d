"""`examples/finetuning_datasets.py` on made-up files in the formats of the sources."""

from __future__ import annotations

import gzip
import json
import runpy

import pytest

from support.paths import EXAMPLES

SCRIPT = EXAMPLES / "finetuning_datasets.py"
STSB = 'main-news\t{file}\t2012test\t0001\t{score}\tA "cat" sat.\tA cat\'s nap.{more}\n'
BOOK = (
    "Title\r\n*** START OF THIS EBOOK A ***\r\nOne\r\ntwo.\r\n \r\n\r\nThree.\r\n*** END OF THIS EBOOK A ***\r\nLicence"
)


def squad_file(*contexts):
    paragraphs = [
        {"context": context, "qas": [{"id": "1", "question": "Q?", "answers": [{"text": "a", "answer_start": 0}]}]}
        for context in contexts
    ]
    return json.dumps({"version": "1", "data": [{"title": "T", "paragraphs": paragraphs}]})


# A phrase, and a sentence that is held back together with its phrase.
MORE = ("is n't dull", "it does n't feel long at all", "feel long")
SOURCES = {
    "sst2-glue/train.tsv.gz": 'sentence\tlabel\na "fine film \t1\ndull \t0\nso-so \t0\n'
    + "".join(f"{text} \t1\n" for text in MORE),
    "sst2-glue/dev.tsv": "sentence\tlabel\ngood . \t1\n",
    "rte/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\u2028b.\tC.\tentailment\n",
    "rte/dev.tsv": "index\tsentence1\tsentence2\tlabel\n7\tD.\tE.\tnot_entailment\n",
    "stsb/sts-train.csv": "".join(
        STSB.format(file=file, score="3.800", more=more)
        for file, more in [("MSRpar", ""), ("MSRvid", ""), ("deft-news", ""), ("deft-forum", ""), ("images", "\tx\ty")]
    ),
    "stsb/sts-dev.csv": STSB.format(file="headlines", score="0", more=""),
    "stsb/sts-test.csv": STSB.format(file="headlines", score="5", more=""),
    "squad/train-v1.1-first4370.json": squad_file("a.", "a b."),
    "squad/new_wiki_v1.0.json.gz": squad_file("a new."),
    "squad/xquad.en.json": squad_file("a é."),
    "wnut17/wnut17train.conll": "Ann\tB-person\nran\tO\n\t\nHi\tO\n\n",
    "wnut17/emerging.dev.conll": "Hi\tO\n\n",
    "wnut17/emerging.test.annotated": "Oslo\tB-location\n",
    "goemotions/labels.txt": "anger\njoy\nneutral\n",
    **{f"goemotions/{split}.tsv": "So “happy”\t1,2\tid1\n" for split in ("train", "dev", "test")},
    **{
        f"comve/{split}_data.csv": 'id,FalseSent,OptionA,OptionB,OptionC\n4,"He ate, a car.",x,"He said ""no"".",z\n'
        for split in ("train", "dev", "test")
    },
    **{f"comve/{split}_answers.csv": "4,B\n" for split in ("train", "dev", "test")},
    **{f"codah/fold_0_{split}.tsv": "n\tHe\ta.\tb.\tc.\td.\t3\n" for split in ("train", "dev", "test")},
    "gutenberg/b-0.txt": "\ufeff" + BOOK,
    "gutenberg/a.txt.gz": BOOK.replace("One", "Zero"),
    **{f"wikisplit/{part}.tsv": f"{part} one .\tparts\n" for part in ("tune", "validation", "test")},
    "wikitext2/valid.txt": " \n = Title = \n \n = = Part = = \n A line = here .\n",
}


@pytest.fixture
def source(tmp_path):
    for name, text in SOURCES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return tmp_path / "source"


def run(*arguments):
    runpy.run_path(str(SCRIPT))["main"](list(map(str, arguments)))


STSB_ROW = 'A "cat" sat.\tA cat\'s nap.'
COMVE = '{"prompt": "He ate, a car.", "choices": ["x", "He said \\"no\\".", "z"], "label": 1}\n'
CODAH = '{"prompt": "He", "choices": ["a.", "b.", "c.", "d."], "label": 3}\n'
GOEMOTIONS = '{"text": "So “happy”", "labels": ["joy", "neutral"]}\n'
EXPECTED = {
    "sst2/train.tsv": 'text\tlabel\na "fine film\tpositive\ndull\tnegative\nso-so\tnegative\n'
    + "".join(f"{text}\tpositive\n" for text in MORE),
    "sst2/dev.tsv": "text\tlabel\ngood .\tpositive\n",
    "rte/train.tsv": "text\ttext_pair\tlabel\nA\u2028b.\tC.\tentailment\n",
    "rte/dev.tsv": "text\ttext_pair\tlabel\nD.\tE.\tnot_entailment\n",
    "stsb/train.tsv": f"text\ttext_pair\tlabel\n{STSB_ROW}\t3.8\n",
    "stsb/dev.tsv": f"text\ttext_pair\tlabel\n{STSB_ROW}\t0.0\n",
    "stsb/test.tsv": f"text\ttext_pair\tlabel\n{STSB_ROW}\t5.0\n",
    "wnut17/train.conll": "Ann\tB-person\nran\tO\n\nHi\tO\n\n",
    "wnut17/dev.conll": "Hi\tO\n\n",
    "wnut17/test.conll": "Oslo\tB-location\n\n",
    **{f"goemotions/{split}.jsonl": GOEMOTIONS for split in ("train", "dev", "test")},
    **{f"comve/{split}.jsonl": COMVE for split in ("train", "dev", "test")},
    **{f"codah/{split}.jsonl": CODAH for split in ("train", "dev", "test")},
    "mlm/train.txt": "Zero two.\nThree.\n\nOne two.\nThree.\n\ntune one .\n\nvalidation one .\n\ntest one .\n",
    "mlm/dev.txt": "A line = here .\n",
    "sst2-tiny/train.tsv": 'text\tlabel\na "fine film\tPOSITIVE\ndull\tNEGATIVE\nso-so\tNEGATIVE\n'
    "isn't dull\tPOSITIVE\n",
    "sst2-tiny/held.tsv": "text\tlabel\nit does n't feel long at all\tPOSITIVE\n",
    "sst2-tiny/dev.tsv": "text\tlabel\ngood .\tPOSITIVE\n",
}


def test_every_data_set(source, tmp_path):
    run(source, tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    squad = {
        split: [
            paragraph["context"]
            for article in json.loads(files.pop(f"squad/{split}.json").read_text("utf-8"))["data"]
            for paragraph in article["paragraphs"]
        ]
        for split in ("train", "dev")
    }
    assert squad == {"train": ["a.", "a b.", "a new."], "dev": ["a é."]}
    prose = files.pop("sst2-tiny/prose.tsv").read_text("utf-8").splitlines()
    assert prose[0] == "text\tlabel"
    assert sorted(prose[1:]) == ["So “happy”\t", "test one .\t", "tune one .\t", "validation one .\t"]
    assert {name: path.read_bytes().decode() for name, path in files.items()} == EXPECTED


def test_only_some_rows_of_some(source, tmp_path):
    run(source, tmp_path, "--only", "sst2", "codah", "--limit", 2)
    assert (tmp_path / "sst2/train.tsv").read_text().splitlines()[1:] == ['a "fine film\tpositive', "dull\tnegative"]
    assert {path.name for path in tmp_path.iterdir()} == {"source", "sst2", "codah"}


def test_a_missing_file_is_named(source, tmp_path):
    (source / "rte/dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"rte/dev\.tsv"):
        run(source, tmp_path, "--only", "rte")
