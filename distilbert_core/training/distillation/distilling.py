"""Distillation: a student learns from a teacher what it says about texts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.files.hub import split_hub_options
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.distillation.cache import TeacherCache
from distilbert_core.training.distillation.classification import PartlyLabelled
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.distillation.texts import PackedMaskedLM
from distilbert_core.training.distillation.trainer import Distiller, load_distiller
from distilbert_core.training.job import Job, find_task
from distilbert_core.training.labels import label_names
from distilbert_core.training.run import Progress
from distilbert_core.training.sources import file_checksum, open_sources
from distilbert_core.training.tasks import Task

TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (PackedMaskedLM, PartlyLabelled)}
# The numbers of a recipe that decide what the teacher is asked, and in which order.
ASKED = ("batch_size", "accumulate", "max_length", "mask_probability", "mask_smoothing", "only_masked", "seed")


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
    progress: bool | None = None,
    **where: Any,
) -> Progress:
    r"""Train a student to say what its teacher says.

    Args:
        task: 'masked-lm', or 'sequence-classification'.
        data: What to learn from: a file or rows, as `train` of `finetune`, or a list of several. Masked-LM: .txt files
            with a sentence or a paragraph a line and a blank line between documents, or rows with a column text, a
            document each. Classification: rows with a column text, maybe text_pair, and maybe label: where that is
            missing or empty the teacher alone says what is right.
        teacher: Folder, embedded model or Hub id of a checkpoint with the task's head.
        student: The same for the student; see `weight_conversion.make_student`. It has the teacher's vocabulary.
        output: Folder to make: the best student, and in its folder 'training' how the run went.
        eval: What to measure the student on, a file or rows; its best state is kept then, else its last.
        backend: 'pt', 'tf' or 'flax'; the first that is installed if left out.
        recipe: The numbers of the run; those of `DistillationRecipe()` if left out.
        columns: Names of the columns, where they are not the task's own: {'text': 'sentence'}.
        new_head: Draw the student's head anew though it has one for this task.
        teacher_dtype: What the teacher computes in, such as 'bfloat16'; the student's dtype if left out.
        cache: Folder to keep what the teacher says in, so that the next student of the same texts needs no teacher.
        top_k: Keep in it only so many logits of each token, the largest, and the sum of all others.
        resume: Go on with a run that was stopped; all else must be as it was.
        progress: True or False: always or never show a progress bar; None: in a terminal.
        **where: Where to look for both models (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Returns:
        How far the run came, and the metrics of the best student.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, the teacher has no such head, or there is no run to
            go on with.
        InputError: A file, a column, a label or an argument is impossible, or student and teacher do not fit together.
        TrainingError: The loss is no number any more. The best student and the last state stay.
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
    kind, recipe = find_task(task, TASKS), DistillationRecipe() if recipe is None else recipe
    if top_k is not None and cache is None:
        raise InputError("top_k says what a cache keeps; give cache too, or leave it out.")
    places, _ = split_hub_options(where)
    _check_vocabularies(student, teacher, places)
    job = Job(
        kind=kind,
        recipe=recipe,
        train=open_sources("data", data),
        eval=eval,
        model=student,
        output=output,
        backend=backend,
        columns=columns,
        labels=_labels(kind, teacher, places),
        new_head=new_head,
        resume=resume,
        where=where,
    )
    dtype = teacher_dtype or recipe.stored_dtype
    store = None
    if cache is not None:
        settings = {
            "task": task,
            "data": job.checksums,
            "teacher": _weights(teacher, places),
            "teacher_dtype": dtype,
            **{name: getattr(recipe, name) for name in ASKED},
        }
        store = TeacherCache.open(cache, settings, top_k=top_k, temperature=recipe.temperature)

    def load(backend: str, head: Head, model: str | Path, recipe: Any, rates: Any, **kwargs: Any) -> Distiller:
        return load_distiller(backend, head, model, teacher, recipe, rates, teacher_dtype=dtype, cache=store, **kwargs)

    with store or nullcontext():
        return job.run(load, progress, {"teacher": str(teacher), "teacher_dtype": dtype})


def _weights(teacher: str | Path, places: Mapping[str, Any]) -> list[str]:
    """Return the checksums of the teacher's weight files."""
    files = {entry.path for entry in Checkpoint(teacher, **places).entries.values()}
    return [file_checksum(file) for file in sorted(files)]


def _labels(kind: type[Task], teacher: str | Path, places: Mapping[str, Any]) -> list[str] | None:
    """Return the names of the labels that the student learns: the teacher's."""
    if kind.head is Head.MASKED_LM:
        return None
    return label_names(DistilBertConfig.from_pretrained(teacher, **places))


def _check_vocabularies(student: str | Path, teacher: str | Path, places: Mapping[str, Any]) -> None:
    """Raise InputError if an id means one token to the student and another to the teacher."""
    ours, theirs = (DistilBertTokenizerFast.from_pretrained(name, **places).get_vocab() for name in (student, teacher))
    if ours != theirs:
        differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
        raise InputError(
            f"{student} and {teacher} must have one vocabulary; they differ in {len(differing):,} tokens, such as "
            f"{differing[0]!r}. Make the student of the teacher, or trim the teacher's vocabulary as the student's."
        )
