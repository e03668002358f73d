"""Distillation from files: a student learns the outputs of its teacher on texts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.files.hub import split_hub_options
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.distillation.cache import TeacherCache
from distilbert_core.training.distillation.classification import PartlyLabelled
from distilbert_core.training.distillation.objective import load_distillation
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.distillation.texts import PackedMaskedLM
from distilbert_core.training.experiment import Experiment, find_task
from distilbert_core.training.labels import label_names
from distilbert_core.training.run import SAVE_EVERY, Progress
from distilbert_core.training.sources import file_checksum, open_sources
from distilbert_core.training.tasks import Task

DISTILLATION_TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (PackedMaskedLM, PartlyLabelled)}
# The numbers of a recipe that decide the texts of each step, and so the teacher's outputs.
CACHED_BY = ("batch_size", "accumulate", "max_length", "mask_probability", "mask_smoothing", "only_masked", "seed")


def distill(
    task: str,
    data: Any,
    *,
    teacher: str | Path,
    student: str | Path,
    output: str | Path,
    eval: Any = None,
    backend: str | None = None,
    recipe: DistillationRecipe | None = None,
    columns: Mapping[str, str] | None = None,
    new_head: bool = False,
    teacher_dtype: str | None = None,
    cache: str | Path | None = None,
    top_k: int | None = None,
    resume: bool = False,
    save_every: int = SAVE_EVERY,
    keep_states: int = 1,
    progress: bool | None = None,
    **hub_options: Any,
) -> Progress:
    r"""Train a student to give the outputs of its teacher.

    Args:
        task: 'masked-lm', or 'sequence-classification'.
        data: The training data: a file or rows, in any form that `finetune` takes, or a list of several. Masked-LM:
            .txt files with a sentence or a paragraph in each line and a blank line between documents, or rows with a
            column text, a document each. Classification: rows with a column text, perhaps text_pair, and perhaps label.
            Where the label is missing or empty, only the teacher's outputs count.
        teacher: Folder, embedded model or Hub id of a checkpoint with the task's head.
        student: The same for the student, which has the teacher's vocabulary; see `weight_conversion.make_student`.
        output: Folder to make. It gets the best student, and in its folder 'training' the log of the run.
        eval: The evaluation data, a file or rows. With it the best student is kept, otherwise the last.
        backend: 'pt', 'tf' or 'flax'; the first that is installed if left out.
        recipe: The numbers of the run; those of `DistillationRecipe()` if left out.
        columns: Names of the columns, if they differ from the task's: {'text': 'sentence'}.
        new_head: Draw a new head for the student, even if it has one for this task.
        teacher_dtype: Dtype in which the teacher computes, such as 'bfloat16'; that of the student if left out.
        cache: Folder for the teacher's outputs, so that the next student of the same texts needs no teacher.
        top_k: Keep only the `top_k` largest logits of each token in the cache, and the sum of all others.
        resume: Continue a run that was stopped. All other arguments must be the same as before.
        save_every: Steps between two states from which a stopped run continues, beside those after evaluations.
        keep_states: Number of states to keep; earlier ones are state-STEP.safetensors in the folder 'training'.
        progress: True or False: always or never show a progress bar; None: in a terminal.
        **hub_options: Where to look for both models (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Returns:
        The progress at the end of the run, with the metrics of the best student.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: A checkpoint is missing or damaged, the teacher lacks the head, or there is no run to continue.
        InputError: A file, a column, a label or an argument is impossible, or student and teacher do not fit together.
        TrainingError: The loss is not a number any more. The best student and the last state stay.
        OSError: The disk is full. The best student and the last state stay.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from distilbert_core.training.distillation import DistillationRecipe, distill
        >>> from weight_conversion import make_student
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "texts.tsv")
        ...     _ = file.write_text("text\nWhat a lovely film.\nA waste of time.\n")  # the teacher knows the labels
        ...     _ = make_student("sst2-tiny", Path(folder, "student"), layers=(0, 2, 4))
        ...     done = distill(
        ...         "sequence-classification",
        ...         [file],
        ...         teacher="sst2-tiny",
        ...         student=Path(folder, "student"),
        ...         output=Path(folder, "new"),
        ...         backend="pt",
        ...         recipe=DistillationRecipe(max_steps=2),
        ...     )
        >>> done.step
        2
    """
    kind, recipe = find_task(task, DISTILLATION_TASKS), DistillationRecipe() if recipe is None else recipe
    if top_k is not None and cache is None:
        raise InputError("top_k is the number of logits that a cache keeps; give cache too, or leave it out.")
    lookup, _ = split_hub_options(hub_options)  # `Experiment.prepare` refuses unknown options
    tokenizer = DistilBertTokenizerFast.from_pretrained(student, **lookup)
    _check_vocabulary(tokenizer, student, teacher, lookup)
    dtype = teacher_dtype or recipe.stored_dtype
    experiment = Experiment.prepare(
        kind,
        recipe,
        open_sources("data", data),
        eval=eval,
        model=student,
        output=output,
        backend=backend,
        columns=columns,
        labels=_labels(kind, teacher, lookup),
        new_head=new_head,
        resume=resume,
        hub_options=hub_options,
        tokenizer=tokenizer,
        settings={"teacher": str(teacher), "teacher_dtype": dtype},
    )
    store = None
    if cache is not None:
        settings = {
            "task": task,
            "data": experiment.checksums,
            "teacher": _weights(teacher, lookup),
            "teacher_dtype": dtype,
            **{name: getattr(recipe, name) for name in CACHED_BY},
            **({} if recipe.max_tokens is None else {"max_tokens": recipe.max_tokens}),
        }
        store = TeacherCache.open(cache, settings, top_k=top_k, temperature=recipe.temperature)
    objective = partial(load_distillation, recipe=recipe, teacher=teacher, teacher_dtype=teacher_dtype, cache=store)
    with store or nullcontext():
        return experiment.run(objective, progress, save_every, keep_states)


def _weights(teacher: str | Path, hub_options: Mapping[str, Any]) -> list[str]:
    """Return the checksums of the teacher's weight files."""
    files = {entry.path for entry in Checkpoint(teacher, **hub_options).entries.values()}
    return [file_checksum(file) for file in sorted(files)]


def _labels(kind: type[Task], teacher: str | Path, hub_options: Mapping[str, Any]) -> list[str] | None:
    """Return the names of the labels that the student learns: the teacher's."""
    if kind.head is Head.MASKED_LM:
        return None
    return label_names(DistilBertConfig.from_pretrained(teacher, **hub_options))


def _check_vocabulary(
    tokenizer: BaseTokenizer, student: str | Path, teacher: str | Path, hub_options: Mapping[str, Any]
) -> None:
    """Raise InputError if an id means one token to the student and another to the teacher."""
    ours = tokenizer.get_vocab()
    theirs = DistilBertTokenizerFast.from_pretrained(teacher, **hub_options).get_vocab()
    if ours != theirs:
        differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
        raise InputError(
            f"{student} and {teacher} must have one vocabulary; they differ in {len(differing):,} tokens, such as "
            f"{differing[0]!r}. Make the student of the teacher, or trim the teacher's vocabulary as the student's."
        )
