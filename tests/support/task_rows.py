"""Rows of the tasks as their files hold them."""

from __future__ import annotations

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "Ann in Oslo",
                    "qas": [
                        {"question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
                        {
                            "question": "Where?",
                            "answers": [{"text": "Oslo", "answer_start": 7}, {"text": "in Oslo", "answer_start": 4}],
                        },
                    ],
                }
            ]
        },
        {"paragraphs": [{"context": "Bo", "qas": [{"question": "?", "answers": [{"text": "Bo", "answer_start": 0}]}]}]},
    ]
}
QUESTIONS = [
    {"question": "Who?", "context": "Ann in Oslo", "answers": {"text": ["Ann"], "answer_start": [0]}},
    {"question": "Where?", "context": "Ann in Oslo", "answers": {"text": ["Oslo", "in Oslo"], "answer_start": [7, 4]}},
    {"question": "?", "context": "Bo", "answers": {"text": ["Bo"], "answer_start": [0]}},
]
NO_ANSWER = {"question": "When?", "context": "Ann in Oslo", "answers": {"text": [], "answer_start": []}}
CHOICES = [
    {"prompt": "He", "choices": ["ran.", "sat."], "label": 1},
    {"prompt": "It", "choices": ["is.", ""], "label": 0},
]
