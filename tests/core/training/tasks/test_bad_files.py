"""Files that a task refuses: the error names the line and the column."""

from __future__ import annotations

import json

import pytest

from distilbert_core import InputError
from distilbert_core.training import TASKS
from support.record_files import write_file
from support.task_rows import CHOICES, NO_ANSWER, QUESTIONS, SQUAD

CLASSES = "must be the name of a label, or an integer from 0 to 99999; got"
BAD_FILES = [  # task, file name, content, names of columns, message
    (
        "sequence-classification",
        "a.tsv",
        "text\tsentiment\nx\t1\n",
        None,
        "a.tsv has no column 'label'; its columns are",
    ),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t1\n", {"text": "s"}, "a.tsv has no column 's'"),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t1\n", {"text_pair": "s"}, "a.tsv has no column 's'"),
    (
        "sequence-classification",
        "a.jsonl",
        '{"text": "x", "text_pair": "y", "label": 1}\n{"text": "z", "label": 1}\n',
        None,
        "a.jsonl line 2 has no column 'text_pair'; it has 'text', 'label'",
    ),
    (
        "token-classification",
        "a.tsv",
        "text\tlabel\nx\t1\n",
        None,
        "(--column tokens=NAME). Or is the task sequence-classification? Its columns are text, label.",
    ),
    (
        "sequence-classification",
        "a.csv",
        "text;label\nx;1\n",
        None,
        "its columns are 'text;label'. Columns are separated by commas in a .csv file, and by tabs in a .tsv file.",
    ),
    (
        "sequence-classification",
        "a.csv",
        "text,label\nWell, yes,1\n",
        None,
        "a.csv line 2 must have 2 columns, got 3. A text with a comma in it must be quoted.",
    ),
    ("sequence-classification", "a.tsv", "", None, "a.tsv is empty"),
    ("sequence-classification", "a.tsv", "text\tlabel\n", None, "a.tsv is empty"),
    ("sequence-classification", "a.csv", "text,label\nx,1\ny\n", None, "a.csv line 3 must have 2 columns, got 1"),
    ("sequence-classification", "a.txt", "x\n", None, "a.txt has lines and no columns, so no 'label'; give a .csv"),
    ("sequence-classification", "a.jsonl", '{"text": 5, "label": 1}', None, "record 1: text must be a text, got 5"),
    (
        "sequence-classification",
        "a.tsv",
        "text\tlabel\nx\t1\ny\t0.5\n",
        None,
        f"a.tsv: record 2: label {CLASSES} '0.5'",
    ),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t-1\n", None, f"record 1: label {CLASSES} '-1'"),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t \n", None, f"record 1: label {CLASSES} ' '"),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t20260131\n", None, f"record 1: label {CLASSES} '20260131'"),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\tnan\n", None, f"record 1: label {CLASSES} 'nan'"),
    ("sequence-classification", "a.jsonl", '{"text": "x", "label": -1}', None, f"record 1: label {CLASSES} -1"),
    ("sequence-classification", "a.jsonl", '{"text": "x", "label": 1.0}', None, f"record 1: label {CLASSES} 1.0"),
    ("sequence-classification", "a.jsonl", '{"text": "x", "label": true}', None, f"record 1: label {CLASSES} True"),
    ("sequence-classification", "a.jsonl", '{"text": "x", "label": null}', None, f"record 1: label {CLASSES} None"),
    ("sequence-classification", "a.jsonl", '{"text": "x", "label": [1]}', None, f"record 1: label {CLASSES} [1]"),
    ("regression", "a.tsv", "text\tlabel\nx\t1\ny\tgood\n", None, "record 2: label must be a number, got 'good'"),
    ("regression", "a.tsv", "text\tlabel\nx\tinf\n", None, "record 1: label must be a number, got 'inf'"),
    ("regression", "a.jsonl", '{"text": "x", "label": NaN}', None, "record 1: label must be a number, got nan"),
    ("regression", "a.jsonl", '{"text": "x", "label": true}', None, "record 1: label must be a number, got True"),
    ("regression", "a.jsonl", '{"text": "x", "label": [1]}', None, "record 1: label must be a number, got [1]"),
    (
        "regression",
        "a.jsonl",
        f'{{"text": "x", "label": {"9" * 400}}}',
        None,
        "record 1: label must be a number, got 999",
    ),
    ("multi-label", "a.jsonl", '{"text": "x", "labels": 1}', None, "labels must be a list of labels, or a text with"),
    ("multi-label", "a.jsonl", '{"text": "x", "labels": [1, 0.5]}', None, f"record 1: labels {CLASSES} 0.5"),
    ("multi-label", "a.tsv", "text\tlabels\nx\t1,-2\n", None, f"record 1: labels {CLASSES} '-2'"),
    ("multi-label", "a.tsv", "text\tlabels\nx\t1,,0\n", None, f"record 1: labels {CLASSES} ''"),
    ("multi-label", "a.tsv", "text\tlabel\nx\t1\n", None, "a.tsv has no column 'labels'"),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "x", "labels": [1, 0]}\n{"text": "y", "labels": [0, 1]}\n',
        None,
        "a.jsonl: labels are 0 and 1 in every record: are these indices of labels, or vectors of two "
        "booleans? Write the labels' names, or vectors of booleans: [true, false].",
    ),
    (
        "multi-label",
        "a.tsv",
        "text\tlabels\nx\tjoy\ny\tjoy,fear,joy\n",
        None,
        "a.tsv: record 2: labels must not repeat, got ['joy', 'fear', 'joy']. Vectors have 0 or 1 for each label",
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "x", "labels": [1, 0, 1]}\n{"text": "y", "labels": [1]}\n',
        None,
        "a.jsonl: record 1: labels must not repeat, got ['1', '0', '1']",
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "x", "labels": [true, false]}\n{"text": "y", "labels": [true]}\n',
        None,
        "a.jsonl: record 2: labels must be 2 booleans in every record as in the first that has them, got [True]",
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "x", "labels": []}\n{"text": "y", "labels": [true, false]}\n',
        None,
        "a.jsonl: record 1: labels must be 2 booleans in every record as in the first that has them, got []",
    ),
    ("multi-label", "a.jsonl", '{"text": "x", "labels": [true, 0]}', None, f"record 1: labels {CLASSES} True"),
    *(
        (
            "masked-lm",
            "a.jsonl",
            f'{{"text": "x", "weight": {value}}}',
            None,
            f"weight must be a finite number >= 0, got {shown}",
        )
        for value, shown in (
            ("-1", "-1"),
            ("NaN", "nan"),
            ("Infinity", "inf"),
            ('"heavy"', "'heavy'"),
            ("true", "True"),
        )
    ),
    (
        "regression",
        "a.jsonl",
        '{"text": "x", "label": 1, "weight": 1}\n{"text": "y", "label": 1}\n',
        None,
        "a.jsonl line 2 has no column 'weight'",
    ),
    (
        "token-classification",
        "a.conll",
        "Ann B-per\nran\n",
        None,
        "a.conll line 2 must have a word and its label, got 'ran'",
    ),
    ("token-classification", "a.conll", "\n\n", None, "a.conll is empty: it holds no rows"),
    (
        "token-classification",
        "a.conll",
        b"Ann O\nJos\xe9 O\n",
        None,
        "a.conll must be UTF-8, but line 2 has the byte 0xe9",
    ),
    ("token-classification", "a.conll", "Ann 0.5\n", None, f"record 1: labels {CLASSES} '0.5'"),
    (
        "token-classification",
        "a.jsonl",
        '{"tokens": ["a", "b"], "labels": ["O"]}',
        None,
        "record 1: labels must be as many as the 2 tokens, got 1",
    ),
    (
        "token-classification",
        "a.csv",
        "tokens,labels\nAnn ran,O O\n",
        None,
        "record 1: tokens must be a non-empty list, got 'Ann ran'. Among file formats, .conll and .jsonl have lists.",
    ),
    (
        "token-classification",
        "a.jsonl",
        '{"tokens": [], "labels": []}',
        None,
        "tokens must be a non-empty list",
    ),
    (
        "token-classification",
        "a.jsonl",
        '{"tokens": ["a", 1], "labels": ["O", "O"]}',
        None,
        "tokens must be a text, got 1",
    ),
    ("question-answering", "a.json", "{", None, "a.json is not valid JSON (JSONDecodeError"),
    ("question-answering", "a.json", '{"data": [{}]}', None, "a.json is not in SQuAD's format: KeyError('paragraphs')"),
    ("question-answering", "a.json", "[1]", None, "a.json is not in SQuAD's format: TypeError"),
    ("question-answering", "a.json", b'{"data": "\xff"}', None, "a.json must be UTF-8, but line 1 has the byte 0xff"),
    ("question-answering", "a.json", '{"data": []}', None, "a.json is empty: it holds no rows"),
    (
        "question-answering",
        "a.json",
        json.dumps(SQUAD).replace('"answer_start": 7', '"answer_start": 6'),
        None,
        "a.json: record 2: answers: 'Oslo' is not at position 6 of the context. It is at 7: answer_start counts",
    ),
    *(
        ("question-answering", "a.jsonl", json.dumps({**QUESTIONS[0], column: value}), None, f"record 1: {message}")
        for column, value, message in [
            ("question", " ", "question must not be empty"),
            ("question", None, "question must be a text, got None"),
            ("context", "", "context must not be empty"),
            ("answers", "Ann", 'answers must be {"text": [...], "answer_start": [...]}'),
            ("answers", {"text": ["Ann"]}, 'answers must be {"text": [...], "answer_start": [...]}'),
            ("answers", {"text": ["Ann"], "answer_start": [0, 0]}, "answers must be"),
            ("answers", {"text": [""], "answer_start": [0]}, "answers: '' is not at position 0"),
            ("answers", {"text": ["Osl"], "answer_start": [-4]}, "answers: 'Osl' is not at position -4"),
            ("answers", {"text": ["Ann"], "answer_start": ["0"]}, "answers: 'Ann' is not at position '0'"),
            ("answers", [{"text": "Ann"}], "answers: 'Ann' is not at position None"),
            ("answers", ["Ann"], 'answers must be {"text": [...], "answer_start": [...]}'),
            (
                "is_impossible",
                True,
                "is_impossible must be true where answers are empty, and false elsewhere; got True",
            ),
            (
                "is_impossible",
                "no",
                "is_impossible must be true where answers are empty, and false elsewhere; got 'no'",
            ),
        ]
    ),
    (
        "question-answering",
        "a.jsonl",
        json.dumps({**NO_ANSWER, "is_impossible": False}),
        None,
        "record 1: is_impossible must be true where answers are empty, and false elsewhere; got False with 0 answers",
    ),
    *(
        ("multiple-choice", "a.jsonl", json.dumps({**CHOICES[0], column: value}), None, f"record 1: {message}")
        for column, value, message in [
            ("prompt", 1, "prompt must be a text, got 1"),
            ("choices", "ran. sat.", "choices must be a list of at least two texts, got 'ran. sat.'"),
            ("choices", ["ran."], "choices must be a list of at least two texts, got ['ran.']"),
            ("choices", ["ran.", 0], "choices must be a text, got 0"),
            ("label", 2, "label must be the index of a choice, 0 to 1; got 2"),
            ("label", -1, "label must be the index of a choice, 0 to 1; got -1"),
            ("label", "1", "label must be the index of a choice, 0 to 1; got '1'"),
            ("label", True, "label must be the index of a choice, 0 to 1; got True"),
        ]
    ),
    (
        "multiple-choice",
        "a.jsonl",
        json.dumps(CHOICES[0]) + '\n{"prompt": "It", "choices": ["a", "b", "c"], "label": 2}\n',
        None,
        "a.jsonl: record 2: choices must be 2 as in the first, got 3",
    ),
    ("multiple-choice", "a.jsonl", '{"prompt": "It", ', None, "a.jsonl line 1 is not valid JSON"),
    ("masked-lm", "a.txt", "", None, "a.txt is empty"),
    (
        "masked-lm",
        "a.txt",
        b"fine\nna\xefve\n",
        None,
        "a.txt must be UTF-8, but line 2 has the byte 0xef at position 3",
    ),
    ("masked-lm", "a.txt", "x\n", {"text": "s"}, "a.txt has lines and no columns, so no 's'"),
    ("masked-lm", "a.jsonl", '{"text": null}', None, "record 1: text must be a text, got None"),
    ("masked-lm", "a.txt.gz", b"", None, "a.txt.gz is empty"),
    (
        "masked-lm",
        "a.txt",
        "x\n",
        {"label": "y", "n": "m"},
        "columns must name some of text, weight; unknown: label, n",
    ),
    (
        "regression",
        "a.csv",
        "text,label\nx,1\n",
        {"labels": "label"},
        "columns must name some of text, label, text_pair, weight; unknown: labels",
    ),
]


@pytest.mark.parametrize(("task", "name", "content", "columns", "message"), BAD_FILES)
def test_impossible_files(tmp_path, task, name, content, columns, message):
    with pytest.raises(InputError) as error:
        TASKS[task].read(write_file(tmp_path / name, content), columns)
    assert message in str(error.value)
