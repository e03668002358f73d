"""Several things at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


def at_once(actions: Iterable[Callable[[], Any]]) -> list[Any]:
    """Start all actions at the same moment, each in a thread; return their results, or raise the first error."""
    actions = list(actions)
    results: list[Any] = [None] * len(actions)
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(actions))

    def run(number: int, action: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[number] = action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread is stuck"
    if errors:
        raise errors[0]
    return results
