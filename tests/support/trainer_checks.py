"""What Transformers' Trainer does with a model of ours, in whatever version is installed.

A run of four steps on all rows at once, in float64 and without dropout, is compared with a plain loop of PyTorch.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from distilbert_core import DistilBertTokenizerFast, Head
from distilbert_pt import DataCollatorWithPacking, DistilBertModel, DistilBertPreTrainedModel
from distilbert_pt.tensors import to_array
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"), 0.0)
RATE = 1e-3
STEPS = 4
TOLERANCE = 1e-9


def make_rows(head: Head) -> list[dict[str, Any]]:
    """Return texts of several lengths as lists, without padding, and their labels."""
    config = small_config(num_labels=2)
    inputs = random_inputs(config, head)
    rows = []
    for index in range(len(inputs["input_ids"])):
        row = {name: array[index].tolist() for name, array in inputs.items() if name != "attention_mask"}
        if head is not Head.MULTIPLE_CHOICE:  # its rows are rectangles
            length = 11 - index
            row["input_ids"] = row["input_ids"][:length]
            if head in (Head.MASKED_LM, Head.TOKEN_CLASSIFICATION):
                row["labels"] = row["labels"][:length]
            row["attention_mask"] = [1] * length
        else:
            row["attention_mask"] = np.ones_like(row["input_ids"]).tolist()
        rows.append(row)
    return rows


def collator(head: Head, tokenizer: Any) -> Any:
    """Return Transformers' collator for the rows of a head."""
    match head:
        case Head.MASKED_LM | Head.TOKEN_CLASSIFICATION:
            return transformers.DataCollatorForTokenClassification(tokenizer)
        case Head.MULTIPLE_CHOICE:
            return transformers.DataCollatorForMultipleChoice(tokenizer)
    return transformers.DataCollatorWithPadding(tokenizer)


def make_trainer(model: Any, head: Head, folder: Path, **options: Any) -> transformers.Trainer:
    """Return a Trainer that takes all rows in each step, measures and saves after every second one."""
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    rows = make_rows(head)
    measured: list[int] = []

    def compute_metrics(prediction: Any) -> dict[str, float]:
        """The first checkpoint is the best: the metric falls from call to call."""
        measured.append(len(measured))
        return {"place": -float(measured[-1])}

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=len(rows),
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        max_grad_norm=0.0,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=2,
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="place",
        greater_is_better=True,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_steps=1,
        **options,
    )
    return transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=collator(head, tokenizer),
        compute_metrics=compute_metrics,
    )


