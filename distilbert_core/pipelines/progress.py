"""Progress bars of long work, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DELAY = 2.0  # seconds; shorter work has no bar


def bar_delay(show: bool | None, streaming: bool) -> float | None:
    """Return the seconds until a bar appears; None: never.

    Args:
        show: True: at once; False: never; None: on long work if standard error is a terminal.
        streaming: The caller takes results one by one and may print them, which would disturb a bar on the same
            terminal.
    """
    if show is not None:
        return 0.0 if show else None
    return DELAY if sys.stderr.isatty() and not (streaming and sys.stdout.isatty()) else None


@contextmanager
def progress_bar(total: int | None, delay: float | None) -> Iterator[Callable[[float], None]]:
    """Context manager: yield a function to call with each amount of work done. A bar appears after `delay` seconds.

    Args:
        total: Amount of work; None if it is unknown.
        delay: Seconds until the bar appears; None: it never does.
    """
    start, done = time.monotonic(), 0.0
    bar: Any = None

    def advance(amount: float) -> None:
        nonlocal bar, done
        done += amount
        if bar is None and delay is not None and time.monotonic() - start >= delay:
            bar = _rich_bar(total)
            bar.start()
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()


def _rich_bar(total: int | None) -> Any:
    from rich import progress
    from rich.console import Console

    count = progress.TextColumn(
        "{task.completed:,.0f} inputs" if total is None else "{task.completed:,.0f}/{task.total:,}"
    )
    ends: list[Any] = [progress.TimeElapsedColumn()]
    if total is not None:
        ends = [progress.BarColumn(), *ends, progress.TimeRemainingColumn()]
    bar = progress.Progress(progress.SpinnerColumn(), count, *ends, console=Console(stderr=True), transient=True)
    bar.add_task("", total=total)
    return bar
