"""What all pipelines share: inputs become token windows, windows become batches, outputs become results, in order.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels.
"""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

import numpy as np

from distilbert_core.batching import pad_rows, positive_integer, token_batches
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import InputError, InputWarning
from distilbert_core.inference import TOKEN_HEADS, Inference
from distilbert_core.parameters import Head
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.encodings import Encoding

# Inputs are read this many at a time, until there are enough to sort by length: so many inputs, or so many batches.
CHUNK = 64
MOST_INPUTS = 1024
MOST_BATCHES = 16

Text = str | tuple[str, str]
Options = Mapping[str, Any]
Outputs = Mapping[str, np.ndarray]
FIELDS = frozenset({"text", "text_pair", "question", "context", "prompt", "choices"})  # of an input that is a dict
Combine = Callable[[Any, Sequence[Encoding], Sequence[Any], Options], Any]  # see `Pipeline.combine`


class Pipeline:
    """A task: a model, its tokenizer, and what becomes of texts between them.

    A subclass says which texts an input holds (`read`), what is kept of the model's outputs for each (`reduce`), and
    what result that makes (`combine`). Here everything in between is done: texts are tokenized, batched by length to
    a budget of tokens, run through the model, and their outputs put back into order. No result depends on the batch
    that its input happened to be in, but for the rounding of floating-point numbers.

    Args:
        model: Inference object of any backend.
        tokenizer: The model's tokenizer, fast or slow.
        batch_size: Most rows of a batch; None: as many as `batch_tokens` allows.
        batch_tokens: Most tokens of a batch, padding included; None: what suits the task.
        progress: True or False: always or never show a progress bar on standard error; None: on long work, if
            standard error is a terminal.
        **options: Options of the task, used where a call does not give them.

    Raises:
        InputError: A number or an option is impossible, or the tokenizer has more tokens than the model.
        TypeError: An option is unknown.
    """

    task: ClassVar[str]
    head: ClassVar[Head]
    defaults: ClassVar[Options]  # every option of a call
    advice_on_length: ClassVar[str] = "give truncation=True if that is meant, or truncation=False to make it an error"
    batch_tokens: int = 4096

    def __init__(
        self,
        model: Inference,
        tokenizer: BaseTokenizer,
        *,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        progress: bool | None = None,
        **options: Any,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = None if batch_size is None else positive_integer("batch_size", batch_size)
        if batch_tokens is not None:
            self.batch_tokens = positive_integer("batch_tokens", batch_tokens)
        self.progress = progress
        if len(tokenizer) > self.config.vocab_size:
            raise InputError(
                f"tokenizer has {len(tokenizer)} tokens, more than the model's vocab_size={self.config.vocab_size}; "
                "give the tokenizer of this model, or enlarge the model with resize_token_embeddings."
            )
        self.options: Options = self.defaults
        self._with_defaults(options)  # says now what would be wrong in every call
        self.options = {**self.defaults, **options}

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def framework(self) -> str:
        """What runs the model: 'pt', 'tf', 'flax', 'onnx' or 'openvino'."""
        return self.model.backend

    @property
    def max_length(self) -> int:
        """Most tokens of a row, special ones included."""
        return min(self.tokenizer.model_max_length, self.config.max_position_embeddings)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the result of one input, the results of a list, or a lazy iterator for any other iterable.

        Args:
            inputs: An input of the task, a list of them, or another iterable.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        options = self._with_defaults(options)
        if isinstance(inputs, list):
            return list(self._answers(inputs, options, bar_delay(self.progress, streaming=False)))
        if isinstance(inputs, str | bytes | Mapping | tuple) or not isinstance(inputs, Iterable):
            (result,) = self._answers([inputs], options, None)
            return result
        return self._stream(inputs, options)

    def stream(self, inputs: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Return an iterator over the results of inputs, one for each, in order.

        Inputs are read as results are asked for, a bounded number of them ahead.

        Args:
            inputs: Any iterable of inputs of the task.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        return self._stream(inputs, self._with_defaults(options))

    # -- what a task says ---------------------------------------------------------------------------------------

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise InputError if an option is impossible; may replace values by what later steps need."""
        check_choice("truncation", options.get("truncation"), (None, True, False))

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the texts or pairs of an input, or raise InputError if it is none of this task."""
        if not isinstance(value, str):
            raise InputError(f"{self.task} takes a text, got {reprlib.repr(value)}.")
        return [value]

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Return the keywords of the tokenizer's call."""
        return {"truncation": options["truncation"] in (None, True), "max_length": self.max_length}

    def inputs(self, windows: Sequence[Encoding]) -> dict[str, np.ndarray]:
        """Return the model's arguments for a batch of windows: [B, T] each."""
        ids, mask = pad_rows([window.ids for window in windows], self.tokenizer.pad_token_id)
        return {"input_ids": ids, "attention_mask": mask}

    def split(self, outputs: Outputs, windows: Sequence[Encoding]) -> Iterator[Outputs]:
        """Yield the outputs for each window of a batch, without axis B and without padding."""
        for row, window in enumerate(windows):
            real = slice(len(window) if self.head in TOKEN_HEADS else None)
            yield {name: array[row, real] for name, array in outputs.items()}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> Any:
        """Return what is kept of the model's outputs for one window of tokens.

        Args:
            window: The tokens.
            outputs: What `split` yielded for it: [T, ...], or [L] where the model predicts one thing for the whole;
                float32, or float64. They are views of the batch's: copy what is kept.
            options: Options of the call.
        """
        raise NotImplementedError

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[Any], options: Options) -> Any:
        """Return the result of an input from what `reduce` kept for each of its windows."""
        raise NotImplementedError

    # -- from inputs to results ---------------------------------------------------------------------------------

    @classmethod
    def check_option_names(cls, options: Options) -> None:
        """Raise TypeError if an option is none of this task's."""
        unknown = sorted(options.keys() - cls.defaults.keys())
        if unknown:
            known = ", ".join(cls.defaults)
            raise TypeError(f"Unknown keyword argument(s): {', '.join(unknown)}. {cls.task} has the options {known}.")

    def _with_defaults(self, options: Options) -> dict[str, Any]:
        self.check_option_names(options)
        merged = {**self.options, **options}
        self.check_options(merged)
        return merged

    def _stream(self, inputs: Iterable[Any], options: Options, combine: Combine | None = None) -> Iterator[Any]:
        """Return an iterator over results, unless `inputs` is one input, or a table that would yield its columns."""
        is_one = isinstance(inputs, str | bytes) or (isinstance(inputs, Mapping) and not FIELDS.isdisjoint(inputs))
        if is_one or type(inputs).__name__ == "DataFrame":
            raise InputError(
                f"inputs must be an iterable of inputs for {self.task}, such as a list or one column of a table, got "
                f"a {type(inputs).__name__}."
            )
        return self._answers(inputs, options, bar_delay(self.progress, streaming=True), combine)

    def _answers(
        self,
        inputs: Iterable[Any],
        options: Options,
        delay: float | None,
        combine: Combine | None = None,
    ) -> Iterator[Any]:
        """Yield what `combine`, that of the task if left out, makes of each input."""
        combine = combine or self.combine
        total = len(inputs) if isinstance(inputs, Sequence) else None
        with progress_bar(total, delay) as advance:
            for values, texts in self._portions(iter(inputs), options):
                windows = [window for group in texts for window in group]
                kept = iter(self._run(windows, options, advance, len(values) / len(windows)))
                for value, group in zip(values, texts, strict=True):
                    yield combine(value, group, list(islice(kept, len(group))), options)

    def _portions(self, inputs: Iterator[Any], options: Options) -> Iterator[tuple[list[Any], list[list[Encoding]]]]:
        """Yield inputs with the token windows of each, enough of them at a time to fill batches of like length."""
        values: list[Any] = []
        groups: list[list[Encoding]] = []
        tokens = 0
        warned = options.get("truncation", True) is not None  # an input that is read in windows is not cut
        while chunk := list(islice(inputs, CHUNK)):
            texts = [self.read(value, options) for value in chunk]
            new = self.tokenize(texts, options)
            if not warned:
                warned = self._warn_of_cut(chain.from_iterable(texts), chain.from_iterable(new))
            values += chunk
            groups += new
            tokens += sum(len(window) for group in new for window in group)
            if len(values) >= MOST_INPUTS or tokens >= MOST_BATCHES * self.batch_tokens:
                yield values, groups
                values, groups, tokens = [], [], 0
        if values:
            yield values, groups

    def _warn_of_cut(self, texts: Iterable[Text], windows: Iterable[Encoding]) -> bool:
        """Warn of the first text or pair that is cut; return whether there is one."""
        cut = next((text for text, window in zip(texts, windows, strict=True) if window.overflowing), None)
        if cut is not None:
            warnings.warn(
                f"{reprlib.repr(cut)} has more than {self.max_length} tokens. The rest is not read, nor that of other "
                f"inputs as long; {self.advice_on_length}.",
                InputWarning,
                stacklevel=5,
            )
        return cut is not None

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the token windows of each input, whose texts are given."""
        flat = [text for group in texts for text in group]
        owners = [owner for owner, group in enumerate(texts) for _ in group]
        encoding = self.tokenizer(flat, **self.tokenizer_options(options))
        windows: list[list[Encoding]] = [[] for _ in texts]
        sources = encoding.get("overflow_to_sample_mapping", range(len(flat)))
        for source, window in zip(sources, encoding.encodings, strict=True):
            if len(window) > self.max_length:
                raise InputError(
                    f"{reprlib.repr(flat[source])} has {len(window)} tokens, more than the model's {self.max_length}; "
                    "give truncation=True or a shorter text."
                )
            windows[owners[source]].append(window)
        return windows

    def _run(
        self, windows: Sequence[Encoding], options: Options, advance: Callable[[float], None], share: float
    ) -> list[Any]:
        """Return what `reduce` keeps for each window; each is that share of an input."""
        kept: list[Any] = [None] * len(windows)
        for batch in token_batches([len(window) for window in windows], self.batch_tokens, self.batch_size):
            members = [windows[i] for i in batch]
            outputs = self.model(**self.inputs(members))
            outputs = {name: _at_least_float32(array) for name, array in outputs.items()}
            for i, window, own in zip(batch, members, self.split(outputs, members), strict=True):
                self._check_finite(window, own)
                kept[i] = self.reduce(window, own, options)
            advance(len(batch) * share)
        return kept

    def _check_finite(self, window: Encoding, outputs: Outputs) -> None:
        """Raise InputError for outputs that no answer can be made from."""
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                text = self.tokenizer.decode(window.ids, skip_special_tokens=True)
                raise InputError(
                    f"{name} of {reprlib.repr(text)} must be finite, but the model gives NaN or infinity; give another "
                    "dtype, such as 'float32', or look for such values in its weights."
                )


def _at_least_float32(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def check_flag(name: str, value: Any) -> None:
    """Raise InputError if an option is not True or False."""
    if value not in (True, False):
        raise InputError(f"{name} must be True or False, got {value!r}.")


def check_choice(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise InputError if an option is none of the allowed values."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}.")
