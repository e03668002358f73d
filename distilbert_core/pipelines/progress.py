"""How far a long piece of work has come, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DELAY = 2.0  # seconds: what is done sooner needs no bar


def bar_delay(wanted: bool | None, streaming: bool) -> float | None:
    """Return after how many seconds a bar appears; None: never.

    Args:
        wanted: True: at once; False: never; None: on long work if standard error is a terminal.
        streaming: The caller takes results one by one and may print them, which a bar on the same terminal would
            disturb.
    """
    if wanted is not None:
        return 0.0 if wanted else None
    return DELAY if sys.stderr.isatty() and not (streaming and sys.stdout.isatty()) else None


@contextmanager
def progress_bar(total: int | None, delay: float | None) -> Iterator[Callable[[float], None]]:
    """Give a function to be called with how much more is done; it shows a bar once `delay` seconds have passed.

    Args:
        total: How much there is to do; None if that is not known.
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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    count = TextColumn("{task.completed:,.0f} inputs" if total is None else "{task.completed:,.0f}/{task.total:,}")
    ends = (TimeElapsedColumn(),) if total is None else (BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(SpinnerColumn(), count, *ends, console=Console(stderr=True), transient=True)
    bar.add_task("", total=total)
    return bar
