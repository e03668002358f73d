"""A smaller model that begins as a part of a larger one: some of its layers, its tokens and its widths.

Sanh et al. 2019 ("DistilBERT", section 2) start the student of a distillation from every other layer of its teacher.
Here a student may also have fewer tokens, which costs nothing for texts made of those it keeps, and smaller widths,
which are a projection and only a better start than random values.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.model.config import CONFIG_FILE, NORM_EPSILON, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import Kind, Parameter
from weight_conversion.companions import TOKENIZER_FILES, file_notes, find_modules, load_tokenizer, unused_files
from weight_conversion.converting import add_weights, obsolete_files
from weight_conversion.formats import FORMATS
from weight_conversion.reading import open_weights
from weight_conversion.weights import Tensor, Weights, file_state

if TYPE_CHECKING:
    from distilbert_core.tokenization.base import BaseTokenizer

MODEL_CARD = "README.md"
TOKEN_FIELDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")
TEXTS_AT_ONCE = 1000

# Axes of the residual stream. The hidden size of a head is one of them, unless the student keeps some of its units:
# the masked-LM head compares its hidden states with the word embeddings.
STREAM = ("embed", "hidden")


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
    ids = _kept_ids(old, vocabulary)
    companions = {name: content for name, content in weights.companions.items() if name != MODEL_CARD}
    if ids is not None and companions.keys() & {"tokenizer.json", "vocab.txt"}:
        companions = _trim_tokenizer(companions, ids)
    part = _part_config(old, kept, ids)
    new = _narrow_config(part, dim, hidden_dim, n_heads)

    arrays = _read_part(weights, part, kept, ids)
    arrays = _narrow(arrays, weights.head, part, new)
    dtype = next(iter(arrays.values())).dtype.name
    new = new.updated(architectures=[weights.head.architecture], torch_dtype=dtype)
    tensors = {
        name: Tensor(array.shape, array.dtype.name, partial(np.asarray, array), f"{folder}: {name}")
        for name, array in arrays.items()
    }
    student = replace(weights, config=new, tensors=tensors)

    def check_teacher() -> None:
        if file_state(weights.paths) != weights.state:
            raise CheckpointError(f"{teacher} was changed while it was read; nothing was written. Run it again.")

    files = add_weights(
        {CONFIG_FILE: new.to_json_string().encode(), **companions}, FORMATS["pt"], student, tensors, sys.maxsize
    )
    old_files = obsolete_files(folder, files)
    rest = unused_files(weights, folder, find_modules(weights.source, where))
    replace_files(folder, files, obsolete=old_files, before=check_teacher)
    notes = [*weights.notes, *_changes(old, new, kept), *file_notes(rest, folder, old_files)]
    return replace(open_weights(folder, weights.head), notes=notes, companions=companions)


def corpus_vocabulary(tokenizer: BaseTokenizer, texts: Iterable[str], size: int | None = None) -> list[int]:
    """Return the ids of the tokens that a corpus needs: a `vocabulary` for `make_student`.

    Special tokens and those of a single character, at the beginning of a word or within one, are always among them.
    With the tokenizer of the student then:

    - A word of which all tokens were kept is split as before. Without `size` those are all words of the corpus.
    - Any other word is spelt with what was kept. It becomes [UNK] only if it did before, or if it has a character that
      was no token by itself at such a place (the first of a word, or within one).

    Args:
        tokenizer: The teacher's.
        texts: The corpus; may be a generator.
        size: Number of ids to return, the most frequent ones besides those that are always there; of equal frequency
            the lower. None: all that occur.

    Returns:
        Ids in ascending order, at most `size`.

    Raises:
        InputError: `texts` is a single text, or `size` has no room for the tokens that are always there.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> from weight_conversion import corpus_vocabulary
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> characters = corpus_vocabulary(tokenizer, [])
        >>> more = corpus_vocabulary(tokenizer, ["A fine film.", "Fine, a film!"], size=len(characters) + 1)
        >>> tokenizer.convert_ids_to_tokens(sorted(set(more) - set(characters)))
        ['film']
    """
    if isinstance(texts, str):
        raise InputError("texts must be several texts, such as a list, got one text.")
    prefix = tokenizer.specification().prefix
    always = set(tokenizer.all_special_ids)
    always |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    always |= {index for token, index in tokenizer.get_vocab().items() if len(token.removeprefix(prefix)) == 1}
    if size is not None and size < len(always):
        raise InputError(
            f"size must be at least {len(always)}, the number of special tokens and characters, got {size}."
        )
    counts: Counter[int] = Counter()
    source = iter(texts)
    while batch := list(islice(source, TEXTS_AT_ONCE)):
        for ids in tokenizer(batch, verbose=False)["input_ids"]:
            counts.update(ids)
    occurring = sorted(counts.keys() - always, key=lambda index: (-counts[index], index))
    room = None if size is None else size - len(always)
    return sorted([*always, *occurring[:room]])


# -- layers and tokens ------------------------------------------------------------------------------------------


def _kept_layers(config: DistilBertConfig, layers: Iterable[int] | None) -> list[int]:
    kept = list(range(0, config.n_layers, 2) if layers is None else layers)
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(config.n_layers)):
        raise InputError(
            f"layers must name layers of the teacher, each at most once, from 0 to {config.n_layers - 1}, got {kept}."
        )
    return kept


def _kept_ids(config: DistilBertConfig, vocabulary: Iterable[int] | None) -> list[int] | None:
    if vocabulary is None:
        return None
    ids = sorted({int(index) for index in vocabulary})
    if not ids or ids[0] < 0 or ids[-1] >= config.vocab_size:
        found = f"ids from {ids[0]} to {ids[-1]}" if ids else "none"
        raise InputError(f"vocabulary must hold ids from 0 to {config.vocab_size - 1}, got {found}.")
    if config.pad_token_id is not None and config.pad_token_id not in ids:
        raise InputError(f"vocabulary must hold the padding token, id {config.pad_token_id}.")
    return ids


def _part_config(config: DistilBertConfig, layers: Sequence[int], ids: Sequence[int] | None) -> DistilBertConfig:
    """Return the configuration of some layers and tokens, of the teacher's widths."""
    pruned = {new: config.pruned_heads[old] for new, old in enumerate(layers) if old in config.pruned_heads}
    changes: dict[str, Any] = {"n_layers": len(layers), "pruned_heads": pruned}
    if ids is not None:
        renumbered = {old: new for new, old in enumerate(ids)}
        changes |= {name: renumbered.get(getattr(config, name)) for name in TOKEN_FIELDS}
        changes |= {"vocab_size": len(ids)}
    return config.updated(**changes)


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


