"""What all pipelines share: inputs become token windows, windows become batches, outputs become results, in order.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain, islice
from typing import Any, ClassVar

import numpy as np

from distilbert_core.compatibility import PIPELINES, accept
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.dtypes import dtype_name
from distilbert_core.model.heads import Head
from distilbert_core.model.loading import inference_of
from distilbert_core.pipelines.options import NO_TRUNCATION, STRATEGIES, Option, warn
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from distilbert_core.tokenization import DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.batching import pad_rows, token_batches
from distilbert_core.tokenization.encodings import Encoding

# Inputs are read CHUNK at a time, until there are enough to sort by length: MOST_INPUTS, or tokens for MOST_BATCHES.
CHUNK = 64
MOST_INPUTS = 1024
MOST_BATCHES = 16

ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}

Text = str | tuple[str, str] | list[str]  # a text, a pair of them, or a text that is split into words
Options = Mapping[str, Any]
Outputs = Mapping[str, np.ndarray]
FIELDS = frozenset({"text", "text_pair", "question", "context", "prompt", "choices"})  # of an input that is a dict
Older = Callable[[Any, Options], dict[str, Any]]  # from the value of an older option, and all that are given beside it
Combine = Callable[[Any, Sequence[Encoding], Sequence[Any], Options], Any]  # see `Pipeline.combine`

# Steps of Transformers' pipelines, which a class may not define in vain.
STEPS = {
    "_sanitize_parameters": "Options are in option_table.",
    "preprocess": "Texts are found by read and tokenized as tokenizer_options says.",
    "_forward": "The model runs in forward, which takes the windows of a batch.",
    "postprocess": "Results are made by reduce, from a window of tokens, and combine, from those of an input.",
}


class Pipeline:
    """A task: a model, its tokenizer, and what becomes of texts between them.

    A subclass says which texts an input holds (`read`), what is kept of the model's outputs for each (`reduce`), and
    what result that makes (`combine`). Here everything in between is done: texts are tokenized, batched by length to
    a budget of tokens, run through the model, and their outputs put back into order. No result depends on the batch
    that its input happened to be in, but for the rounding of floating-point numbers.

    Args:
        model: A model of any backend, or its inference object. It is not copied: what is done to it later, such as
            training, is seen here.
        tokenizer: The model's tokenizer, fast or slow, or where to find one; None: where the model was loaded from.
        framework: 'pt', 'tf' or 'flax': what runs the model, which it must be.
        task: Name of the task, which must be this one.
        device: Where to move a PyTorch model: a name, or the number of an accelerator; None or -1: it stays. A model of
            another framework must be there.
        torch_dtype: Dtype of the model. It is not changed: another one is an InputWarning.
        dtype: The same under the name that Transformers 5 has for it.
        **options: Options of the task, used where a call does not give them. None leaves out what has another default.

    Options of every task:
        batch_size: Most rows of a batch; None: as many as `batch_tokens` allows.
        batch_tokens: Most tokens of a batch, padding included.
        progress: True or False: always or never show a progress bar on standard error; None: on long work, if standard
            error is a terminal.

    Options of every task but question answering:
        truncation: True: cut texts that are too long. False: they are an InputError. Left out: cut them, with a
            warning. A strategy of the tokenizer, such as 'only_first', is for pairs.
        max_length: Most tokens of a text or pair, special ones included; None: what the model can take.
        add_special_tokens: Put [CLS] and [SEP] around the texts.

    Attributes:
        inference: The inference object that runs the model.
        options: The options of the task where a call gives none.

    Raises:
        InputError: The model is not one for this task, or not of this framework; an option is impossible; there is no
            tokenizer, or it has more tokens than the model.
        TypeError: An option is unknown.
    """

    task: ClassVar[str]
    head: ClassVar[Head]
    option_table: ClassVar[Mapping[str, Option]]  # every option of a constructor and of a call
    older: ClassVar[Mapping[str, Older]] = {}  # options by older or other names -> the options that they stand for
    feature_extractor = image_processor = processor = modelcard = None  # scripts for Transformers read these
    binary_output = False
    advice_on_length: ClassVar[str] = "give truncation=True if that is meant, or truncation=False to make it an error"

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, instead in STEPS.items():
            if name in vars(cls):
                raise TypeError(f"{cls.__name__}.{name} would not be called. {instead}")

    def __init__(
        self,
        model: Any,
        tokenizer: BaseTokenizer | str | os.PathLike[str] | None = None,
        *,
        framework: str | None = None,
        task: str | None = None,
        device: Any = None,
        torch_dtype: Any = None,
        dtype: Any = None,
        **options: Any,
    ):
        options = self.present_options(options)
        self.inference = inference_of(model, self.head, self.task)
        if framework is not None and framework != self.framework:
            raise InputError(
                f"framework must be {self.framework!r}, which {type(self.model).__name__} is of, got {framework!r}."
            )
        if task and ALIASES.get(task, task) != self.task:
            raise InputError(f"task must be {self.task!r}, that of {type(self).__name__}, got {task!r}.")
        try:
            self.tokenizer = find_tokenizer(tokenizer, self.config.name_or_path)
        except CheckpointError as error:
            if tokenizer is not None:
                raise
            raise InputError(
                f"Give tokenizer: there is none at config.name_or_path={self.config.name_or_path!r}, where the model "
                f"was loaded from. {error}"
            ) from error
        if device is not None and device != -1:
            self.inference.move(device)
        asked = torch_dtype if dtype is None else dtype
        if asked not in (None, "auto") and dtype_name(asked) != dtype_name(self.torch_dtype):
            warn(
                f"torch_dtype={asked!r} has no effect on a model that is there: it has {dtype_name(self.torch_dtype)}. "
                "Load it with that dtype."
            )
        if len(self.tokenizer) > self.config.vocab_size:
            raise InputError(
                f"tokenizer has {len(self.tokenizer)} tokens, more than the model's vocab_size="
                f"{self.config.vocab_size}; give the tokenizer of this model, or enlarge the model with "
                "resize_token_embeddings."
            )
        self.options: Options = {name: option.default for name, option in self.option_table.items()}
        self._with_defaults(options)  # says now what would be wrong in every call
        self.options = {**self.options, **self._given(options)}

    @property
    def model(self) -> Any:
        """The model, of its framework's class; it can be replaced by another one for the task."""
        return self.inference.model

    @model.setter
    def model(self, model: Any) -> None:
        self.inference = inference_of(model, self.head, self.task)

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.inference.config

    @property
    def framework(self) -> str:
        """What runs the model: 'pt', 'tf', 'flax', 'onnx' or 'openvino'."""
        return self.inference.backend

    @property
    def device(self) -> Any:
        """Where the model is, as its framework says it."""
        return self.inference.device

    @property
    def torch_dtype(self) -> Any:
        """Dtype of the model, as its framework says it."""
        return self.inference.dtype

    dtype = torch_dtype

    @property
    def max_length(self) -> int:
        """Most tokens of a row, special ones included."""
        return min(self.tokenizer.model_max_length, self.config.max_position_embeddings)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the result of one input, the results of a list, or a lazy iterator for any other iterable.

        Args:
            inputs: An input of the task; a list of them, or another sequence, an array or a column of a table; or
                another iterable, such as a generator or a data set that can be indexed. Its iterator has a `len` where
                it has one.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        options = self._with_defaults(options)
        if self.is_one(inputs, options):
            (result,) = self._answers([inputs], options, None)
            return result
        if isinstance(inputs, Sequence) or (hasattr(inputs, "tolist") and np.ndim(inputs) == 1):
            return list(self._answers(inputs, options, bar_delay(options["progress"], streaming=False)))
        return self._stream(inputs, options)

    def transform(self, X: Any) -> Any:  # noqa: N803 scikit-learn's name
        """Return the results of inputs, as a call does."""
        return self(X)

    predict = transform

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

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write model and tokenizer into a folder.

        Args:
            save_directory: The folder; it is made if it is not there.
            **kwargs: Keywords of the model's `save_pretrained`.

        Raises:
            InputError: An exported model runs, of which there is nothing to write.
        """
        if not hasattr(self.model, "save_pretrained"):
            raise InputError(f"A model that {self.framework} runs cannot be saved; copy its folder.")
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

    # -- what a task says ---------------------------------------------------------------------------------------

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise InputError if options do not go together, or with the model; may replace values for later steps."""
        if "max_length" in options:
            options["max_length"] = self._length("max_length", options["max_length"], self.max_length)

    def is_one(self, inputs: Any, options: Options) -> bool:
        """Return whether this is one input, not several."""
        is_many = isinstance(inputs, Iterable) or (hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"))
        return isinstance(inputs, str | bytes | Mapping | tuple) or not is_many

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the texts or pairs of an input, or raise InputError if it is none of this task."""
        if not isinstance(value, str):
            raise InputError(f"{self.task} takes a text, got {reprlib.repr(value)}.")
        return [value]

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Return the keywords of the tokenizer's call."""
        truncation = options["truncation"]
        return {
            "truncation": truncation if truncation in STRATEGIES else truncation not in NO_TRUNCATION,
            "max_length": options["max_length"],
            "add_special_tokens": options["add_special_tokens"],
        }

    def forward(self, windows: Sequence[Encoding]) -> Iterable[Outputs]:
        """Return the model's outputs for each window of a batch, without axis B and without padding."""
        outputs = self.inference(**self.padded(windows))
        for row, window in enumerate(windows):
            real = slice(len(window) if self.head.reads_tokens else None)
            yield {name: array[row, real] for name, array in outputs.items()}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> Any:
        """Return what is kept of the model's outputs for one window of tokens.

        Args:
            window: The tokens.
            outputs: What `forward` gave for it: [T, ...], or [L] where the model predicts one thing for the whole;
                float32, or float64. They may be views of the batch's: copy what is kept.
            options: Options of the call.
        """
        raise NotImplementedError

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[Any], options: Options) -> Any:
        """Return the result of an input from what `reduce` kept for each of its windows."""
        raise NotImplementedError

    # -- from inputs to results ---------------------------------------------------------------------------------

    @classmethod
    def present_options(cls, options: Options) -> dict[str, Any]:
        """Return options by their present names, without those that have no effect here.

        Raises:
            TypeError: An option is unknown, or one that is accepted without effect would have one elsewhere.
        """
        given = {name: value for name, value in options.items() if name not in cls.older}
        for name in cls.older.keys() & options.keys():
            if options[name] is not None:
                given = {**cls.older[name](options[name], options), **given}
        others = accept({name: value for name, value in given.items() if name not in cls.option_table}, PIPELINES)
        if others:
            known = ", ".join(cls.option_table)
            raise TypeError(
                f"Unknown keyword argument(s): {', '.join(sorted(others))}. {cls.task} has the options {known}."
            )
        return {name: value for name, value in given.items() if name in cls.option_table}

    def _given(self, options: Options) -> dict[str, Any]:
        """Return options without those that None leaves out."""
        table = self.option_table
        return {
            name: value
            for name, value in options.items()
            if value is not None or table[name].takes_none or table[name].default is None
        }

    def _with_defaults(self, options: Options) -> dict[str, Any]:
        merged = {**self.options, **self._given(self.present_options(options))}
        for name, option in self.option_table.items():
            if merged[name] is not None:
                option.check(name, merged[name])
        self.check_options(merged)
        return merged

    def _length(self, name: str, value: int | None, default: int) -> int:
        """Return a number of tokens that the model can take, or raise InputError."""
        if value is not None and value > self.max_length:
            raise InputError(f"{name} must be at most the model's {self.max_length}, got {value}.")
        return default if value is None else value

    def _stream(self, inputs: Iterable[Any], options: Options, combine: Combine | None = None) -> Iterator[Any]:
        """Return an iterator over results, unless `inputs` is one input, or a table that would yield its columns."""
        is_one = isinstance(inputs, str | bytes) or (isinstance(inputs, Mapping) and not FIELDS.isdisjoint(inputs))
        if is_one or type(inputs).__name__ == "DataFrame":
            raise InputError(
                f"inputs must be an iterable of inputs for {self.task}, such as a list or one column of a table, got "
                f"a {type(inputs).__name__}."
            )
        results = self._answers(inputs, options, bar_delay(options["progress"], streaming=True), combine)
        return _SizedIterator(results, len(inputs)) if isinstance(inputs, Sized) else results

    def _answers(
        self,
        inputs: Iterable[Any],
        options: Options,
        delay: float | None,
        combine: Combine | None = None,
    ) -> Iterator[Any]:
        """Yield what `combine`, that of the task if left out, makes of each input."""
        combine = combine or self.combine
        total = len(inputs) if isinstance(inputs, Sized) else None
        with progress_bar(total, delay) as advance:
            for values, texts in self._portions(_iterate(inputs), options, several=total != 1):
                windows = list(chain.from_iterable(texts))
                kept = iter(self._run(windows, options, advance, len(values) / len(windows)))
                for value, group in zip(values, texts, strict=True):
                    yield combine(value, group, list(islice(kept, len(group))), options)

    def _portions(
        self, inputs: Iterator[Any], options: Options, several: bool
    ) -> Iterator[tuple[list[Any], list[list[Encoding]]]]:
        """Yield inputs with the token windows of each, enough of them at a time to fill batches of like length.

        An error of one of several inputs says which.
        """
        values: list[Any] = []
        groups: list[list[Encoding]] = []
        tokens = 0
        warned = options.get("truncation", True) is not None  # an input that is read in windows is not cut
        budget = MOST_BATCHES * options["batch_tokens"]
        numbered = enumerate(inputs)
        while chunk := list(islice(numbered, CHUNK)):
            texts = []
            for index, value in chunk:
                try:
                    texts.append(self.read(value, options))
                except InputError as error:
                    raise (InputError(f"inputs[{index}]: {error}") if several else error) from error.__cause__
            new = self.tokenize(texts, options)
            if not warned:
                warned = self._warn_of_cut(chain.from_iterable(texts), chain.from_iterable(new), options["max_length"])
            values += [value for _, value in chunk]
            groups += new
            tokens += sum(len(window) for group in new for window in group)
            if len(values) >= MOST_INPUTS or tokens >= budget:
                yield values, groups
                values, groups, tokens = [], [], 0
        if values:
            yield values, groups

    def _warn_of_cut(self, texts: Iterable[Text], windows: Iterable[Encoding], length: int) -> bool:
        """Warn of the first text or pair that is cut; return whether there is one."""
        cut = next((text for text, window in zip(texts, windows, strict=True) if window.overflowing), None)
        if cut is not None:
            warn(
                f"{reprlib.repr(cut)} has more than {length} tokens. The rest is not read, nor that of other inputs as "
                f"long; {self.advice_on_length}."
            )
        return cut is not None

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the token windows of each input, whose texts are given."""
        flat = [text for group in texts for text in group]
        owners = [owner for owner, group in enumerate(texts) for _ in group]
        encoding = self.tokenizer(flat, verbose=False, **self.tokenizer_options(options))
        windows: list[list[Encoding]] = [[] for _ in texts]
        sources = encoding.get("overflow_to_sample_mapping", range(len(flat)))
        for source, window in zip(sources, encoding.encodings, strict=True):
            if len(window) > self.max_length:
                raise InputError(
                    f"{reprlib.repr(flat[source])} has {len(window)} tokens, more than the model's {self.max_length}; "
                    "give truncation=True or a shorter text."
                )
            if not len(window):
                raise InputError(f"{reprlib.repr(flat[source])} has no tokens; leave out add_special_tokens=False.")
            windows[owners[source]].append(window)
        return windows

    def padded(self, windows: Sequence[Encoding]) -> dict[str, np.ndarray]:
        """Return input_ids and attention_mask of a batch of windows: [B, T] each."""
        ids, mask = pad_rows([window.ids for window in windows], self.tokenizer.pad_token_id)
        return {"input_ids": ids, "attention_mask": mask}

    def _run(
        self, windows: Sequence[Encoding], options: Options, advance: Callable[[float], None], share: float
    ) -> list[Any]:
        """Return what `reduce` keeps for each window; each is that share of an input."""
        kept: list[Any] = [None] * len(windows)
        lengths = [len(window) for window in windows]
        for batch in token_batches(lengths, options["batch_tokens"], options["batch_size"]):
            members = [windows[i] for i in batch]
            for i, window, outputs in zip(batch, members, self.forward(members), strict=True):
                own = {name: _at_least_float32(array) for name, array in outputs.items()}
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


class _SizedIterator(Iterator[Any]):
    """An iterator that knows how many items it has in all, which progress bars ask for."""

    def __init__(self, items: Iterator[Any], total: int):
        self._items, self._total = items, total

    def __next__(self) -> Any:
        return next(self._items)

    def __len__(self) -> int:
        return self._total


def _iterate(inputs: Any) -> Iterator[Any]:
    """Return an iterator over an iterable, or over a data set that has only a length and an index."""
    return iter(inputs) if isinstance(inputs, Iterable) else (inputs[index] for index in range(len(inputs)))


def _at_least_float32(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def find_tokenizer(
    tokenizer: BaseTokenizer | str | os.PathLike[str] | None, source: Any, use_fast: bool = True, **where: Any
) -> BaseTokenizer:
    """Return a tokenizer that is given, or load it.

    Args:
        tokenizer: A tokenizer of this package, or where to find one; None: with the model.
        source: Where the model was loaded from; empty if it was not.
        use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
        **where: Where to look on the Hub; `revision` and `subfolder` are the model's, and do not hold elsewhere.

    Raises:
        CheckpointError: There is none at that place.
        InputError: It is not a tokenizer of this package.
    """
    if isinstance(tokenizer, BaseTokenizer):
        return tokenizer
    cls = DistilBertTokenizerFast if use_fast else DistilBertTokenizer
    if isinstance(tokenizer, str | os.PathLike):
        elsewhere = {name: value for name, value in where.items() if name not in ("revision", "subfolder")}
        return cls.from_pretrained(tokenizer, **elsewhere)
    if tokenizer is not None:
        raise InputError(
            "tokenizer must be a DistilBertTokenizerFast or DistilBertTokenizer of this package, or where to find one; "
            f"got {type(tokenizer).__module__}.{type(tokenizer).__qualname__}: save it, and give its folder."
        )
    return cls.from_pretrained(source, **where)