def plain_loop(model: Any, batch: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """Train a copy of a model with PyTorch alone, and return its parameters after each step."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    states = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        optimizer.step()
        states.append({name: to_array(tensor).copy() for name, tensor in model.state_dict().items()})
    return states


def state_of(model: Any) -> dict[str, np.ndarray]:
    return {name: to_array(tensor) for name, tensor in model.state_dict().items()}


def new_model(head: Head, folder: Path) -> Any:
    """Save a random model in float64 and load it."""
    save_random(folder, small_config(num_labels=2, **NO_DROPOUT), head)
    return PT.load(head, folder, dtype="float64")


def check_head(head: Head, tmp_path: Path) -> None:
    """Train, measure, predict, take the best checkpoint at the end, reload and resume."""
    model = new_model(head, tmp_path / "from")
    trainer = make_trainer(model, head, tmp_path / "run")
    batch = trainer.data_collator(copy.deepcopy(trainer.train_dataset))
    expected = plain_loop(model, batch)
    assert largest_difference(expected[3], expected[1]) > RATE

    trainer.train()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "run" / "checkpoint-2")
    assert_close(state_of(model), expected[1], TOLERANCE)
    assert trainer.state.total_flos == STEPS * model.floating_point_ops(batch)

    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) == 2
    predicted = trainer.predict(trainer.eval_dataset)
    with torch.no_grad():
        output = model.eval()(**batch)
    assert abs(predicted.metrics["test_loss"] - output.loss.item()) < 1e-6  # Trainer keeps it in float32
    logits = predicted.predictions if isinstance(predicted.predictions, tuple) else (predicted.predictions,)
    assert_close(logits, tuple(map(to_array, output.to_tuple()[1:])), 1e-12)

    reloaded = PT.load(head, tmp_path / "run" / "checkpoint-4", dtype="auto")
    assert_close(state_of(reloaded), expected[3], TOLERANCE)
    cls = getattr(transformers, f"DistilBert{head.value}")
    theirs = cls.from_pretrained(tmp_path / "run" / "checkpoint-4", torch_dtype="auto")
    assert_close(state_of(theirs), state_of(reloaded), 0.0)

    again = make_trainer(new_model(head, tmp_path / "from"), head, tmp_path / "run", gradient_checkpointing=True)
    again.args.load_best_model_at_end = False
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert again.state.global_step == STEPS
    assert_close(state_of(again.model), expected[3], TOLERANCE)


def check_packing(head: Head, tmp_path: Path) -> None:
    """Packed rows train to the weights of the padded batches; measuring loses no label in a smaller last batch."""
    model = new_model(head, tmp_path / "from")
    trainer = make_trainer(model, head, tmp_path / "run", per_device_eval_batch_size=2)
    rows, packing = trainer.train_dataset, DataCollatorWithPacking(model)
    # The padded loss of question answering has padding in its softmax, the packed one does not.
    batch = packing(rows) if head is Head.QUESTION_ANSWERING else trainer.data_collator(copy.deepcopy(rows))
    expected = plain_loop(model, batch)
    trainer.data_collator = packing
    trainer.train()
    assert_close(state_of(model), expected[1], TOLERANCE)

    predicted = trainer.predict(rows)
    labels = predicted.label_ids if isinstance(predicted.label_ids, tuple) else (predicted.label_ids,)
    given = [np.concatenate([np.ravel(row[name]) for row in rows]) for name in head.labels]
    for array, values in zip(labels, given, strict=True):
        assert (array != -100).sum() == (values != -100).sum()
    if not head.reads_tokens:
        with torch.no_grad():
            assert_close(predicted.predictions, to_array(model.eval()(**batch).logits), 1e-12)


def check_masking_collator(tmp_path: Path) -> None:
    """Masked LM with random masks, by our tokenizer: the loss falls, and the checkpoint keeps its tie."""
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    config = small_config(vocab_size=len(tokenizer))
    model = PT.new(Head.MASKED_LM, config)
    rows = [dict(tokenizer(f"the film was as {word} as ever")) for word in ("good", "bad", "long", "short")] * 4
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=20,
            per_device_train_batch_size=8,
            learning_rate=2e-2,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=rows,
        data_collator=transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    assert model.vocab_projector.weight is model.get_input_embeddings().weight
    again = PT.load(Head.MASKED_LM, tmp_path / "checkpoint-20")
    assert_close(state_of(again), state_of(model), 0.0)
    assert DistilBertTokenizerFast.from_pretrained(tmp_path / "checkpoint-20").get_vocab() == tokenizer.get_vocab()
    assert json.loads((tmp_path / "checkpoint-20" / "config.json").read_text())["vocab_size"] == len(tokenizer)


class Regressor(DistilBertPreTrainedModel):
    """A head of a user's own; it returns a dict."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.score = torch.nn.Linear(config.dim, 1)
        self.post_init()

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None) -> dict[str, Any]:
        scores = self.score(self.distilbert(input_ids, attention_mask).last_hidden_state[:, 0])[:, 0]
        return {"scores": scores} if labels is None else {"loss": ((scores - labels) ** 2).mean(), "scores": scores}


def check_own_model(tmp_path: Path) -> None:
    """A class on our base class is trained, its best checkpoint loaded, and its checkpoint read."""
    model = Regressor(small_config(num_labels=2, **NO_DROPOUT)).double()
    trainer = make_trainer(model, Head.SEQUENCE_CLASSIFICATION, tmp_path)
    batch = trainer.data_collator(copy.deepcopy(trainer.train_dataset))
    expected = plain_loop(model, batch)
    trainer.train()
    assert_close(state_of(model), expected[1], TOLERANCE)
    assert_close(state_of(Regressor.from_pretrained(tmp_path / "checkpoint-4", dtype="auto")), expected[3], TOLERANCE)
