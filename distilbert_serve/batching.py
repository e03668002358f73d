"""Joins the windows of many requests into packed batches, one thread for each model.

A request arrives with its token windows. While the model computes a batch, requests collect for the next one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from distilbert_core.pipelines import Pipeline
from distilbert_core.pipelines.options import Options
from distilbert_core.pipelines.running import Outputs, checked_outputs
from distilbert_core.tokenization.engine import Encoding
from distilbert_serve.errors import RequestError
from distilbert_serve.metrics import Metrics

RATE = 1000.0  # tokens per second, until the first batch was measured
CUT_SHARE = 8  # a token that was cut off counts as this part of one that is read
SMOOTHING = 0.2  # weight of the last batch in the measured rate


def lane_of(pipeline: Pipeline) -> Hashable:
    """Return what pipelines whose windows can share a batch have in common: the model and what it computes."""
    cls = type(pipeline)
    return pipeline.inference, cls.forward, cls.selected_tokens


@dataclass(eq=False)
class Work:
    """The windows of a request, and what becomes of them.

    Attributes:
        pipeline: The pipeline of the request.
        windows: The token windows of all inputs.
        options: Options of the pipeline; only `reduce` uses them, so that requests with other options share a batch.
        complete: Function from the reduced outputs of all windows to the result. It runs in a thread.
        cut: For each window, the number of tokens that were cut off, which stay in memory with it; empty: none.
        future: Gets the result, or the error.
    """

    pipeline: Pipeline
    windows: Sequence[Encoding]
    options: Options
    complete: Callable[[list[Any]], Any]
    cut: Sequence[int] = ()
    future: Future[Any] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.lane = lane_of(self.pipeline)
        self.arrived = time.monotonic()
        self.tokens = sum(map(len, self.windows))
        # What each window counts against the bound of the queue.
        cut = self.cut or [0] * len(self.windows)
        self.sizes = [len(window) + more // CUT_SHARE for window, more in zip(self.windows, cut, strict=True)]
        self.size = sum(self.sizes)
        self.next = 0  # the first window that is in no batch yet
        self.kept: list[Any] = [None] * len(self.windows)
        self.missing = len(self.windows)


Batch = list[tuple[Work, int]]  # windows: the request, and the index of the window in it


class Scheduler:
    """Runs the requests for one model in batches, in a thread of its own.

    Each waiting request gives one window to a batch in turn, so that a large request does not hold up small ones.
    A result is the same in any batch, up to the rounding of floating-point numbers.

    Args:
        name: Name of the model, for metrics and messages.
        batch_tokens: Maximum tokens of a batch. A longer window is a batch of its own.
        queue_tokens: Maximum tokens that wait or are computed.
        max_wait: Seconds that an idle model waits for more requests.
        metrics: Where to count.
    """

    def __init__(self, name: str, batch_tokens: int, queue_tokens: int, max_wait: float, metrics: Metrics):
        self.name = name
        self.batch_tokens, self.queue_tokens, self.max_wait = batch_tokens, queue_tokens, max_wait
        self._metrics = metrics
        self._queue: deque[Work] = deque()
        self._waiting = 0  # tokens in the queue
        self._tokens = 0  # tokens in the queue or in batches
        self._expected = 0  # tokens of texts that are being tokenized, estimated
        self._rate = RATE
        self._closed = False
        self._changed = threading.Condition()
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix=f"finish-{name}")
        self._thread = threading.Thread(target=self._run, name=f"model-{name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread of the model runs."""
        return self._thread.is_alive()

    @contextmanager
    def expected(self, tokens: int) -> Iterator[None]:
        """Context manager: count texts that are being tokenized.

        Args:
            tokens: An estimate of their number of tokens.

        Raises:
            RequestError: They would not fit into the queue.
        """
        with self._changed:
            taken = self._tokens + self._expected
            if taken and taken + tokens > self.queue_tokens:
                raise self._busy(taken)
            self._expected += tokens
        try:
            yield
        finally:
            with self._changed:
                self._expected -= tokens

    def _busy(self, taken: int) -> RequestError:
        seconds = max(1, round(taken / self._rate))
        return RequestError(
            429,
            f"{self.name} is busy: {taken} tokens wait, at most {self.queue_tokens} may; try again in {seconds} s.",
            {"Retry-After": str(seconds)},
        )

    def submit(self, work: Work) -> None:
        """Queue a request.

        Args:
            work: The request, with at least one window.

        Raises:
            RequestError: The queue is full, or the server is stopping.
        """
        with self._changed:
            if self._closed:
                raise RequestError(503, f"{self.name} is stopping.")
            if work.size > self.queue_tokens:
                raise RequestError(
                    413, f"The request has {work.size} tokens, at most {self.queue_tokens} are allowed; split it."
                )
            if self._tokens + work.size > self.queue_tokens:
                raise self._busy(self._tokens)
            self._queue.append(work)
            self._waiting += work.size
            self._tokens += work.size
            self._changed.notify()

    def cancel(self, work: Work) -> None:
        """Drop a request; nothing happens to a finished one."""
        work.future.cancel()
        self._drop_rest(work)

    def _drop_rest(self, work: Work) -> None:
        """Drop the windows of a request that are in no batch yet."""
        with self._changed:
            if work in self._queue:
                rest = sum(work.sizes[work.next :])
                self._queue.remove(work)
                self._waiting -= rest
                self._tokens -= rest

    def close(self, timeout: float | None = None) -> bool:
        """Finish what was accepted, and stop; return whether that was possible in time.

        Args:
            timeout: Seconds to wait; None: without end.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- the thread of the model ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while batch := self._next_batch():
            self._compute(batch)
        self._finisher.shutdown()

    def _next_batch(self) -> Batch:
        """Wait for requests, and return the windows of the next batch; an empty list after `close`."""
        with self._changed:
            while True:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return []
                rest = self._queue[0].arrived + self.max_wait - time.monotonic()
                if rest <= 0 or self._waiting >= self.batch_tokens or self._closed:
                    return self._take()
                self._changed.wait(rest)

    def _take(self) -> Batch:
        """Take the windows of the next batch: all of one lane, one of each request in turn."""
        lane = self._queue[0].lane
        batch: Batch = []
        tokens = 0
        others: list[Work] = []
        while self._queue:
            work = self._queue.popleft()
            if work.lane != lane:
                others.append(work)
                continue
            length = len(work.windows[work.next])
            if batch and tokens + length > self.batch_tokens:
                self._queue.appendleft(work)
                break
            if work.next == 0:
                self._metrics.queue_seconds.labels(self.name).observe(time.monotonic() - work.arrived)
            batch.append((work, work.next))
            tokens += length
            self._waiting -= work.sizes[work.next]
            work.next += 1
            if work.next < len(work.windows):
                self._queue.append(work)
        self._queue.extendleft(reversed(others))  # their turn is next
        self._metrics.waiting.labels(self.name).set(self._waiting)
        return batch

    def _compute(self, batch: Batch) -> None:
        """Run the model on a batch. If that fails, each request runs alone, so that only the faulty one fails."""
        tokens = sum(len(work.windows[index]) for work, index in batch)
        start = time.monotonic()
        try:
            outputs = list(batch[0][0].pipeline.forward([work.windows[index] for work, index in batch]))
        except Exception as error:
            works = dict.fromkeys(work for work, _ in batch)
            if len(works) > 1:
                for work in works:
                    self._compute([(member, index) for member, index in batch if member is work])
                return
            self._fail(batch[0][0], error)
            self._release(batch)
            return
        seconds = time.monotonic() - start
        self._rate += SMOOTHING * (tokens / max(seconds, 1e-6) - self._rate)
        self._metrics.model_seconds.labels(self.name).observe(seconds)
        self._metrics.fill.labels(self.name).observe(tokens / self.batch_tokens)
        self._metrics.tokens.labels(self.name).inc(tokens)
        self._finisher.submit(self._finish, batch, outputs)

    # -- the thread of the results --------------------------------------------------------------------------------

    def _finish(self, batch: Batch, outputs: Sequence[Outputs]) -> None:
        """Reduce the outputs of each window, and complete the requests that have all of theirs."""
        for (work, index), of_window in zip(batch, outputs, strict=True):
            if work.future.done():
                continue
            try:
                window = work.windows[index]
                checked = checked_outputs(work.pipeline, window, of_window)
                work.kept[index] = work.pipeline.reduce(window, checked, work.options)
                work.missing -= 1
                if work.missing == 0 and work.future.set_running_or_notify_cancel():
                    work.future.set_result(work.complete(work.kept))
            except Exception as error:
                self._fail(work, error)
        self._release(batch)

    def _fail(self, work: Work, error: Exception) -> None:
        """Give a request an error, and drop its other windows."""
        self._drop_rest(work)
        if isinstance(error, StopIteration):  # a future cannot have it
            error = RuntimeError(repr(error))
        with suppress(InvalidStateError):  # the client has gone
            work.future.set_exception(error)

    def _release(self, batch: Batch) -> None:
        """Give the room of computed windows back."""
        with self._changed:
            self._tokens -= sum(work.sizes[index] for work, index in batch)