def _trim_tokenizer(companions: Mapping[str, bytes], ids: Sequence[int]) -> dict[str, bytes]:
    """Return the files with those of a tokenizer that knows some of the tokens, numbered anew."""
    from distilbert_core.tokenization import DistilBertTokenizerFast
    from distilbert_core.tokenization.files import SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE

    tokenizer = load_tokenizer(DistilBertTokenizerFast, companions)
    renumbered = {old: new for new, old in enumerate(ids)}
    lost = [token for token in tokenizer.all_special_tokens if tokenizer.vocab[token] not in renumbered]
    if lost:
        raise InputError(f"vocabulary must hold the special tokens, it lacks {', '.join(lost)}.")
    unnamed = sorted(set(ids) - set(tokenizer.vocab.values()))
    if unnamed:
        raise InputError(f"vocabulary must hold ids of tokens, the tokenizer has none for {unnamed[:8]}.")

    files = tokenizer.files()
    engine = json.loads(files[TOKENIZER_FILE])
    stored = engine["model"]["vocab"]
    engine["model"]["vocab"] = {token: renumbered[old] for token, old in stored.items() if old in renumbered}
    engine["added_tokens"] = [
        token | {"id": renumbered[token["id"]]} for token in engine["added_tokens"] if token["id"] in renumbered
    ]
    options = json.loads(files[TOKENIZER_CONFIG_FILE])
    del options["added_tokens_decoder"]  # the engine knows them
    trimmed = load_tokenizer(
        DistilBertTokenizerFast,
        {
            TOKENIZER_FILE: json.dumps(engine).encode(),
            TOKENIZER_CONFIG_FILE: json.dumps(options).encode(),
            SPECIAL_TOKENS_FILE: files[SPECIAL_TOKENS_FILE],
        },
    )
    others = {name: content for name, content in companions.items() if name not in TOKENIZER_FILES}
    return others | trimmed.files()


# -- widths -----------------------------------------------------------------------------------------------------


def _narrow_config(
    config: DistilBertConfig, dim: int | None, hidden_dim: int | None, n_heads: int | None
) -> DistilBertConfig:
    size = config.head_size
    if dim is None:
        dim = config.dim if n_heads is None else n_heads * size
    n_heads = dim // size if n_heads is None else n_heads
    hidden_dim = config.hidden_dim if hidden_dim is None else hidden_dim
    changes: dict[str, Any] = {"dim": dim, "hidden_dim": hidden_dim, "n_heads": n_heads}
    for name, value in changes.items():
        if not 1 <= value <= getattr(config, name):
            raise InputError(f"{name} must be from 1 to the teacher's {getattr(config, name)}, got {value}.")
    if dim != n_heads * size:
        raise InputError(f"dim must be n_heads times {size}, the width of a head, got dim={dim} and n_heads={n_heads}.")
    if dim < config.dim:
        changes["sinusoidal_pos_embds"] = False  # a projected table is no table of sines
        left = {layer: len(config.kept_heads(layer)) for layer in range(config.n_layers)}
        changes["pruned_heads"] = {layer: list(range(n, n_heads)) for layer, n in left.items() if n < n_heads}
    return config.updated(**changes)


