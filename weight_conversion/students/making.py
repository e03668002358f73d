"""A smaller model that begins as a part of a larger one: some of its layers, its tokens and its widths.

Sanh et al. 2019 ("DistilBERT", section 2) start the student of a distillation from every other layer of its teacher.
Here a student may also have fewer tokens, which costs nothing for texts made of those it keeps, and smaller widths,
which are a projection and only a better start than random values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from weight_conversion.converting import add_weights, obsolete_files
from weight_conversion.formats import FORMATS
from weight_conversion.reading import open_weights
from weight_conversion.sidecars import file_notes, find_modules, unused_files
from weight_conversion.students.vocabulary import kept_ids, trim_tokenizer
from weight_conversion.students.widths import narrow_arrays, narrow_config
from weight_conversion.weights import LazyTensor, Weights, file_state

if TYPE_CHECKING:
    pass

MODEL_CARD = "README.md"
TOKEN_FIELDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")


def make_student(
    teacher: str | Path,
    destination: str | Path,
    *,
    layers: Iterable[int] | None = None,
    vocabulary: Iterable[int] | None = None,
    dim: int | None = None,
    hidden_dim: int | None = None,
    n_heads: int | None = None,
    head: Head | None = None,
    force: bool = False,
    **where: Any,
) -> Weights:
    """Write a student that begins as a part of its teacher: weights as safetensors, config.json, tokenizer files.

    What is kept keeps its bits, unless `dim` is reduced: layers and tokens are left out whole. The head of a teacher
    comes along, that of a BERT if DistilBERT has it too. The model card does not, as it describes another model.

    Smaller widths need no data, and are a start that training must follow. With a smaller `dim` every vector of the
    residual stream is projected onto the leading principal axes of the word embeddings, normalised as each layer norm
    does it. No layer norm commutes with that, nor does the activation in the masked-LM head. Whole heads are kept,
    those with the largest product of value and output matrices in each layer, and the feed-forward units with the
    largest product of incoming and outgoing weights.

    Args:
        teacher: What `open_weights` reads: a checkpoint of any format, a BERT, an embedded model, or a Hub id.
        destination: Folder to write.
        layers: The layers of the teacher to keep, in the student's order; None: every other one, from the first.
            Transformers' distillation script took 0, 2, 4, 7, 9, 11 of 12 where None takes 0, 2, 4, 6, 8, 10.
        vocabulary: Ids of the tokens to keep, such as `corpus_vocabulary` gives; None keeps all. They are numbered anew
            in the order of their old ids. The special tokens must be among them.
        dim: Width of the student; None: the teacher's. A head keeps its width, so `dim` must be `n_heads` times that.
        hidden_dim: Width of its feed-forward layer; None: the teacher's.
        n_heads: Number of its heads; None: as many as `dim` has room for. Given alone it sets `dim`.
        head: What is to stand on the body; what the teacher has if left out. What it lacks of that head is drawn at
            random, and noted.
        force: Write into a folder that has files. Those of the same names are replaced; other weights, and files of a
            tokenizer if the teacher has one, are removed.
        **where: Where to look for the teacher (`revision`, `cache_dir`, `token`, `local_files_only`,
            `force_download`, `subfolder`).

    Returns:
        The student as it was written; its `notes` say what was dropped, made, left behind or removed on the way.

    Raises:
        CheckpointError: The teacher is not there, is damaged, is no DistilBERT, or was changed meanwhile; or the
            destination has files and `force` is not given.
        InputError: The teacher has no such layers, tokens or widths.
        OSError: The destination cannot be written.
        TypeError: A keyword is unknown.

    Example:
        >>> import tempfile
        >>> from weight_conversion import make_student
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     student = make_student("sst2-tiny", f"{folder}/student", layers=(0, 5), hidden_dim=640)
        >>> student.config.n_layers, student.tensors["distilbert.transformer.layer.1.ffn.lin1.weight"].shape
        (2, (640, 224))
        >>> student.notes
        ['Of 6 layers, 0, 5 were kept.', 'hidden_dim was reduced from 1280 to 640.']
    """
    folder = Path(destination).expanduser()
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there already; give force=True to replace files in it.")

    weights = open_weights(teacher, head, **where)
    old = weights.config
    kept = _kept_layers(old, layers)
    ids = kept_ids(old, vocabulary)
    sidecars = {name: content for name, content in weights.sidecars.items() if name != MODEL_CARD}
    if ids is not None and sidecars.keys() & {"tokenizer.json", "vocab.txt"}:
        sidecars = trim_tokenizer(sidecars, ids)
    part = _part_config(old, kept, ids)
    new = narrow_config(part, dim, hidden_dim, n_heads)

    arrays = _read_part(weights, part, kept, ids)
    arrays = narrow_arrays(arrays, weights.head, part, new)
    dtype = next(iter(arrays.values())).dtype.name
    new = new.updated(architectures=[weights.head.architecture], torch_dtype=dtype)
    tensors = {
        name: LazyTensor(array.shape, array.dtype.name, partial(np.asarray, array), f"{folder}: {name}")
        for name, array in arrays.items()
    }
    student = replace(weights, config=new, tensors=tensors)

    def check_teacher() -> None:
        if file_state(weights.paths) != weights.state:
            raise CheckpointError(f"{teacher} was changed while it was read; nothing was written. Run it again.")

    files = add_weights(
        {CONFIG_FILE: new.to_json_string().encode(), **sidecars}, FORMATS["pt"], student, tensors, sys.maxsize
    )
    old_files = obsolete_files(folder, files)
    rest = unused_files(weights, folder, find_modules(weights.source, where))
    replace_files(folder, files, obsolete=old_files, before=check_teacher)
    notes = [*weights.notes, *_changes(old, new, kept), *file_notes(rest, folder, old_files)]
    return replace(open_weights(folder, weights.head), notes=notes, sidecars=sidecars)


# -- layers and tokens ------------------------------------------------------------------------------------------


def _kept_layers(config: DistilBertConfig, layers: Iterable[int] | None) -> list[int]:
    kept = list(range(0, config.n_layers, 2) if layers is None else layers)
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(config.n_layers)):
        raise InputError(
            f"layers must name layers of the teacher, each at most once, from 0 to {config.n_layers - 1}, got {kept}."
        )
    return kept


def _part_config(config: DistilBertConfig, layers: Sequence[int], ids: Sequence[int] | None) -> DistilBertConfig:
    """Return the configuration of some layers and tokens, of the teacher's widths."""
    pruned = {new: config.pruned_heads[old] for new, old in enumerate(layers) if old in config.pruned_heads}
    changes: dict[str, Any] = {"n_layers": len(layers), "pruned_heads": pruned}
    if ids is not None:
        renumbered = {old: new for new, old in enumerate(ids)}
        changes |= {name: renumbered.get(getattr(config, name)) for name in TOKEN_FIELDS}
        changes |= {"vocab_size": len(ids)}
    return config.updated(**changes)


