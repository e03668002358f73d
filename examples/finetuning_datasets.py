"""Convert public data sets to files for fine-tuning.

    python examples/finetuning_datasets.py SOURCE OUT [--only NAME ...] [--limit N]

SOURCE has a folder for each data set, with files from these GitHub repositories. The files may be gzipped (.gz). The
results are written to a folder for each data set in OUT:

| data set | folder and files in SOURCE | repository | task | written |
| --- | --- | --- | --- | --- |
| SST-2 of GLUE | sst2-glue: train.tsv, dev.tsv | brunnurs/binary-classification-bert | sentiment | sst2/*.tsv |
| RTE of GLUE | rte: train.tsv, dev.tsv | marcwww/nlu_eval | entailment, pairs | rte/*.tsv |
| STS Benchmark | stsb: sts-{train,dev,test}.csv | sudha93/semanticTextualSimilarity | regression | stsb/*.tsv |
| SQuAD 1.1, first 12 articles | squad: train-v1.1-first4370.json | ermeba/jupiter_bert | questions | squad/train.json |
| SQuAD shifts, new Wikipedia | squad: new_wiki_v1.0.json | modestyachts/squadshifts-website | questions | squad/train.json |
| XQuAD, English | squad: xquad.en.json | google-deepmind/xquad | questions | squad/dev.json |
| WNUT-17 | wnut17: wnut17train.conll, emerging.* | leondz/emerging_entities_17 | entities | wnut17/*.conll |
| GoEmotions | goemotions: {train,dev,test}.tsv, labels.txt | monologg/GoEmotions-pytorch | multi-label | goemotions/*.jsonl |
| ComVE, task B | comve: {train,dev,test}_{data,answers}.csv | wangcunxiang/SemEval2020-Task4-Commonsense-Validation-and-Explanation | multiple choice | comve/*.jsonl |
| CODAH | codah: fold_0_{train,dev,test}.tsv | Websail-NU/CODAH | multiple choice | codah/*.jsonl |
| 12 novels | gutenberg: *.txt | GITenberg/NAME_NUMBER | masked LM | mlm/train.txt |
| WikiSplit, without its train file | wikisplit: {tune,validation,test}.tsv | google-research-datasets/wiki-split | masked LM | mlm/train.txt |
| WikiText-2, validation | wikitext2: valid.txt | pytorch/examples | masked LM | mlm/dev.txt |
| SST-2, GoEmotions, WikiSplit and the novels, as above | | | distillation of sst2-tiny | sst2-tiny/*.tsv |

The files of sst2-tiny are `train` (phrases), `held` (sentences that are held back from it together with all of their
phrases), `prose` (sentences without labels) and `dev`. docs/distillation.md has the commands that read them.

Rows of STS-B without an open licence (MSRpar, MSRvid, deft-news, deft-forum) are left out. Each data set has its own
licence; some repositories do not state one.
"""  # noqa: E501 a table row is one line

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

SPLITS = ("train", "dev", "test")
HELD_BACK = 800  # sentences of SST-2
PROSE = 8_000  # sentences without labels
WITHOUT_LICENCE = frozenset({"MSRpar", "MSRvid", "deft-news", "deft-forum"})

Rows = list[Any]
Data = dict[str, Rows]  # split -> rows


# Reading


def read_text(path: Path) -> str:
    """Return the text of a file, or of the same file with .gz; a byte order mark is dropped."""
    zipped = path.with_name(f"{path.name}.gz")
    content = gzip.decompress(zipped.read_bytes()) if zipped.exists() else path.read_bytes()
    return content.decode("utf-8-sig").replace("\r\n", "\n")


