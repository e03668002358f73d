"""Leads a request through a server: model, tokens, queue, answer; and gives it up after a timeout or a disconnect."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from distilbert_core.errors import InputError, shortened
from distilbert_core.pipelines import Pipeline
from distilbert_serve.batching import Work
from distilbert_serve.errors import RequestError
from distilbert_serve.estimates import check_template, most_results, most_tokens
from distilbert_serve.models import Models, ServedModel
from distilbert_serve.settings import Settings

CHARACTERS_PER_TOKEN = 4  # of English; an estimate for texts that are not tokenized yet
TOKENIZER_THREADS = 2
PORTION_CHARACTERS = 50_000  # of the texts that are tokenized at a time
Receive = Callable[[], Awaitable[Any]]  # of ASGI


class DisconnectedError(Exception):
    """The client has gone, so nobody waits for the answer."""


class TokenIds:
    """An input that is tokenized already.

    Args:
        ids: The ids of its tokens, with the special ones.
    """

    overflowing = ()  # as an encoding of the tokenizer has it: nothing was cut

    def __init__(self, ids: Sequence[int]):
        self.ids = list(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def check(self, pipe: Pipeline) -> None:
        """Raise InputError if a model cannot read these tokens."""
        size = pipe.config.vocab_size
        if not 0 < len(self.ids) <= pipe.max_length:
            raise InputError(f"A list of token ids must have 1 to {pipe.max_length} of them, got {len(self.ids)}.")
        if min(self.ids) < 0 or max(self.ids) >= size:
            raise InputError(f"Token ids must be 0 to {size - 1}, got {shortened(self.ids)}.")


@dataclass(frozen=True)
class Call:
    """What a request asks of a model, in the terms of a pipeline.

    Attributes:
        task: The task of the pipeline.
        inputs: Its inputs; for feature extraction, they may all be `TokenIds`.
        options: Its options, those that are None are left out.
        combine: As `Pipeline.combine`, but with the pipeline as the first argument; None: that of the pipeline.
        render: Function from the results of all inputs to the answer; it runs in a thread.
        model: Name of the model; None: the only one that can do the task.
    """

    task: str
    inputs: Sequence[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    combine: Callable[..., Any] | None = None
    render: Callable[[list[Any]], Any] = lambda results: results
    model: str | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to a call.

    Attributes:
        content: What `Call.render` returned.
        model: Name of the model.
        tokens: Number of tokens that the model has read.
        notes: Sentences about parts of the request that were left out, such as a text that was cut.
    """

    content: Any
    model: str
    tokens: int
    notes: tuple[str, ...]

    def with_content(self, content: Any) -> Answer:
        """Return the same answer with another content."""
        return replace(self, content=content)


@dataclass(frozen=True)
class _Input:
    """The windows of an input, for each of them the number of tokens that were cut off, and the possible results."""

    windows: list[Any]
    cut: list[int]
    results: int


