"""The base class of all pipelines.

Shapes: T tokens of a window, K selected tokens, L labels.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.packing import Ragged
from distilbert_core.pipelines.options import NO_TRUNCATION, STRATEGIES, Older, Option, Options, current_options
from distilbert_core.pipelines.progress import bar_delay
from distilbert_core.pipelines.running import Combine, Outputs, SizedIterator, Text, results_of
from distilbert_core.pipelines.tokenized_model import TokenizedModel
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.engine import Encoding

ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}

FIELDS = frozenset({"text", "text_pair", "question", "context", "prompt", "choices"})  # keys of inputs that are dicts

# Methods of Transformers' pipelines. A subclass that defines one is in error, as nothing would call it.
STEPS = {
    "_sanitize_parameters": "Options are in option_table.",
    "preprocess": "Texts are found by read and tokenized as tokenizer_options says.",
    "_forward": "The model runs on the windows of a batch; selected_tokens says which outputs it computes.",
    "postprocess": "Results are made by reduce, from a window of tokens, and combine, from all windows of an input.",
}


class Pipeline(TokenizedModel):
    """A task: a model with its tokenizer, and how their outputs become results.

    A subclass defines which texts an input holds (`read`), which outputs of the model are kept for a text (`reduce`),
    and how the kept values become a result (`combine`). This class tokenizes texts, batches them by length within a
    budget of tokens, runs the model, and yields results in the order of the inputs. A result does not depend on the
    batch of its input, except for the rounding of floating-point numbers.

    Args:
        model: A model of any backend, or its inference object. It is not copied: later changes of the model, such as
            training, take effect here.
        tokenizer: The model's tokenizer, fast or slow, or where to find one; None: where the model was loaded from.
        framework: 'pt', 'tf' or 'flax': the backend of the model, to check it.
        task: Name of the task, to check it.
        device: Where to move a PyTorch model: a name, or the number of an accelerator; None or -1: it stays. A model of
            another framework must be there already.
        torch_dtype: Dtype of the model. It is not changed: another dtype is an InputWarning.
        dtype: The same under its name in Transformers 5.
        **options: Options of the task, for calls that do not give them. An option whose default is not None is left
            out by None.

    Options of every task:
        batch_size: Maximum rows of a batch; None: limited by `batch_tokens` only.
        batch_tokens: Maximum tokens of a batch: its rows times its longest row.
        progress: True or False: always or never show a progress bar on standard error; None: on long work, if standard
            error is a terminal.

    Options of every task but question answering:
        truncation: True: cut texts that are too long. False: they are an InputError. Left out: cut them, with a
            warning. A strategy of the tokenizer, such as 'only_first', is for pairs.
        max_length: Maximum tokens of a text or pair, including special tokens; None: the model's limit.
        add_special_tokens: Put [CLS] and [SEP] around the texts.

    Attributes:
        inference: The inference object that runs the model.
        tokenizer: The tokenizer.
        options: The options for calls that do not give them.

    Raises:
        InputError: The model does not fit the task or the framework; an option is impossible; no tokenizer was found,
            or it has more tokens than the model.
        TypeError: An option is unknown.
    """

    option_table: ClassVar[Mapping[str, Option]]  # every option of the constructor and of a call
    older: ClassVar[Mapping[str, Older]] = {}  # older or other names of options
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
        if task and ALIASES.get(task, task) != self.task:
            raise InputError(f"task must be {self.task!r}, the task of {type(self).__name__}, got {task!r}.")
        super().__init__(
            model, tokenizer, framework=framework, device=device, dtype=torch_dtype if dtype is None else dtype
        )
        self.options: Options = {name: option.default for name, option in self.option_table.items()}
        self.with_defaults(options)  # checks them now, not in the first call
        self.options = {**self.options, **self._given(options)}

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the result of one input, the results of a list, or a lazy iterator for any other iterable.

        Args:
            inputs: An input of the task; a list of inputs, or another sequence, an array or a column of a table; or
                another iterable, such as a generator or a data set that can be indexed. Its iterator has a `len` if the
                iterable has one.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        options = self.with_defaults(options)
        if self.is_one(inputs, options):
            (result,) = results_of(self, [inputs], options, None, self.combine)
            return result
        if isinstance(inputs, Sequence) or (hasattr(inputs, "tolist") and np.ndim(inputs) == 1):
            delay = bar_delay(options["progress"], streaming=False)
            return list(results_of(self, inputs, options, delay, self.combine))
        return self._stream(inputs, options, self.combine)

    def transform(self, X: Any) -> Any:  # noqa: N803 scikit-learn's name
        """Return the results of inputs, as a call does."""
        return self(X)

    predict = transform

    def stream(self, inputs: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Return an iterator over the results of inputs, in order.

        Inputs are read as results are asked for, a bounded number of them ahead.

        Args:
            inputs: Any iterable of inputs of the task.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        return self._stream(inputs, self.with_defaults(options), self.combine)

    def _stream(self, inputs: Iterable[Any], options: Options, combine: Combine) -> Iterator[Any]:
        """Return an iterator over results, unless `inputs` is one input, or a table, which yields its columns."""
        is_one = isinstance(inputs, str | bytes) or (isinstance(inputs, Mapping) and not FIELDS.isdisjoint(inputs))
        if is_one or type(inputs).__name__ == "DataFrame":
            raise InputError(
                f"inputs must be an iterable of inputs for {self.task}, such as a list or one column of a table, got "
                f"a {type(inputs).__name__}."
            )
        results = results_of(self, inputs, options, bar_delay(options["progress"], streaming=True), combine)
        return SizedIterator(results, len(inputs)) if isinstance(inputs, Sized) else results

    # -- the parts of a task ------------------------------------------------------------------------------------

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options of a call as the other methods get them: checked together, with derived values.

        Raises:
            InputError: Options contradict each other, or do not fit the model.
        """
        if "max_length" not in options:
            return dict(options)
        return {**options, "max_length": self._length("max_length", options["max_length"], self.max_length)}

    def is_one(self, inputs: Any, options: Options) -> bool:
        """Return whether this is one input, not several."""
        is_many = isinstance(inputs, Iterable) or (hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"))
        return isinstance(inputs, str | bytes | Mapping | tuple) or not is_many

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the texts or pairs of an input, or raise InputError if it is not an input of the task."""
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

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the token windows of each input.

        Args:
            texts: The texts of each input, from `read`.
            options: Options of the call.

        Raises:
            InputError: A text has no tokens, or too many.
        """
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

    def forward(self, windows: Sequence[Encoding]) -> Iterable[Outputs]:
        """Return the model's outputs for each window of a batch, by name.

        A class of your own may compute them in another way.

        Args:
            windows: The token windows, from `tokenize`.
        """
        texts = Ragged.from_rows([window.ids for window in windows])
        selected = self.selected_tokens(texts)
        outputs = self.inference.run_ragged(texts, selected)
        columns = (
            texts.split(array, selected) if self.head.reads_tokens else list(array) for array in outputs.values()
        )
        return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]

    def selected_tokens(self, texts: Ragged) -> np.ndarray | None:
        """Return the indices [K] of the tokens of a batch whose outputs are computed, ascending; None: all tokens."""
        return None

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> Any:
        """Return the values of the model's outputs to keep for one window of tokens.

        Args:
            window: The tokens.
            outputs: The model's outputs by name, float32 or float64: [T, ...], or [K, ...] with `selected_tokens`; [L]
                for heads that predict something for the whole text. They may be views of the outputs of a batch, so
                copy them if they are kept.
            options: Options of the call.
        """
        raise NotImplementedError

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[Any], options: Options) -> Any:
        """Return the result of an input, given its windows and the result of `reduce` for each of them."""
        raise NotImplementedError

    # -- options --------------------------------------------------------------------------------------------------

    @classmethod
    def present_options(cls, options: Options) -> dict[str, Any]:
        """Return options under their present names, without those that have no effect.

        Raises:
            TypeError: An option is unknown, or has an effect in Transformers that it does not have here.
        """
        return current_options(cls.task, cls.option_table, cls.older, options)

    def _given(self, options: Options) -> dict[str, Any]:
        """Return options without those that None leaves out."""
        table = self.option_table
        return {
            name: value
            for name, value in options.items()
            if value is not None or table[name].takes_none or table[name].default is None
        }

    def with_defaults(self, options: Options) -> dict[str, Any]:
        """Return all options of a call, checked and prepared, as the parts of the task take them.

        Args:
            options: The options that the call gives.

        Raises:
            InputError: An option is impossible.
            TypeError: An option is unknown.
        """
        merged = {**self.options, **self._given(self.present_options(options))}
        for name, option in self.option_table.items():
            if merged[name] is not None:
                option.check(name, merged[name])
        return self.prepare_options(merged)

    def _length(self, name: str, value: int | None, default: int) -> int:
        """Return the value of an option that is a number of tokens, or raise InputError."""
        if value is not None and value > self.max_length:
            raise InputError(f"{name} must be at most the model's {self.max_length}, got {value}.")
        return default if value is None else value
