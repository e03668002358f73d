"""Tables of datasets and pandas are tokenized, cached, and used for training."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from distilbert_core import DistilBertTokenizerFast, Head
from support.checkpoints import small_config
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own
FRAME = pd.DataFrame({"text": ["a good film", "bad", "fine , if long", "no"], "label": [1, 0, 1, 0]})


@pytest.fixture(scope="module")
def tokenizer():
    return DistilBertTokenizerFast.from_pretrained("sst2-tiny")


def test_map_is_cached(tokenizer, tmp_path):
    """The same call has the same fingerprint, so that it is not computed again."""
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    table = datasets.load_dataset("csv", data_files=str(tmp_path / "rows.csv"), cache_dir=str(tmp_path))["train"]
    tokenize = lambda rows: tokenizer(rows["text"], truncation=True)  # noqa: E731
    first, second = (table.map(tokenize, batched=True) for _ in range(2))
    assert first._fingerprint == second._fingerprint
    assert first.cache_files == second.cache_files != table.cache_files
    assert first["input_ids"][:] == [tokenizer(text)["input_ids"] for text in FRAME["text"]]
    one_by_one = table.map(lambda row: tokenizer(row["text"]))
    assert one_by_one["input_ids"][:] == first["input_ids"][:]
    parallel = table.map(tokenize, batched=True, num_proc=2)
    assert parallel["attention_mask"][:] == first["attention_mask"][:]


def test_trainer_takes_a_dataset(tokenizer, tmp_path):
    """It drops the column of texts, which the model does not take, and renames 'label'."""
    table = datasets.Dataset.from_pandas(FRAME).map(lambda rows: tokenizer(rows["text"]), batched=True)
    torch.manual_seed(0)
    model = PT.new(Head.SEQUENCE_CLASSIFICATION, small_config(vocab_size=len(tokenizer), num_labels=2))
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=30,
            per_device_train_batch_size=4,
            learning_rate=2e-2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=table,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    predicted = trainer.predict(table)
    assert predicted.predictions.argmax(-1).tolist() == FRAME["label"].tolist()
    assert predicted.label_ids.tolist() == FRAME["label"].tolist()


def test_tensors_of_a_dataset(tokenizer):
    table = datasets.Dataset.from_pandas(FRAME).map(
        lambda rows: tokenizer(rows["text"], padding="max_length", max_length=8, truncation=True), batched=True
    )
    expected = tokenizer(FRAME["text"].tolist(), padding="max_length", max_length=8, return_tensors="pt")
    batch = table.with_format("torch", columns=["input_ids", "attention_mask"])[:]
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    model = PT.new(Head.BASE, small_config(vocab_size=len(tokenizer)))
    assert torch.equal(model(**batch).last_hidden_state, model(**expected).last_hidden_state)


def test_a_column_of_a_frame_is_texts(tokenizer):
    got = tokenizer(FRAME["text"], padding=True, return_tensors="np")["input_ids"]
    np.testing.assert_array_equal(
        got, tokenizer(FRAME["text"].tolist(), padding=True, return_tensors="np")["input_ids"]
    )