def _narrow(
    arrays: Mapping[str, np.ndarray], head: Head, old: DistilBertConfig, new: DistilBertConfig
) -> dict[str, np.ndarray]:
    """Return arrays of smaller widths; those without an axis that changes are returned as they are."""
    table = [parameter for parameter in parameter_table(old, head) if parameter.tied_to is None]
    kept = _kept_units(arrays, table, old, new)
    stream = _stream_axes(arrays, table, new.dim) if new.dim < old.dim else None
    narrowed = {}
    for parameter in table:
        array = arrays[parameter.name]
        narrowed[parameter.name] = _narrow_array(parameter, array, kept, stream).astype(array.dtype)
    return narrowed


def _narrow_array(
    parameter: Parameter,
    array: np.ndarray,
    kept: Mapping[tuple[int | None, str], np.ndarray],
    stream: np.ndarray | None,
) -> np.ndarray:
    """Return the array of a parameter with the kept units and the principal axes of the stream."""
    if parameter.kind in (Kind.NORM_SCALE, Kind.NORM_BIAS):
        if stream is None:
            return array
        # A scale is the diagonal of a matrix. The student keeps the diagonal of the projected matrix.
        return array.astype(np.float64) @ (stream**2 if parameter.kind is Kind.NORM_SCALE else stream)
    for axis, name in enumerate(parameter.axes):
        units = kept.get((parameter.layer, name))
        if units is not None:
            array = array.take(units, axis)
        elif name in STREAM and stream is not None:
            array = np.moveaxis(np.tensordot(array.astype(np.float64), stream, (axis, 0)), -1, axis)
    return array


def _kept_units(
    arrays: Mapping[str, np.ndarray], table: Sequence[Parameter], old: DistilBertConfig, new: DistilBertConfig
) -> dict[tuple[int | None, str], np.ndarray]:
    """Return the indices of the units that the student keeps, by the layer and the name of their axis."""
    kernels = [parameter for parameter in table if parameter.kind is Kind.KERNEL]
    kept = {}
    for layer in (None, *range(old.n_layers)):
        for axis, size, count, group in (
            ("heads", old.n_heads, new.n_heads, old.head_size),
            ("mlp", old.hidden_dim, new.hidden_dim, 1),
            ("hidden", old.dim, new.dim, 1),
        ):
            # Of the projections of the attention the values come last, and they alone reach the output.
            before = [arrays[p.name] for p in kernels if p.layer == layer and p.axes[0] == axis]
            after = [arrays[p.name] for p in kernels if p.layer == layer and p.axes[1] == axis]
            if count < size and before and after:
                kept[layer, axis] = strongest_units(before[-1], after[0], count, group)
    return kept


def strongest_units(first: np.ndarray, second: np.ndarray, count: int, size: int = 1) -> np.ndarray:
    """Return the units between two dense layers whose share of the product `second @ first` has the largest norm.

    Args:
        first: Kernel of the layer before, [units, in].
        second: Kernel of the layer after, [out, units].
        count: Number of groups of units to keep; all where there are fewer.
        size: Neighbouring units that stay together, the width of a head.

    Returns:
        Their indices in ascending order.
    """
    before = first.astype(np.float64).reshape(-1, size, first.shape[1])  # [groups, size, in]
    after = second.T.astype(np.float64).reshape(-1, size, second.shape[0])  # [groups, size, out]
    # The squared norm of A B is the sum over the elements of (A^T A) * (B B^T), which are small here.
    strength = ((before @ before.swapaxes(1, 2)) * (after @ after.swapaxes(1, 2))).sum((1, 2))
    groups = np.sort(np.argsort(-strength, kind="stable")[:count])
    return (groups[:, None] * size + np.arange(size)).ravel()


def _stream_axes(arrays: Mapping[str, np.ndarray], table: Sequence[Parameter], dim: int) -> np.ndarray:
    """Return the leading principal axes [teacher's width, dim] of the residual stream, as far as no data tells it.

    Its states are taken to be the normalised word embeddings with the scale and bias of each layer norm in turn, each
    norm weighing the same. The mean is not removed: it is the strongest axis.
    """
    words = next(arrays[parameter.name] for parameter in table if parameter.axes[0] == "vocab").astype(np.float64)
    centred = words - words.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPSILON)  # [V, D]
    moment, mean = normal.T @ normal / len(normal), normal.mean(0)
    total = np.zeros_like(moment)
    norms = [p for p in table if p.kind in (Kind.NORM_SCALE, Kind.NORM_BIAS) and not p.of_head]
    for norm in zip(norms[::2], norms[1::2], strict=True):
        scale, bias = (arrays[parameter.name].astype(np.float64) for parameter in norm)
        cross = np.outer(scale * mean, bias)
        states = np.outer(scale, scale) * moment + cross + cross.T + np.outer(bias, bias)  # their second moment
        total += states / np.trace(states)
    return np.linalg.eigh(total).eigenvectors[:, : -dim - 1 : -1]


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
