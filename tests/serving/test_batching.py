from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from distilbert_core.errors import InputError
from distilbert_serve.batching import Scheduler, Work
from distilbert_serve.errors import RequestError
from distilbert_serve.metrics import Metrics
from support.serving import Echo, Window

Make = Callable[..., Scheduler]


@pytest.fixture
def make() -> Iterator[Make]:
    made = []

    def scheduler(batch_tokens: int = 10, queue_tokens: int = 1000, max_wait: float = 0.0) -> Scheduler:
        made.append(Scheduler("m", batch_tokens, queue_tokens, max_wait, Metrics()))
        return made[-1]

    yield scheduler
    for one in made:
        assert one.close(10)


def work(pipe: Echo, *firsts: int, length: int = 2, complete: Any = list) -> Work:
    """A request with windows of this length, which begin with these ids."""
    return Work(pipe, [Window([first] * length) for first in firsts], {}, complete)  # type: ignore[arg-type]


def blocked(make: Make, **settings: Any) -> tuple[Scheduler, Echo, Work]:
    """A scheduler whose model computes a first request until the gate of the pipeline opens."""
    scheduler, pipe = make(**settings), Echo()
    pipe.gate.clear()
    first = work(pipe, 0)
    scheduler.submit(first)
    assert pipe.started.wait(10)
    return scheduler, pipe, first


def firsts(pipe: Echo) -> list[list[int]]:
    return [[window[0] for window in batch] for batch in pipe.batches]


def test_requests_that_wait_share_a_batch(make: Make) -> None:
    scheduler, pipe, first = blocked(make)
    works = [work(pipe, 1), work(pipe, 2, 3), work(pipe, 4)]
    for one in works:
        scheduler.submit(one)
    pipe.gate.set()
    assert [one.future.result(10) for one in (first, *works)] == [[0], [1], [2, 3], [4]]
    assert firsts(pipe) == [[0], [1, 2, 4, 3]]


def test_a_large_request_does_not_hold_up_small_ones(make: Make) -> None:
    scheduler, pipe, _ = blocked(make)
    large = work(pipe, *range(100, 140))
    scheduler.submit(large)
    small = [work(pipe, n) for n in range(1, 4)]
    for one in small:
        scheduler.submit(one)
    pipe.gate.set()
    assert large.future.result(10) == list(range(100, 140))
    assert firsts(pipe)[1] == [100, 1, 2, 3, 101]


def test_a_batch_has_at_most_its_tokens_but_at_least_one_window(make: Make) -> None:
    scheduler, pipe, _ = blocked(make, batch_tokens=5)
    works = [work(pipe, 1, length=3), work(pipe, 2, length=3), work(pipe, 3, length=9), work(pipe, 4, length=2)]
    for one in works:
        scheduler.submit(one)
    pipe.gate.set()
    assert [one.future.result(10) for one in works] == [[1], [2], [3], [4]]
    assert firsts(pipe)[1:] == [[1], [2], [3], [4]]


def test_other_models_have_batches_of_their_own_in_turn(make: Make) -> None:
    scheduler, pipe, _ = blocked(make)
    other = Echo()
    order = [work(pipe, 1), work(other, 2), work(pipe, 3), work(other, 4)]
    for one in order:
        scheduler.submit(one)
    pipe.gate.set()
    assert [one.future.result(10) for one in order] == [[1], [2], [3], [4]]
    assert firsts(pipe)[1:] == [[1, 3]]
    assert firsts(other) == [[2, 4]]


def test_an_idle_model_waits_for_more_but_not_for_long(make: Make) -> None:
    scheduler, pipe = make(max_wait=0.2, batch_tokens=100), Echo()
    start = time.monotonic()
    first, second = work(pipe, 1), work(pipe, 2)
    scheduler.submit(first)
    scheduler.submit(second)
    assert first.future.result(10) == [1]
    assert 0.19 < time.monotonic() - start < 5
    assert firsts(pipe) == [[1, 2]]
    scheduler.submit(full := work(pipe, *range(100, 150)))  # a full batch is not held
    start = time.monotonic()
    full.future.result(10)
    assert time.monotonic() - start < 0.19


def test_a_full_queue_says_when_to_come_back(make: Make) -> None:
    scheduler, pipe, _ = blocked(make, queue_tokens=10)
    scheduler.submit(work(pipe, 1, 2, 3, 4))
    with pytest.raises(RequestError, match=r"^m is busy: 10 tokens wait, at most 10 may; try again in 1 s\.$") as full:
        scheduler.submit(work(pipe, 5))
    assert (full.value.status, full.value.headers) == (429, {"Retry-After": "1"})
    with pytest.raises(RequestError, match="is busy"), scheduler.expected(1):
        pass
    with pytest.raises(RequestError, match=r"has 12 tokens, at most 10 are allowed; split it") as large:
        scheduler.submit(work(pipe, *range(6)))
    assert large.value.status == 413
    pipe.gate.set()


