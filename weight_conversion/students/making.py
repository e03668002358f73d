"""A student: a smaller model that starts as a part of a larger one, with some of its layers, tokens and widths.

Sanh et al. 2019 ("DistilBERT", section 2) initialise the student of a distillation with every other layer of its
teacher. Here a student can also have fewer tokens, which changes nothing for texts of those tokens, and smaller widths,
which need a projection and are only a better start than random values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import CARD_FILE
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from weight_conversion.formats import FORMATS
from weight_conversion.reading import open_weights
from weight_conversion.sidecars import file_notes, find_modules, unused_files
from weight_conversion.students.vocabulary import kept_ids, trim_tokenizer
from weight_conversion.students.widths import narrow_arrays, narrow_config
from weight_conversion.weights import LazyTensor, Weights, first_dtype
from weight_conversion.writing import add_weights, check_destination, obsolete_files, unchanged_check

TOKEN_FIELDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")


def make_student(
    teacher: str | Path | Weights,
    destination: str | Path,
    *,
    layers: Iterable[int] | None = None,
    vocabulary: Iterable[int] | None = None,
    dim: int | None = None,
    hidden_dim: int | None = None,
    n_heads: int | None = None,
    head: Head | None = None,
    force: bool = False,
    **hub_options: Any,
) -> Weights:
    """Write a student that starts as a part of its teacher: model.safetensors, config.json and tokenizer files.

    Layers and tokens are kept or left out as a whole, so their values keep their bits unless `dim` is reduced. The head
    of the teacher is kept, also the head of a BERT if DistilBERT has the same head. The model card is not copied, as it
    describes another model.

    Smaller widths need no data, but must be trained afterwards. With a smaller `dim`, every vector of the residual
    stream is projected onto the leading principal axes of the word embeddings, normalised like the output of each layer
    norm. The projection does not commute with layer norms, nor with the activation in the masked-LM head. In each layer
    the attention heads with the largest product of value and output matrices are kept, and the feed-forward units with
    the largest product of incoming and outgoing weights.

    Args:
        teacher: A checkpoint of any format, a BERT, an embedded model, a Hub id, or open weights.
        destination: Folder to write.
        layers: Layers of the teacher to keep, in the order of the student; None: every other layer, from the first.
            For 12 layers None keeps 0, 2, 4, 6, 8, 10; Transformers' distillation script kept 0, 2, 4, 7, 9, 11.
        vocabulary: Ids of the tokens to keep, for example from `corpus_vocabulary`; None keeps all. The tokens get new
            ids in the order of their old ids. The special tokens must be among them.
        dim: Model size of the student; None: as the teacher. Heads keep their size, so `dim` must be a multiple of it.
        hidden_dim: Feed-forward size; None: as the teacher.
        n_heads: Number of attention heads; None: as many as fit into `dim`. Given alone, it determines `dim`.
        head: Task head of the result; None: the head of the teacher. Parameters of the head that the teacher lacks are
            initialised at random, with a note.
        force: Write into a folder that has files. Files with the same names are replaced. Other weights, and tokenizer
            files if the teacher has a tokenizer, are removed.
        **hub_options: Options for the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`).

    Returns:
        The student, opened. Its `notes` name everything that was dropped, added, left behind or removed.

    Raises:
        CheckpointError: The teacher does not exist, is damaged, is not a DistilBERT, or was changed in the meantime; or
            the destination has files and `force` is not given.
        InputError: Layers, tokens or widths do not fit the teacher.
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
    check_destination(folder, force)

    weights = open_weights(teacher, head, **hub_options)
    check_teacher = unchanged_check(weights)
    old = weights.config
    kept = _kept_layers(old, layers)
    ids = kept_ids(old, vocabulary)
    sidecars = {name: content for name, content in weights.sidecars.items() if name != CARD_FILE}
    if ids is not None and sidecars.keys() & {"tokenizer.json", "vocab.txt"}:
        sidecars = trim_tokenizer(sidecars, ids)
    part = _part_config(old, kept, ids)
    new = narrow_config(part, dim, hidden_dim, n_heads)

    arrays = _read_part(weights, part, kept, ids)
    arrays = narrow_arrays(arrays, weights.head, part, new)
    tensors = {name: LazyTensor.of(array, f"{folder}: {name}") for name, array in arrays.items()}
    new = new.updated(architectures=[weights.head.architecture], torch_dtype=first_dtype(tensors))
    student = replace(weights, config=new, tensors=tensors)

    files = add_weights({CONFIG_FILE: new.to_json_string().encode(), **sidecars}, FORMATS["pt"], student, tensors)
    unused = unused_files(weights, folder, find_modules(weights.source, hub_options))
    removed = replace_files(folder, files, obsolete=lambda: obsolete_files(folder, files), before=check_teacher)
    notes = [*weights.notes, *_changes(old, new, kept), *file_notes(unused, folder, removed)]
    return replace(open_weights(folder, weights.head), notes=notes, sidecars=sidecars)


def _kept_layers(config: DistilBertConfig, layers: Iterable[int] | None) -> list[int]:
    """Return the indices of the layers to keep, checked."""
    kept = list(range(0, config.n_layers, 2) if layers is None else layers)
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(config.n_layers)):
        raise InputError(
            f"layers must name layers of the teacher, each at most once, from 0 to {config.n_layers - 1}, got {kept}."
        )
    return kept


def _part_config(config: DistilBertConfig, layers: Sequence[int], ids: Sequence[int] | None) -> DistilBertConfig:
    """Return the configuration of a student with some layers and tokens, and with the widths of the teacher."""
    pruned = {new: config.pruned_heads[old] for new, old in enumerate(layers) if old in config.pruned_heads}
    changes: dict[str, Any] = {"n_layers": len(layers), "pruned_heads": pruned}
    if ids is not None:
        renumbered = {old: new for new, old in enumerate(ids)}
        changes |= {name: renumbered.get(getattr(config, name)) for name in TOKEN_FIELDS}
        changes |= {"vocab_size": len(ids)}
    return config.updated(**changes)


def _changes(old: DistilBertConfig, new: DistilBertConfig, layers: Sequence[int]) -> list[str]:
    """Return a note on each size, token and table that differs from the teacher."""
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
        notes.append("The position table is learned now: after the projection it does not hold sines any more.")
    return notes


def _read_part(
    weights: Weights, part: DistilBertConfig, layers: Sequence[int], ids: Sequence[int] | None
) -> dict[str, np.ndarray]:
    """Return the arrays of the kept layers and tokens by the names of the student."""
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