def read_columns(path: Path) -> list[list[str]]:
    """Return the rows of a file with tab-separated columns and without quoting."""
    return [line.split("\t") for line in read_text(path).split("\n") if line]


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, which are separated by blank lines, each as one line."""
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


# The data sets: from the folder SOURCE to rows


def sst2(source: Path) -> Data:
    """Sentences and phrases of film reviews, with the labels negative and positive."""
    names = ("negative", "positive")
    return {
        split: [
            {"text": text.strip(), "label": names[int(label)]}
            for text, label in read_columns(source / f"sst2-glue/{split}.tsv")[1:]
        ]
        for split in ("train", "dev")
    }


def rte(source: Path) -> Data:
    """Pairs of texts, labelled with whether the second follows from the first."""
    return {
        split: [
            {"text": first, "text_pair": second, "label": label}
            for _, first, second, label in read_columns(source / f"rte/{split}.tsv")[1:]
        ]
        for split in ("train", "dev")
    }


def stsb(source: Path) -> Data:
    """Pairs of sentences with a similarity from 0 to 5."""
    return {
        split: [
            {"text": first, "text_pair": second, "label": float(score)}
            for _, file, _, _, score, first, second, *_ in read_columns(source / f"stsb/sts-{split}.csv")
            if file not in WITHOUT_LICENCE
        ]
        for split in SPLITS
    }


def squad(source: Path) -> Data:
    """Questions about paragraphs. A row is an article with one paragraph and its questions."""
    files = {"train": ("train-v1.1-first4370.json", "new_wiki_v1.0.json"), "dev": ("xquad.en.json",)}
    return {
        split: [
            {"title": article.get("title", ""), "paragraphs": [paragraph]}
            for name in names
            for article in json.loads(read_text(source / "squad" / name))["data"]
            for paragraph in article["paragraphs"]
        ]
        for split, names in files.items()
    }


def wnut17(source: Path) -> Data:
    """Sentences of social media with their entities. A row is a list of pairs (word, tag)."""
    files = {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}
    return {
        split: [
            [line.split("\t") for line in sentence.split("\n")]
            for sentence in re.split(r"\n\s*\n", read_text(source / "wnut17" / name).strip())
        ]
        for split, name in files.items()
    }


def goemotions(source: Path) -> Data:
    """Reddit comments, each with any number of 28 emotions."""
    names = read_text(source / "goemotions/labels.txt").split()
    return {
        split: [
            {"text": text, "labels": [names[int(index)] for index in indices.split(",")]}
            for text, indices, _ in read_columns(source / f"goemotions/{split}.tsv")
        ]
        for split in SPLITS
    }


def comve(source: Path) -> Data:
    """Sentences that make no sense, each with three possible reasons."""
    data = {}
    for split in SPLITS:
        questions = csv.reader(io.StringIO(read_text(source / f"comve/{split}_data.csv")))
        answers = dict(csv.reader(io.StringIO(read_text(source / f"comve/{split}_answers.csv"))))
        next(questions)  # the header
        data[split] = [
            {"prompt": sentence, "choices": choices, "label": "ABC".index(answers[number])}
            for number, sentence, *choices in questions
        ]
    return data


def codah(source: Path) -> Data:
    """Beginnings of sentences, each with four possible endings."""
    return {
        split: [
            {"prompt": prompt, "choices": choices, "label": int(label)}
            for _, prompt, *choices, label in read_columns(source / f"codah/fold_0_{split}.tsv")
        ]
        for split in SPLITS
    }


def novels(source: Path) -> list[str]:
    """Return the novels, without the header and the licence of Project Gutenberg."""
    books = {path.name.removesuffix(".gz") for path in (source / "gutenberg").glob("*.txt*")}
    return [
        re.split(r"\*\*\* ?(?:START|END) OF.*", read_text(source / "gutenberg" / book))[1] for book in sorted(books)
    ]


def encyclopedia(source: Path) -> list[str]:
    """Return sentences of Wikipedia."""
    parts = [read_columns(source / f"wikisplit/{part}.tsv") for part in ("tune", "validation", "test")]
    return [row[0] for rows in parts for row in rows]


def mlm(source: Path) -> Data:
    """Documents as lists of lines: the paragraphs of a novel, a sentence of Wikipedia, or all of WikiText-2."""
    lines = [line.strip() for line in read_text(source / "wikitext2/valid.txt").split("\n")]
    return {
        "train": [paragraphs(body) for body in novels(source)] + [[sentence] for sentence in encyclopedia(source)],
        "dev": [[line for line in lines if line and not re.fullmatch(r"= .* =", line)]],
    }


def phrases_of(text: str) -> Iterator[str]:
    """Yield all runs of consecutive words of a text, and the whole text."""
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def hold_back(texts: Sequence[str], count: int) -> tuple[list[str], set[str]]:
    """Select sentences to hold back from the training set of SST-2; all of their phrases must leave it too.

    Its rows are sentences and the phrases of their parse trees, without a mark of which is which. Here a sentence is a
    row of at least 6 words that is not part of another row.

    Returns:
        The sentences, and all of their phrases.
    """
    inside: set[str] = set()
    sentences = []
    for text in sorted(texts, key=lambda text: -len(text.split())):
        if text not in inside and len(text.split()) >= 6:
            sentences.append(text)
            inside.update(phrases_of(text))
    random.Random(0).shuffle(sentences)
    held = sentences[:count]
    return held, {phrase for text in held for phrase in phrases_of(text)}


def sst2_tiny(source: Path) -> Data:
    """The texts of sst2-tiny: phrases of SST-2, sentences held back from them, prose without labels, and the dev set.

    In every other phrase "does n't" is written as "doesn't", so that a model learns the usual spelling too. Half of the
    prose is from Reddit, a quarter from Wikipedia and a quarter from novels.
    """
    data = {split: [row | {"label": row["label"].upper()} for row in rows] for split, rows in sst2(source).items()}
    rows = data["train"]
    held, excluded = hold_back([row["text"] for row in rows], HELD_BACK)
    by_text = {row["text"]: row for row in rows}
    chance = random.Random(1)
    phrases = [
        {"text": text.replace(" n't", "n't") if chance.random() < 0.5 else text, "label": row["label"]}
        for row in rows
        if (text := row["text"]) not in excluded
    ]
    comments = [text for text, *_ in read_columns(source / "goemotions/train.tsv")]
    sentences = [
        sentence
        for novel in novels(source)
        for sentence in re.split(r"(?<=[.!?])\W*\s(?=\W?[A-Z])", " ".join(novel.split()))
        if 5 <= len(sentence.split()) <= 40
    ]
    quarter = PROSE // 4
    shares = ((comments, 2 * quarter), (encyclopedia(source), quarter), (sentences, quarter))
    prose = [text for texts, count in shares for text in chance.sample(texts, min(count, len(texts)))]
    return {
        "train": phrases,
        "held": [by_text[text] for text in held],
        "prose": [{"text": " ".join(text.split()), "label": ""} for text in prose],
        "dev": data["dev"],
    }


# Writing


def tsv_lines(rows: Rows) -> Iterable[str]:
    """Return the header and the tab-separated values of dicts."""
    return ("\t".join(map(str, values)) for values in [rows[0], *(row.values() for row in rows)])


def conll_lines(rows: Rows) -> Iterable[str]:
    """Return a line for each word and its tag, and a blank line after each sentence."""
    return (line for sentence in rows for line in (*map("\t".join, sentence), ""))


def jsonl_lines(rows: Rows) -> Iterable[str]:
    """Return one JSON object per line."""
    return (json.dumps(row, ensure_ascii=False) for row in rows)


def squad_lines(rows: Rows) -> Iterable[str]:
    """Return the JSON object of a SQuAD file."""
    return [json.dumps({"version": "1.1", "data": rows}, ensure_ascii=False)]


def text_lines(rows: Rows) -> Iterable[str]:
    """Return the lines of documents, with a blank line between documents."""
    return "\n\n".join("\n".join(document) for document in rows).split("\n")


DATASETS: dict[str, tuple[Callable[[Path], Data], str, Callable[[Rows], Iterable[str]]]] = {
    "sst2": (sst2, ".tsv", tsv_lines),
    "rte": (rte, ".tsv", tsv_lines),
    "stsb": (stsb, ".tsv", tsv_lines),
    "squad": (squad, ".json", squad_lines),
    "wnut17": (wnut17, ".conll", conll_lines),
    "goemotions": (goemotions, ".jsonl", jsonl_lines),
    "comve": (comve, ".jsonl", jsonl_lines),
    "codah": (codah, ".jsonl", jsonl_lines),
    "mlm": (mlm, ".txt", text_lines),
    "sst2-tiny": (sst2_tiny, ".tsv", tsv_lines),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert the selected data sets."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="The beginning of this file lists the sources of the data sets."
    )
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument(
        "--only", nargs="+", choices=DATASETS, default=list(DATASETS), metavar="NAME", help=", ".join(DATASETS)
    )
    parser.add_argument(
        "--limit", type=int, help="write only the first N training rows (for SQuAD paragraphs, for mlm documents)"
    )
    args = parser.parse_args(arguments)
    for name in args.only:
        read, suffix, lines = DATASETS[name]
        for split, rows in read(args.source).items():
            rows = rows[: args.limit] if split == "train" else rows
            path = args.out / name / f"{split}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines(rows)), encoding="utf-8", newline="\n")
            print(f"{path}: {len(rows):,} rows")


if __name__ == "__main__":
    main()