class Answering:
    """Answers calls with the models of a server.

    Args:
        models: The models.
        settings: The settings of the server.
    """

    def __init__(self, models: Models, settings: Settings):
        self.models = models
        self.settings = settings
        self._tokenizers = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="tokenize")
        self._warnings = threading.Lock()

    async def __call__(self, call: Call, receive: Receive) -> Answer:
        """Return the answer to a call.

        Args:
            call: The call.
            receive: The function of the request's connection, after its body was read. It returns when the client
                disconnects.

        Raises:
            RequestError: The request is impossible (422), too large (413), too much at present (429) or takes too long
                (504).
            DisconnectedError: The client has gone; the work was dropped.
        """
        deadline = time.monotonic() + self.settings.timeout
        model = self.models.find(call.model, call.task)
        pipe = model.pipeline_for(call.task)
        if not call.inputs:
            raise RequestError(422, "inputs must hold at least one input, got an empty list.")
        self.settings.limits.check(call.inputs)
        self.settings.limits.check_options(call.options)
        gone = asyncio.ensure_future(receive())
        try:
            work, notes = await self._first_of(self._prepare(model, pipe, call), gone, deadline)
            model.scheduler.submit(work)
            try:
                content = await self._first_of(asyncio.wrap_future(work.future), gone, deadline)
            finally:
                if not work.future.done():
                    model.scheduler.cancel(work)
        except InputError as error:
            raise RequestError(422, str(error)) from error
        finally:
            gone.cancel()
        return Answer(content, model.source.name, work.tokens, notes)

    async def _first_of(self, result: Awaitable[Any], gone: asyncio.Future[Any], deadline: float) -> Any:
        """Return a result, unless the client goes or the time is over first."""
        task = asyncio.ensure_future(result)
        await asyncio.wait((task, gone), timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        if gone.done():
            raise DisconnectedError
        raise RequestError(
            504, f"The request took longer than {self.settings.timeout:g} s; send fewer or shorter texts."
        )

    async def _prepare(self, model: ServedModel, pipe: Pipeline, call: Call) -> tuple[Work, tuple[str, ...]]:
        """Return the work of a call, with its token windows.

        Threads make them, for some of the inputs at a time, so that a large request does not hold up small ones.
        """
        limits, run = self.settings.limits, asyncio.get_running_loop().run_in_executor
        sizes = list(map(_characters, call.inputs))
        with model.scheduler.expected(sum(sizes) // CHARACTERS_PER_TOKEN):
            first, *others = _portions(sizes)
            options, notes, inputs, possible = await run(self._tokenizers, self._begin, pipe, call, *first)
            for start, stop in others:
                more, tokens = await run(self._tokenizers, self._tokenize, pipe, call, options, start, stop, possible)
                inputs += more
                possible += tokens
                limits.at_most("windows of tokens", sum(len(one.windows) for one in inputs), limits.windows)
        limits.at_most("possible results", sum(one.results for one in inputs), limits.results)
        if options.get("truncation", True) is None:
            most = options["max_length"]
            cut = [index for index, one in enumerate(inputs) if any(one.cut)]
            notes += [f"inputs[{index}] has more than {most} tokens; the rest was not read." for index in cut]
        combine = call.combine or type(pipe).combine

        def complete(kept: list[Any]) -> Any:
            reduced = iter(kept)
            return call.render(
                [
                    combine(pipe, value, one.windows, list(islice(reduced, len(one.windows))), options)
                    for value, one in zip(call.inputs, inputs, strict=True)
                ]
            )

        windows = [window for one in inputs for window in one.windows]
        return Work(pipe, windows, options, complete, [tokens for one in inputs for tokens in one.cut]), tuple(notes)

    # -- in threads -----------------------------------------------------------------------------------------------

    def _begin(
        self, pipe: Pipeline, call: Call, start: int, stop: int
    ) -> tuple[dict[str, Any], list[str], list[_Input], int]:
        """Return what `_options` returns, and what `_tokenize` returns for the first inputs."""
        options, notes = self._options(pipe, call)
        return options, notes, *self._tokenize(pipe, call, options, start, stop, 0)

    def _options(self, pipe: Pipeline, call: Call) -> tuple[dict[str, Any], list[str]]:
        """Return all options of a call, and what the pipeline warns of."""
        limits = self.settings.limits
        if isinstance(template := call.options.get("hypothesis_template"), str):
            check_template(template)
        labels = call.options.get("candidate_labels")
        pairs = len(call.inputs) * (labels.count(",") + 1 if isinstance(labels, str) else len(labels or [None]))
        limits.at_most("pairs of a text and a label", pairs, limits.windows)
        given = {name: value for name, value in call.options.items() if value is not None}
        with self._warnings, warnings.catch_warnings(record=True) as caught:  # the list is one for all threads
            warnings.simplefilter("always")
            try:
                options = pipe.with_defaults(given)
            except TypeError as error:  # an unknown option
                raise RequestError(422, str(error)) from error
        return options, [str(warning.message) for warning in caught]

    def _tokenize(
        self, pipe: Pipeline, call: Call, options: Mapping[str, Any], start: int, stop: int, possible: int
    ) -> tuple[list[_Input], int]:
        """Return the windows of some inputs, and how many tokens they could have had at most.

        Args:
            pipe: The pipeline.
            call: The call.
            options: All options of the call.
            start: Index of the first input.
            stop: Index after the last input.
            possible: How many tokens the inputs before them could have at most.

        Raises:
            InputError: An input is impossible; the message names its index if there are several.
            RequestError: The texts could have too many tokens.
        """
        texts: list[list[Any]] = []
        for index, value in enumerate(call.inputs[start:stop], start):
            try:
                if isinstance(value, TokenIds):
                    value.check(pipe)
                else:
                    texts.append(pipe.read(value, options))
            except (InputError, TypeError) as error:  # a TypeError if a required option is missing
                raise InputError(f"inputs[{index}]: {error}" if len(call.inputs) > 1 else str(error)) from error
        limits, tokens = self.settings.limits, most_tokens(pipe, texts, options)
        limits.at_most("possible tokens in all windows", possible + tokens, limits.possible_tokens)
        groups = pipe.tokenize(texts, options) if texts else [[value] for value in call.inputs[start:stop]]
        return [_Input(group, _cut(group), most_results(pipe, group, options)) for group in groups], tokens

    def close(self) -> None:
        """Stop the threads."""
        self._tokenizers.shutdown(wait=False, cancel_futures=True)


def _characters(value: Any) -> int:
    """Return the number of characters of all texts of an input."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, TokenIds):
        return CHARACTERS_PER_TOKEN * len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list | tuple) else 0


def _portions(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first index and the one after the last of inputs that have about `PORTION_CHARACTERS` characters."""
    start, characters = 0, 0
    for index, size in enumerate(sizes):
        if characters and characters + size > PORTION_CHARACTERS:
            yield start, index
            start, characters = index, 0
        characters += size
    yield start, len(sizes)


def _cut(windows: Sequence[Any]) -> list[int]:
    """Return for each window the number of tokens that were cut off after it; it keeps them in memory."""
    return [sum(map(len, window.overflowing)) for window in windows]
