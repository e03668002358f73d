"""Runs a server until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from distilbert_core.errors import DistilBertError, InputError
from distilbert_serve.app import create_app
from distilbert_serve.metrics import Metrics
from distilbert_serve.models import Models, Source
from distilbert_serve.settings import Settings

Say = Callable[[str], object]


class _Server(uvicorn.Server):
    """A server that says when it listens, and whose signals `_serve` handles.

    Args:
        config: Its configuration.
        started_line: The line to say.
        say: Takes the line.
    """

    def __init__(self, config: uvicorn.Config, started_line: str, say: Say):
        super().__init__(config)
        self._started_line, self._say = started_line, say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._say(self._started_line)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Context manager: change no handler. Uvicorn's own would raise the signals again at the end."""
        yield


def serve(sources: Sequence[Source], settings: Settings, say: Say = lambda line: print(line, file=sys.stderr)) -> None:
    """Load models and answer requests until SIGTERM or Ctrl-C.

    SIGTERM ends accepting connections, finishes the accepted requests and returns; a second one ends at once. SIGHUP
    loads all models again.

    Args:
        sources: The models.
        settings: The settings of the server.
        say: Takes a line for the user.

    Raises:
        DistilBertError: A model cannot be loaded.
        InputError: The address is not available.
    """
    listener = _listen(settings)
    with listener:
        metrics = Metrics()
        models = Models(sources, settings, metrics)
        for model in models:
            what = f"{model.first.head.architecture} on {model.first.framework}"
            say(f"{model.source.name}: {what}: {', '.join(model.describe()['tasks'])}")
        if settings.token is None and not settings.is_local:
            say(
                f"Everyone who can reach {settings.host} can use these models: there is no --token, and requests "
                "are not encrypted."
            )
        with _addressed(settings):  # another server may have been faster
            listener.listen()
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(_serve(models, settings, metrics, listener, say))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes an event loop of uvloop, or None where it is not installed, as on Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _listen(settings: Settings) -> socket.socket:
    """Return a bound socket: an address in use is found before models are loaded. Clients are refused until then."""
    with _addressed(settings):
        info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = info[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    return listener


@contextmanager
def _addressed(settings: Settings) -> Iterator[None]:
    """Context manager: an error of an address is one sentence."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"--host must be a name or an address, got {settings.host!r}.") from error
    except OSError as error:
        raise InputError(
            f"The server cannot listen on {settings.host}:{settings.port}: {error.strerror}; give another --port."
        ) from error


async def _serve(models: Models, settings: Settings, metrics: Metrics, listener: socket.socket, say: Say) -> None:
    config = uvicorn.Config(
        create_app(models, settings, metrics),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
    )
    host, port = listener.getsockname()[:2]
    server = _Server(config, f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}", say)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit  # the second time
        server.should_exit = True

    handlers = {"SIGTERM": stop, "SIGINT": stop, "SIGHUP": lambda: loop.run_in_executor(None, _reload, models, say)}
    for name, handler in handlers.items():
        if hasattr(signal, name) and sys.platform != "win32":
            loop.add_signal_handler(getattr(signal, name), handler)
    await server.serve(sockets=[listener])


def _reload(models: Models, say: Say) -> None:
    for model in models:
        try:
            model.reload()
            say(f"{model.source.name} is loaded again.")
        except Exception as error:  # nobody else hears of it in this thread
            reason = error if isinstance(error, DistilBertError) else f"{type(error).__name__}: {error}"
            say(f"{model.source.name} could not be loaded again, the former model stays: {reason}")