# -- widths -----------------------------------------------------------------------------------------------------


def _changes(old: DistilBertConfig, new: DistilBertConfig, layers: Sequence[int]) -> list[str]:
    """Return a sentence for each size, token and table that is not the teacher's."""
    notes = []
    if layers != list(range(old.n_layers)):
        notes.append(f"Of {old.n_layers} layers, {', '.join(map(str, layers))} were kept.")
    if new.vocab_size < old.vocab_size:
        notes.append(f"Of {old.vocab_size} tokens, {new.vocab_size} were kept.")
    lost = [name for name in TOKEN_FIELDS if getattr(old, name) is not None and getattr(new, name) is None]
    notes += [f"{name} is None now: token {getattr(old, name)} was not kept." for name in lost]
    for name in ("dim", "n_heads", "hidden_dim"):
        before, after = getattr(old, name), getattr(new, name)
        if after < before:
            notes.append(f"{name} was reduced from {before} to {after}.")
    if old.sinusoidal_pos_embds and not new.sinusoidal_pos_embds:
        notes.append("The position table is a learned one now: projected, it is no table of sines any more.")
    return notes


def _read_part(
    weights: Weights, part: DistilBertConfig, layers: Sequence[int], ids: Sequence[int] | None
) -> dict[str, np.ndarray]:
    tables = [parameter_table(config, weights.head) for config in (part, weights.config)]
    arrays = {}
    for new, old in [(None, None), *enumerate(layers)]:
        rows = ([p for p in table if p.layer == layer] for table, layer in zip(tables, (new, old), strict=True))
        for parameter, source in zip(*rows, strict=True):
            if parameter.tied_to is None:
                array = weights.tensors[source.name].read()
                of_words = ids is not None and parameter.axes[0] == "vocab"
                arrays[parameter.name] = array[ids] if of_words else array
    return arrays
