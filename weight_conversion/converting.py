"""Conversion from one format to another. The destination appears only when it is complete."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core import __version__
from distilbert_core.checks import check_choice
from distilbert_core.errors import CheckpointWarning, InputError, listed
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.checksums import verify_files
from distilbert_core.files.hub import CARD_FILE
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.files.selection import Selection
from distilbert_core.files.shards import parse_size
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.model_cards import add_conversion, model_card, shown_name
from weight_conversion.calibration import calibration_rows
from weight_conversion.exports import check_export
from weight_conversion.formats import FORMATS
from weight_conversion.formats.base import Files, contiguous
from weight_conversion.reading import open_weights
from weight_conversion.sentences import find_pooling
from weight_conversion.sidecars import file_notes, find_modules, unused_files
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, cast, first_dtype, read_ahead
from weight_conversion.writing import add_weights, check_destination, obsolete_files, stored_tensors, unchanged_check

READERS = 2  # threads that read and transpose the next tensors


def convert(
    source: str | Path | Weights,
    destination: str | Path,
    to: str = "pt",
    *,
    dtype: str | None = None,
    head: Head | None = None,
    max_shard_size: int | str = "5GB",
    force: bool = False,
    progress: Callable[[int], None] | None = None,
    calibrate: Sequence[Sequence[int]] | None = None,
    check: Callable[[Path], str] | None = None,
    checksum: bool = False,
    verify: bool = False,
    pooling: str | None = None,
    normalize: bool = False,
    card: bool = False,
    **hub_options: Any,
) -> Weights:
    """Convert a checkpoint to another format.

    All values keep their bits, unless `dtype` asks for another dtype. The configuration, the tokenizer files and the
    model card are copied. For formats that sentence-transformers reads, its modules are copied, too. All other files of
    a local folder are left behind, with a note. An exported model is run by its runtime before it appears, and compared
    with the source in float64; a note says how much it differs.

    Args:
        source: A folder, a weight file with config.json beside it, an embedded model, a Hub id, or open weights.
        destination: Folder to write.
        to: Name of a format in `weight_conversion.FORMATS`.
        dtype: Dtype of the result; None: the dtype of the source.
        head: Head of the result; None: the head of the source.
        max_shard_size: Split weights larger than this, in bytes or as a text ('5GB').
        force: Write into a folder that has files. Files with the same names are replaced. Weights of other formats, and
            older tokenizer files if the source has a tokenizer, are removed, as they would be read instead of the new
            files.
        progress: Called for each tensor that was written, with its number of bytes.
        calibrate: The token ids of texts like those that the model will get, for the formats with static int8. At most
            300 texts are used.
        check: Called with a folder that holds the complete result, before it appears. It returns a note, or raises an
            error, after which nothing is written.
        checksum: List the SHA-256 of the files in checksums.sha256, which `sha256sum -c` and `verify` read.
        verify: Compare the files of the source with its checksums.sha256, or with their checksums on the Hub, first.
        pooling: 'mean' or 'cls': the vector of a text, for a base model without modules of sentence-transformers. 'pt'
            and 'bin' write such modules; graphs for padded batches have the further output `sentence_embedding`. A
            source with modules needs no `pooling`.
        normalize: Scale that vector to length 1.
        card: Add a line about this conversion to the model card (README.md): the file that was read, the format, the
            dtype, and how the result was compared. A checkpoint without a card gets one.
        **hub_options: Options for the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`).

    Returns:
        The converted weights. Their `notes` name everything that was dropped, added, left behind or removed.

    Raises:
        CheckpointError: The source does not exist, is damaged, is not a DistilBERT, or was changed in the meantime; or
            the destination has files and `force` is not given.
        InputError: The format or the dtype is unknown; or texts for calibration are missing, empty, or not for this
            format.
        OSError: The destination cannot be written.
        TypeError: A keyword is unknown.

    Warns:
        CheckpointWarning: A tensor holds NaN or infinite values, or values that are too large for `dtype`.

    Example:
        >>> import tempfile
        >>> from weight_conversion import convert, open_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     weights = convert("sst2-tiny", f"{folder}/flax", to="msgpack")
        ...     open_weights(f"{folder}/flax").format
        'msgpack'
    """
    check_choice("to", to, FORMATS)
    if dtype is not None:
        check_choice("dtype", dtype, NUMPY_DTYPES)
    folder, format, limit = Path(destination).expanduser(), FORMATS[to], parse_size(max_shard_size)
    check_destination(folder, force)
    if format.is_calibrated and calibrate is None:
        raise InputError(
            f"{to} needs texts like those that the model will get: calibrate (--calibrate FILE). onnx-int8 needs none."
        )
    if not format.is_calibrated and calibrate is not None:
        known = ", ".join(row.name for row in FORMATS.values() if row.is_calibrated)
        raise InputError(f"calibrate (--calibrate) is for the formats {known}, not for {to}.")

    for graph in format.graphs:
        graph.runtime.library()  # it checks the result; better a message now than then
    weights = open_weights(source, head, **hub_options)
    if verify:
        verify_files(weights.name, weights.paths)
    underflows: dict[str, int] = {}
    tensors = {
        name: _cast(name, _watched(name, tensor), dtype or tensor.dtype, underflows)
        for name, tensor in weights.tensors.items()
    }
    config = weights.config.updated(architectures=[weights.head.architecture], torch_dtype=first_dtype(tensors))
    files: Files = {CONFIG_FILE: config.to_json_string().encode(), **weights.sidecars}
    modules = find_modules(weights.source, hub_options)
    copied = modules if format.modules else {}
    files |= {name: partial(shutil.copyfile, path) for name, path in copied.items()}
    pooled, pooling_notes = find_pooling(pooling, normalize, modules, weights.head)
    if pooling is not None and pooled is not None:
        if not format.modules and not format.pools:
            known = ", ".join(row.name for row in FORMATS.values() if row.modules or row.pools)
            raise InputError(f"pooling (--pooling) is for the formats {known}, not for {to}.")
        files |= pooled.files(config) if format.modules else {}
    if format.pools:
        assert format.layout_files is not None  # a graph has it
        format = replace(format, layout_files=partial(format.layout_files, pooling=pooled))
    unused = unused_files(weights, folder, modules, copied)
    check_source = unchanged_check(weights, list(modules.values()))

    with ThreadPoolExecutor(READERS) as pool:
        stored = read_ahead(stored_tensors(format, replace(weights, tensors=tensors)), pool, contiguous)
        if progress is not None:
            stored = {name: _counted(tensor, progress) for name, tensor in stored.items()}
        size = sum(tensor.nbytes for tensor in stored.values())
        checked = pooling_notes if format.pools else []
        if calibrate is not None:
            rows, note = calibration_rows(calibrate, weights.head)
            assert format.layout_files is not None  # a graph has it
            format = replace(format, layout_files=partial(format.layout_files, calibration=rows))
            checked.append(note)
        written = replace(weights, config=config)
        files = add_weights(files, format, written, stored, limit)
        if format.graphs:
            arguments = format, written, stored_tensors(format, weights), first_dtype(tensors)
            files = _with_check(files, lambda folder: checked.extend(check_export(folder, *arguments, pooled)))
        if check is not None:
            files = _with_check(files, lambda folder: checked.append(check(folder)))
        if card:
            files.pop(CARD_FILE, None)  # it is written after the weights, which are compared first
            files[CARD_FILE] = partial(_write_card, name=folder.absolute().name, to=to, weights=written, notes=checked)
        removed = replace_files(
            folder, files, obsolete=lambda: obsolete_files(folder, files), before=check_source, checksum=checksum
        )

    notes = [] if format.unwritten is None else format.unwritten(weights.sidecars, replace(weights, tensors=tensors))
    if size > limit and not format.split:
        notes.append(f"max_shard_size={max_shard_size} was not applied: {format.title} is not split.")
    notes += checked
    if any(underflows.values()):
        names = listed([name for name, count in underflows.items() if count])
        notes.append(f"{sum(underflows.values())} values were too small for {dtype} and became 0, in {names}.")
    return replace(weights, notes=[*weights.notes, *notes, *file_notes(unused, folder, removed)])


def _write_card(path: Path, *, name: str, to: str, weights: Weights, notes: Sequence[str]) -> None:
    """Write the model card of a result, with a line about the conversion."""
    card = weights.sidecars.get(CARD_FILE, b"").decode()
    card = card or model_card(name, weights.head, weights.config, base_model=weights.source)
    begun = f"`{weights.format}` of `{shown_name(weights.source)}`"
    line = f"From {begun} to `{to}`, {weights.config.torch_dtype}, by distilbert {__version__}."
    path.write_bytes(add_conversion(card, " ".join([line, *notes])).encode())


NATIVE_FORMATS = {"torch": "bin", "keras": "h5", "flax": "msgpack"}  # framework -> the format of Transformers 4


def save_native(
    folder: str | Path,
    framework: str,
    config: DistilBertConfig,
    head: Head,
    arrays: Mapping[str, np.ndarray],
    max_shard_size: int | str,
    variant: str | None = None,
    checksum: bool = False,
) -> None:
    """Write a model in the format that Transformers 4 used for a framework.

    Args:
        folder: Destination; made if it does not exist. Older weight files in it are removed.
        framework: 'torch', 'keras' or 'flax'.
        config: The configuration.
        head: The head.
        arrays: The arrays by canonical name.
        max_shard_size: Split weights larger than this, in bytes or as a text ('5GB').
        variant: As in `Selection`.
        checksum: List the SHA-256 of the files in checksums.sha256.

    Raises:
        CheckpointError: The format cannot hold the dtype of the arrays, or a library is not installed.
    """
    named = FORMATS[NATIVE_FORMATS[framework]]
    is_split = variant is None  # shards of a variant are not written
    format = replace(named, file=Selection(variant).file(named.file), split=is_split)
    weights = Weights(config, head, {name: LazyTensor.of(array, name) for name, array in arrays.items()})
    files: Files = {CONFIG_FILE: config.to_json_string().encode()}
    files = add_weights(files, format, weights, stored_tensors(format, weights), parse_size(max_shard_size))
    kept = [*files, *TOKENIZER_FILES]
    replace_files(folder, files, obsolete=lambda: obsolete_files(Path(folder).expanduser(), kept), checksum=checksum)


def _with_check(files: Files, check: Callable[[Path], None]) -> Files:
    """Return files of which the last, with the weights, is written together with a check of their folder."""
    *_, last = files
    write = files[last]

    def write_and_check(path: Path) -> None:
        write(path) if callable(write) else path.write_bytes(write)
        check(path.parents[last.count("/")])

    return {**files, last: write_and_check}


def _counted(tensor: LazyTensor, progress: Callable[[int], None]) -> LazyTensor:
    """Return a tensor that reports its size to `progress` when it is read."""

    def read() -> np.ndarray:
        array = tensor.read()
        progress(tensor.nbytes)
        return array

    return replace(tensor, read=read)


def _watched(name: str, tensor: LazyTensor) -> LazyTensor:
    """Return a tensor that warns of NaN and infinite values when it is read."""

    def read() -> np.ndarray:
        array = tensor.read()
        with np.errstate(all="ignore"):  # a sum is fast; if it is finite, all values are
            finite = np.isfinite(array.sum(dtype=np.result_type(array.dtype, np.float32))) or np.isfinite(array).all()
        if not finite:
            warnings.warn(f"{tensor.where}: {name} holds NaN or infinite values.", CheckpointWarning, stacklevel=2)
        return array

    return replace(tensor, read=read)


def _cast(name: str, tensor: LazyTensor, dtype: str, underflows: dict[str, int]) -> LazyTensor:
    """Return a tensor in another dtype that warns of values that become infinite and counts values that become 0."""
    if tensor.dtype == dtype:
        return tensor

    def read() -> np.ndarray:
        array = tensor.read()
        new = cast(array, dtype)
        underflows[name] = int(np.count_nonzero(array) - np.count_nonzero(new))
        large = np.count_nonzero(np.isfinite(array)) - np.count_nonzero(np.isfinite(new))
        if large:
            message = f"{tensor.where}: {large} values are too large for {dtype} and became infinite."
            warnings.warn(message, CheckpointWarning, stacklevel=2)
        return new

    return replace(tensor, dtype=dtype, read=read)
