"""From the inputs of a call to its results: texts are tokenized, batched by length, computed, and put back into order.

Inputs are read in portions, so a stream of any length takes a bounded amount of memory.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain, islice
from typing import Any, ClassVar, Protocol

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.batching import token_batches
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.pipelines.options import Options, warn
from distilbert_core.pipelines.progress import progress_bar
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.engine import Encoding

# A portion of the inputs is read READ_SIZE at a time, until it has PORTION_SIZE inputs or tokens for PORTION_BATCHES
# batches. It is then sorted by length.
READ_SIZE = 64
PORTION_SIZE = 1024
PORTION_BATCHES = 16

Text = str | tuple[str, str] | list[str]  # a text, a pair of texts, or a text that is split into words
Outputs = Mapping[str, np.ndarray]
Combine = Callable[[Any, Sequence[Encoding], Sequence[Any], Options], Any]  # as `Pipeline.combine`


class Methods(Protocol):
    """The parts of a pipeline that this module uses; `Pipeline` describes them."""

    head: ClassVar[Head]
    advice_on_length: ClassVar[str]
    inference: Inference
    tokenizer: BaseTokenizer

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the texts of an input."""

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the token windows of each input."""

    def forward(self, windows: Sequence[Encoding]) -> Iterable[Outputs]:
        """Return the model's outputs for each window of a batch."""

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> Any:
        """Return the values of the outputs to keep for a window."""


def results_of(
    pipeline: Methods, inputs: Any, options: Options, delay: float | None, combine: Combine
) -> Iterator[Any]:
    """Yield the result of each input, in order.

    Args:
        pipeline: The pipeline.
        inputs: An iterable, or a data set that has only a length and an index.
        options: Options of the call.
        delay: Seconds until a progress bar appears; None: never.
        combine: Makes the result of an input, as `Pipeline.combine`.
    """
    total = len(inputs) if isinstance(inputs, Sized) else None
    with progress_bar(total, delay) as advance:
        for values, windows_of in _portions(pipeline, _iterate(inputs), options, several=total != 1):
            windows = list(chain.from_iterable(windows_of))
            reduced = iter(_run(pipeline, windows, options, advance, len(values) / len(windows)))
            for value, group in zip(values, windows_of, strict=True):
                yield combine(value, group, list(islice(reduced, len(group))), options)


def _iterate(inputs: Any) -> Iterator[Any]:
    return iter(inputs) if isinstance(inputs, Iterable) else (inputs[index] for index in range(len(inputs)))


def _portions(
    pipeline: Methods, inputs: Iterator[Any], options: Options, several: bool
) -> Iterator[tuple[list[Any], list[list[Encoding]]]]:
    """Yield portions of the inputs, with the token windows of each input.

    An error about one of several inputs names its index.
    """
    values: list[Any] = []
    windows_of: list[list[Encoding]] = []
    tokens = 0
    warned = options.get("truncation", True) is not None  # an input that is read in windows is not cut
    budget = PORTION_BATCHES * options["batch_tokens"]
    numbered = enumerate(inputs)
    while items := list(islice(numbered, READ_SIZE)):
        texts = []
        for index, value in items:
            try:
                texts.append(pipeline.read(value, options))
            except InputError as error:
                raise (InputError(f"inputs[{index}]: {error}") if several else error) from error.__cause__
        new = pipeline.tokenize(texts, options)
        if not warned:
            warned = _warn_of_cut(pipeline, chain.from_iterable(texts), chain.from_iterable(new), options["max_length"])
        values += [value for _, value in items]
        windows_of += new
        tokens += sum(len(window) for group in new for window in group)
        if len(values) >= PORTION_SIZE or tokens >= budget:
            yield values, windows_of
            values, windows_of, tokens = [], [], 0
    if values:
        yield values, windows_of


def _warn_of_cut(pipeline: Methods, texts: Iterable[Text], windows: Iterable[Encoding], length: int) -> bool:
    """Warn of the first text or pair that is cut; return whether a text is cut."""
    cut = next((text for text, window in zip(texts, windows, strict=True) if window.overflowing), None)
    if cut is not None:
        warn(
            f"{reprlib.repr(cut)} has more than {length} tokens. The rest is not read, and other inputs of that "
            f"length are cut too; {pipeline.advice_on_length}."
        )
    return cut is not None


def _run(
    pipeline: Methods,
    windows: Sequence[Encoding],
    options: Options,
    advance: Callable[[float], None],
    share: float,
) -> list[Any]:
    """Return the reduced outputs of each window; `advance` is called with `share` for each."""
    reduced: list[Any] = [None] * len(windows)
    lengths = [len(window) for window in windows]
    for batch in token_batches(lengths, options["batch_tokens"], options["batch_size"]):
        members = [windows[i] for i in batch]
        for i, window, outputs in zip(batch, members, pipeline.forward(members), strict=True):
            reduced[i] = pipeline.reduce(window, checked_outputs(pipeline, window, outputs), options)
        advance(len(batch) * share)
    return reduced


def checked_outputs(pipeline: Methods, window: Encoding, outputs: Outputs) -> dict[str, np.ndarray]:
    """Return the model's outputs for a window, in float32 or float64.

    Args:
        pipeline: The pipeline.
        window: The tokens, for the message.
        outputs: The outputs by name, as `Pipeline.forward` returns them for a window.

    Raises:
        InputError: An output is NaN or infinite.
    """
    arrays = {name: _at_least_float32(array) for name, array in outputs.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            text = reprlib.repr(pipeline.tokenizer.decode(window.ids, skip_special_tokens=True))
            raise InputError(
                f"{name} of {text} must be finite, but the model gives NaN or infinity; give another dtype, such "
                "as 'float32', or look for such values in its weights."
            )
    return arrays


def _at_least_float32(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


class SizedIterator(Iterator[Any]):
    """An iterator that knows how many items it has in all; progress bars ask for that.

    Args:
        items: The items.
        total: Their number.
    """

    def __init__(self, items: Iterator[Any], total: int):
        self._items, self._total = items, total

    def __next__(self) -> Any:
        return next(self._items)

    def __len__(self) -> int:
        return self._total
