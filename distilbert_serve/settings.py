"""The settings of a server, and the limits of a request, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distilbert_serve.errors import RequestError

DEFAULT_PORT = 8000


@dataclass(frozen=True)
class Limits:
    """What a request may be at most; more is answered with 413.

    Attributes:
        body_bytes: Bytes of the body.
        inputs: Inputs of a request.
        characters: Characters of a text.
        choices: Choices of an input, or labels to choose from.
        windows: Windows of tokens that the model reads for a request.
        option_characters: Characters of a text in an option.
        possible_tokens: Tokens that the texts can have by their numbers of characters, in all windows.
        results: Candidates for masks, answers to questions, or vectors of tokens.
    """

    body_bytes: int = 8 << 20
    inputs: int = 1024
    characters: int = 200_000
    choices: int = 256
    windows: int = 8192
    option_characters: int = 1000
    possible_tokens: int = 1 << 20
    results: int = 20_000

    def check(self, values: Sequence[Any]) -> None:
        """Raise RequestError if a list of inputs is above a limit.

        Args:
            values: The inputs: texts, lists of texts, or dicts of them.
        """
        self.at_most("inputs", len(values), self.inputs)
        for value in values:
            self._check_texts(value, "characters in a text", self.characters)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise RequestError if a value of the options is above a limit."""
        for value in options.values():
            self._check_texts(value, "characters in an option", self.option_characters)

    def _check_texts(self, value: Any, what: str, most: int) -> None:
        if isinstance(value, str):
            self.at_most(what, len(value), most)
        elif isinstance(value, list | tuple):
            self.at_most("texts in one list", len(value), self.choices)
            for text in value:
                self._check_texts(text, what, most)
        elif isinstance(value, dict):
            for text in value.values():
                self._check_texts(text, what, most)

    def at_most(self, what: str, number: int, most: int) -> None:
        """Raise RequestError if a number is above its limit."""
        if number > most:
            raise RequestError(413, f"The request has {number} {what}, at most {most} are allowed.")


@dataclass(frozen=True)
class Vertex:
    """The routes that Vertex AI asks for.

    Attributes:
        health_route: Path of the probe.
        predict_route: Path of the predictions.
    """

    health_route: str = "/health"
    predict_route: str = "/predict"


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0: any free one.
        token: Bearer token that requests must have; None: none.
        cors: Origins whose pages may call the server; '*' for all.
        allow_reload: Models may be reloaded without a token.
        batch_tokens: Maximum tokens of a batch; None: 1,024 on a CPU, 16,384 elsewhere.
        max_wait: Milliseconds that an idle model waits for more requests.
        queue_tokens: Maximum tokens that wait for a model; None: 64 batches.
        timeout: Seconds until a request is given up.
        shutdown_timeout: Seconds to finish accepted requests after SIGTERM.
        limits: Limits of a request.
        vertex: The routes for Vertex AI; None: the server does not run there.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    cors: tuple[str, ...] = ()
    allow_reload: bool = False
    batch_tokens: int | None = None
    max_wait: float = 2.0
    queue_tokens: int | None = None
    timeout: float = 30.0
    shutdown_timeout: float = 30.0
    limits: Limits = Limits()
    vertex: Vertex | None = None

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")