def test_tokens_that_were_cut_off_take_room(make: Make) -> None:
    scheduler, pipe, _ = blocked(make, queue_tokens=20)
    long = Work(pipe, [Window([1, 1]), Window([2, 2])], {}, list, cut=[80, 7])  # type: ignore[arg-type]
    assert (long.tokens, long.sizes) == (4, [12, 2])
    scheduler.submit(long)
    with pytest.raises(RequestError, match="16 tokens wait"):
        scheduler.submit(work(pipe, 3, 4, 5))
    with pytest.raises(RequestError, match="The request has 21 tokens"):
        scheduler.submit(Work(pipe, [Window([1])], {}, list, cut=[160]))  # type: ignore[arg-type]
    pipe.gate.set()
    assert long.future.result(10) == [1, 2]
    while scheduler._tokens:
        time.sleep(0.001)
    assert scheduler._waiting == 0


def test_room_is_given_back(make: Make) -> None:
    scheduler, pipe = make(queue_tokens=10), Echo()
    for n in range(50):
        with scheduler.expected(3):
            one = work(pipe, n, -1 if n % 3 == 0 else n, 13 if n % 3 == 1 else n)
        scheduler.submit(one)
        assert (one.future.exception(10) is None) == (n % 3 == 2)
        while scheduler._tokens:  # the future is done a moment before
            time.sleep(0.001)
    assert scheduler._expected == scheduler._waiting == 0


def test_texts_that_are_being_tokenized_count(make: Make) -> None:
    scheduler = make(queue_tokens=10)
    with (  # the estimate of a first request alone refuses nothing
        scheduler.expected(1000),
        pytest.raises(RequestError, match="1000 tokens wait"),
        scheduler.expected(1),
    ):
        pass
    with scheduler.expected(1):
        pass


def test_a_cancelled_request_is_not_computed(make: Make) -> None:
    scheduler, pipe, first = blocked(make)
    gone, stays = work(pipe, 1, 2), work(pipe, 3)
    scheduler.submit(gone)
    scheduler.submit(stays)
    scheduler.cancel(gone)
    scheduler.cancel(gone)
    pipe.gate.set()
    assert stays.future.result(10) == [3]
    assert firsts(pipe) == [[0], [3]]
    with pytest.raises(CancelledError):
        gone.future.result(0)
    scheduler.cancel(first)
    assert first.future.result(0) == [0]


def test_the_rest_of_a_request_that_is_cancelled_while_computed_is_dropped(make: Make) -> None:
    scheduler, pipe = make(batch_tokens=2), Echo()
    pipe.gate.clear()
    half = work(pipe, 1, 2, 3)
    scheduler.submit(half)
    assert pipe.started.wait(10)
    scheduler.cancel(half)
    scheduler.submit(after := work(pipe, 4))
    pipe.gate.set()
    assert after.future.result(10) == [4]
    assert firsts(pipe) == [[1], [4]]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [(-1, RuntimeError, "a negative id"), (13, InputError, "must be finite, but the model gives NaN")],
)
def test_a_faulty_request_does_not_hurt_the_others(bad: int, error: type, message: str, make: Make) -> None:
    scheduler, pipe, _ = blocked(make)
    works = [work(pipe, 1), work(pipe, bad), work(pipe, 2)]
    for one in works:
        scheduler.submit(one)
    pipe.gate.set()
    assert works[0].future.result(10) == [1]
    assert works[2].future.result(10) == [2]
    with pytest.raises(error, match=message):
        works[1].future.result(10)


def test_an_error_that_a_future_cannot_have(make: Make) -> None:
    """Else the request would wait for ever."""

    def complete(kept: list[Any]) -> Any:
        raise StopIteration("no more")

    one = work(Echo(), 1, complete=complete)
    make().submit(one)
    with pytest.raises(RuntimeError, match=r"StopIteration\('no more'\)"):
        one.future.result(10)


def test_a_result_that_cannot_be_made_is_an_error_of_its_request(make: Make) -> None:
    scheduler, pipe = make(), Echo()
    bad, good = work(pipe, 1, complete=lambda kept: kept[5]), work(pipe, 2)
    scheduler.submit(bad)
    scheduler.submit(good)
    with pytest.raises(IndexError):
        bad.future.result(10)
    assert good.future.result(10) == [2]


def test_closing_finishes_what_was_accepted(make: Make) -> None:
    scheduler, pipe, first = blocked(make)
    scheduler.submit(second := work(pipe, 1, 2, 3, 4, 5, 6))
    assert scheduler.close(0.05) is False  # the model computes
    with pytest.raises(RequestError, match="m is stopping") as stopping:
        scheduler.submit(work(pipe, 1))
    assert stopping.value.status == 503
    pipe.gate.set()
    assert scheduler.close(10)
    assert second.future.result(0) == [1, 2, 3, 4, 5, 6]
    assert first.future.done()
    assert not scheduler.is_alive


def test_no_result_is_lost_doubled_or_swapped_among_threads(make: Make) -> None:
    scheduler, pipe = make(batch_tokens=64, queue_tokens=10**6), Echo()
    results: dict[int, list[int]] = {}

    def client(number: int) -> None:
        for turn in range(50):
            key = number * 1000 + turn
            count = 1 + key % 5
            scheduler.submit(one := work(pipe, *range(100 + key, 100 + key + count), length=1 + key % 7))
            if key % 11 == 0:
                scheduler.cancel(one)
            else:
                results[key] = one.future.result(20)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    expected = {n * 1000 + t for n in range(8) for t in range(50) if (n * 1000 + t) % 11}
    assert results.keys() == expected
    assert all(value == list(range(100 + key, 100 + key + 1 + key % 5)) for key, value in results.items())
