"""docs/migrating.md has every public name of Transformers 4.53.3, and its statements about the core are true."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import distilbert_core
from distilbert_core import DistilBertConfig
from distilbert_core.compatibility import (
    CONFIG_SAVING,
    CONFIGURING,
    TOKENIZER_DECODING,
    TOKENIZER_LOADING,
    TOKENIZER_SAVING,
)
from distilbert_core.tokenization.accessors import NOT_HERE
from support import migrating
from support.migrating import PAGE, SECTIONS, Subject
from support.uploads import Uploads

by_group = pytest.mark.parametrize("group", migrating.GROUPS)
TEXT = "A lovely film."


@by_group
def test_every_name_has_one_row(group: str) -> None:
    assert migrating.names(group)
    assert not [name for name in sorted(migrating.names(group)) if migrating.status(group, name) is None]


def test_every_row_has_names_and_describes_the_difference() -> None:
    for row in migrating.rows():
        groups = {column: SECTIONS[row.section][column] for column in row.statuses}
        for column, group in groups.items():
            assert any(name in migrating.names(group) for names in row.names for name in names), (row, column)
        for names in row.names:
            assert any(name in migrating.names(group) for name in names for group in groups.values()), (row, names)
        assert set(row.statuses.values()) <= {"same"} or row.note, row


def test_every_class_is_on_the_page() -> None:
    page = PAGE.read_text()
    for name in itertools.chain(*map(migrating.classes, migrating.GROUPS)):
        assert f"`{name}`" in page, name


@pytest.fixture
def subjects(tmp_path: Path, uploads: Uploads) -> dict[str, list[Subject]]:
    """Our objects by group."""
    config = DistilBertConfig()
    file = {"json_file": tmp_path / "config.json"}
    config.save_pretrained(tmp_path)
    found = {
        "config": [
            Subject(
                "DistilBertConfig",
                config,
                calls={
                    "__init__": {},
                    "from_pretrained": {"pretrained_model_name_or_path": tmp_path},
                    "get_config_dict": {"pretrained_model_name_or_path": tmp_path},
                    "from_dict": {"config_dict": {}},
                    "from_json_file": file,
                    "save_pretrained": {"save_directory": tmp_path},
                    "to_json_file": {"json_file_path": tmp_path / "config.json"},
                    "update": {"config_dict": {}},
                    "push_to_hub": {"repo_id": "me/model"},
                    "update_from_string": {"update_str": "dropout=0.2"},
                },
                tables={
                    "from_pretrained": CONFIGURING,
                    "from_dict": CONFIGURING,
                    "save_pretrained": CONFIG_SAVING,
                    "push_to_hub": CONFIG_SAVING,
                },
            )
        ],
        "tokenizer": [],
        "encoding": [],
        "output": [Subject("ModelOutput", distilbert_core.MaskedLMOutput(logits=1))],
    }
    tables = {
        "__init__": TOKENIZER_LOADING,
        "from_pretrained": TOKENIZER_LOADING,
        "save_pretrained": TOKENIZER_SAVING,
        "push_to_hub": TOKENIZER_SAVING,
        "decode": TOKENIZER_DECODING,
    }
    for name in ("DistilBertTokenizer", "DistilBertTokenizerFast"):
        cls = getattr(distilbert_core, name)
        tokenizer = cls.from_pretrained(distilbert_core.DEFAULT_MODEL)
        (vocabulary,) = tokenizer.save_vocabulary(tmp_path)
        calls: dict[str, Any] = {
            "__init__": {"vocab_file": vocabulary},
            "from_pretrained": {"pretrained_model_name_or_path": distilbert_core.DEFAULT_MODEL},
            "save_pretrained": {"save_directory": tmp_path / "tokenizer"},
            "push_to_hub": {"repo_id": "me/model"},
            "encode": {"text": TEXT},
            "encode_plus": {"text": TEXT},
            "batch_encode_plus": {"batch_text_or_text_pairs": [TEXT]},
            "decode": {"token_ids": [101]},
            "batch_decode": {"sequences": [[101]]},
            "train_new_from_iterator": {"text_iterator": [TEXT], "vocab_size": 20},
        }
        found["tokenizer"].append(Subject(name, tokenizer, NOT_HERE, calls, tables))
    encoding = tokenizer(TEXT)
    found["encoding"].append(Subject("BatchEncoding", encoding, calls={"__init__": {}}))
    return found


@pytest.mark.parametrize("group", ["config", "tokenizer", "encoding", "output"])
def test_rows_are_true(group: str, subjects: dict[str, list[Subject]]) -> None:
    for subject in subjects[group]:
        assert not list(migrating.untruths(group, migrating.classes(group)[subject.name], subject))
