"""Leads a request through a server: model, tokens, queue, answer; and gives it up after a timeout or a disconnect."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
        """Return the token windows of a call, made in a thread."""
        estimate = sum(map(_characters, call.inputs)) // CHARACTERS_PER_TOKEN
        with model.scheduler.expected(estimate):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._tokenizers, self._tokenize, pipe, call)
            except TypeError as error:  # an unknown option
                raise RequestError(422, str(error)) from error

    def _tokenize(self, pipe: Pipeline, call: Call) -> tuple[Work, tuple[str, ...]]:
        limits = self.settings.limits
        if isinstance(template := call.options.get("hypothesis_template"), str):
            check_template(template)
        labels = call.options.get("candidate_labels")
        pairs = len(call.inputs) * (labels.count(",") + 1 if isinstance(labels, str) else len(labels or [None]))
        limits.at_most("pairs of a text and a label", pairs, limits.windows)
        with self._warnings, warnings.catch_warnings(record=True) as caught:  # the list is one for all threads
            warnings.simplefilter("always")
            options = pipe.with_defaults({name: value for name, value in call.options.items() if value is not None})
        groups = self._windows(pipe, call.inputs, options)
        windows = [window for group in groups for window in group]
        limits.at_most("windows of tokens", len(windows), limits.windows)
        limits.at_most("possible results", most_results(pipe, windows, options), limits.results)
        notes = [str(warning.message) for warning in caught]
        if options.get("truncation", True) is None:
            cut = [index for index, group in enumerate(groups) if any(window.overflowing for window in group)]
            notes += [
                f"inputs[{index}] has more than {options['max_length']} tokens; the rest was not read." for index in cut
            ]
        combine = call.combine or type(pipe).combine

        def complete(kept: list[Any]) -> Any:
            reduced = iter(kept)
            return call.render(
                [
                    combine(pipe, value, group, list(islice(reduced, len(group))), options)
                    for value, group in zip(call.inputs, groups, strict=True)
                ]
            )

        return Work(pipe, windows, options, complete), tuple(notes)

    def _windows(self, pipe: Pipeline, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[list[Any]]:
        """Return the token windows of each input. An error about one of several inputs names its index."""
        texts: list[list[Any]] = []
        for index, value in enumerate(inputs):
            try:
                if isinstance(value, TokenIds):
                    value.check(pipe)
                else:
                    texts.append(pipe.read(value, options))
            except InputError as error:
                raise InputError(f"inputs[{index}]: {error}" if len(inputs) > 1 else str(error)) from error
        if not texts:
            return [[value] for value in inputs]
        limits = self.settings.limits
        limits.at_most("possible tokens in all windows", most_tokens(pipe, texts, options), limits.possible_tokens)
        return pipe.tokenize(texts, options)

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
