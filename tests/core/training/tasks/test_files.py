"""The files of each task: the rows and labels that they hold."""

from __future__ import annotations

import json

import pytest

from distilbert_core import InputError
from distilbert_core.training import TASKS
from support.record_files import write_file
from support.task_rows import CHOICES, NO_ANSWER, QUESTIONS, SQUAD

SQUAD_2 = {
    "version": "v2.0",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ann in Oslo",
                    "qas": [
                        {
                            "id": "1",
                            "question": "Who?",
                            "answers": [{"text": "Ann", "answer_start": 0}],
                            "is_impossible": False,
                        },
                        {
                            "id": "2",
                            "question": "When?",
                            "answers": [],
                            "plausible_answers": [{"text": "Oslo", "answer_start": 7}],
                            "is_impossible": True,
                        },
                    ],
                }
            ],
        }
    ],
}
SENTENCES = [
    {"tokens": ["Ann", "Lee", "ran"], "labels": ["B-per", "I-per", "O"]},
    {"tokens": ["Hi"], "labels": ["O"]},
]
READ = [  # task, file name, content, names of columns, rows, names of labels
    (
        "sequence-classification",
        "a.tsv",
        'label\ttext\tn\ngood\tA "film\t1\n bad \tNo.\t2\n',
        None,
        [{"text": 'A "film', "label": "good"}, {"text": "No.", "label": "bad"}],
        ["bad", "good"],
    ),
    (
        "sequence-classification",
        "a.csv.gz",
        'text,text_pair,label\n"a, b",c,3\nd,,1\n',
        None,
        [{"text": "a, b", "text_pair": "c", "label": "3"}, {"text": "d", "text_pair": "", "label": "1"}],
        ["0", "1", "2", "3"],
    ),
    (
        "sequence-classification",
        "a.jsonl",
        '{"s1": "a", "s2": "b", "y": 0}\n{"s1": "c", "s2": "d", "y": "not 0"}\n',
        {"text": "s1", "text_pair": "s2", "label": "y"},
        [{"text": "a", "text_pair": "b", "label": "0"}, {"text": "c", "text_pair": "d", "label": "not 0"}],
        ["0", "not 0"],
    ),
    (  # digits that are not numbers are names
        "sequence-classification",
        "a.tsv",
        "text\tlabel\nx\t²\n",
        None,
        [{"text": "x", "label": "²"}],
        ["²"],
    ),
    (
        "regression",
        "a.csv",
        "text,text_pair,label\na,b,3.25\nc,d,-1e-1\n",
        None,
        [{"text": "a", "text_pair": "b", "label": 3.25}, {"text": "c", "text_pair": "d", "label": -0.1}],
        None,
    ),
    (
        "regression",
        "a.jsonl",
        '{"text": "a", "label": 2}\n{"text": "b", "label": 0.5}\n{"text": "c", "label": "1"}',
        None,
        [{"text": "a", "label": 2.0}, {"text": "b", "label": 0.5}, {"text": "c", "label": 1.0}],
        None,
    ),
    (
        "multi-label",
        "a.tsv.gz",
        "text\tlabels\na\tjoy, anger\nb\t\nc\tjoy\n",
        None,
        [{"text": "a", "labels": ["joy", "anger"]}, {"text": "b", "labels": []}, {"text": "c", "labels": ["joy"]}],
        ["anger", "joy"],
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "a", "labels": [2, "0"]}\n{"text": "b", "labels": []}\n',
        None,
        [{"text": "a", "labels": ["2", "0"]}, {"text": "b", "labels": []}],
        ["0", "1", "2"],
    ),
    (
        "token-classification",
        "a.conll",
        "-DOCSTART- -X- O O\n\nAnn NNP B-NP B-per\nLee NNP I-NP I-per\nran VB B-VP O\n\t\n\nHi UH B-I O",
        None,
        SENTENCES,
        ["O", "B-per", "I-per"],
    ),
    (
        "token-classification",
        "a.conll.gz",
        "Ann\tB-per\r\nLee\tI-per\r\nran\tO\r\n\r\nHi\tO\r\n\r\n",
        {"tokens": "words"},  # which another file of the run may have
        SENTENCES,
        ["O", "B-per", "I-per"],
    ),
    (
        "token-classification",
        "a.jsonl",
        '{"words": ["Ann", "ran"], "tags": [2, 0]}',
        {"tokens": "words", "labels": "tags"},
        [{"tokens": ["Ann", "ran"], "labels": ["2", "0"]}],
        ["0", "1", "2"],
    ),
    ("question-answering", "a.json", json.dumps(SQUAD, indent=1), None, QUESTIONS, None),
    ("question-answering", "a.json.gz", json.dumps(SQUAD), None, QUESTIONS, None),
    ("question-answering", "a.jsonl", "\n".join(map(json.dumps, QUESTIONS)), None, QUESTIONS, None),
    ("question-answering", "a.json", json.dumps(SQUAD_2), None, [QUESTIONS[0], NO_ANSWER], None),
    (
        "question-answering",
        "a.jsonl",
        json.dumps({**QUESTIONS[0], "answers": [{"text": "Ann", "answer_start": 0}], "is_impossible": None})
        + "\n"
        + json.dumps({**NO_ANSWER, "answers": [], "is_impossible": True}),
        None,
        [QUESTIONS[0], NO_ANSWER],
        None,
    ),
    ("multiple-choice", "a.jsonl.gz", "\n".join(map(json.dumps, CHOICES)), None, CHOICES, None),
    ("masked-lm", "a.txt", "One line.\n\n three\n", None, [{"text": t} for t in ("One line.", "", " three")], None),
    ("masked-lm", "a.jsonl", '{"body": "x", "n": 1}', {"text": "body"}, [{"text": "x"}], None),
    ("masked-lm", "a.csv", "n,text\n1,x\n", None, [{"text": "x"}], None),
    # weights of rows
    ("masked-lm", "a.csv", "weight,text\n1.5,x\n", None, [{"text": "x", "weight": 1.5}], None),
    (
        "sequence-classification",
        "a.tsv",
        "text\tlabel\tn\na\tgood\t0\nb\tbad\t2e-1\n",
        {"weight": "n"},
        [{"text": "a", "label": "good", "weight": 0.0}, {"text": "b", "label": "bad", "weight": 0.2}],
        ["bad", "good"],
    ),
    (
        "multiple-choice",
        "a.jsonl",
        json.dumps({**CHOICES[0], "weight": 3}),
        None,
        [{**CHOICES[0], "weight": 3.0}],
        None,
    ),
    # vectors of 0 and 1, or of booleans
    (
        "multi-label",
        "a.jsonl",
        '{"text": "a", "labels": [1, 0, 1]}\n{"text": "b", "labels": [0, 0, 0]}\n',
        None,
        [{"text": "a", "labels": [True, False, True]}, {"text": "b", "labels": [False] * 3}],
        ["0", "1", "2"],
    ),
    (
        "multi-label",
        "a.tsv",
        "text\tlabels\na\t0,1\nb\t1, 1\n",
        None,
        [{"text": "a", "labels": [False, True]}, {"text": "b", "labels": [True, True]}],
        ["0", "1"],
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "a", "labels": [true, false]}\n{"text": "b", "labels": [false, true]}\n',
        None,
        [{"text": "a", "labels": [True, False]}, {"text": "b", "labels": [False, True]}],
        ["0", "1"],
    ),
    (
        "multi-label",
        "a.jsonl",
        '{"text": "a", "labels": [1.0, 0.0]}\n{"text": "b", "labels": [0.0, 1.0]}\n',
        None,
        [{"text": "a", "labels": [True, False]}, {"text": "b", "labels": [False, True]}],
        ["0", "1"],
    ),
    (  # numbers of labels: of vectors all would be as long
        "multi-label",
        "a.jsonl",
        '{"text": "a", "labels": [1, 0]}\n{"text": "b", "labels": [0]}\n',
        None,
        [{"text": "a", "labels": ["1", "0"]}, {"text": "b", "labels": ["0"]}],
        ["0", "1"],
    ),
]


@pytest.mark.parametrize(("task", "name", "content", "columns", "rows", "labels"), READ)
def test_rows_and_labels_of_a_file(tmp_path, task, name, content, columns, rows, labels):
    kind = TASKS[task]
    found = kind.read(write_file(tmp_path / name, content), columns)
    assert found == rows
    assert kind.label_names(found) == labels


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"missing\.conll cannot be read: .*No such file"):
        TASKS["token-classification"].read(tmp_path / "missing.conll")
