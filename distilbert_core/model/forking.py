"""Forked processes: a framework that has started its threads hangs in a fork, so using it there is an error.

A fork copies no threads. After a model was loaded or called, the first computation in a fork would wait forever for
those of PyTorch, TensorFlow or JAX. A fork of a process that has only imported them works.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS

WORKS_ALONE: dict[str, Callable[[], bool]] = {}  # backend -> whether it computes in the calling thread only

_started: set[str] = set()  # backends that have started threads in this process
_forked: set[str] = set()  # backends that had started them when this process was forked


class ForkedLock:
    """A lock for threads that is free in a fork, even if a thread of the parent process held it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkedLock] = weakref.WeakSet()


def _after_fork() -> None:
    _forked.update(_started)
    for lock in _locks:
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def start(backend: str) -> None:
    """Note that a backend computes in this process.

    Args:
        backend: 'pt', 'tf', 'flax', 'onnx', 'openvino' or 'litert'.

    Raises:
        InputError: This process was forked after the backend had started its threads.
    """
    if backend in _forked and not WORKS_ALONE.get(backend, bool)():
        title = BACKENDS[backend].title if backend in BACKENDS else backend  # a runtime of exported models
        raise InputError(
            f"{title} was in use when this process was forked, and would wait forever here: start "
            "processes with multiprocessing.get_context('spawn'), or fork before the first model is loaded or called."
        )
    _started.add(backend)
