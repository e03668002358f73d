"""Errors that become an answer to the client."""

from __future__ import annotations

from collections.abc import Mapping

from distilbert_core.errors import DistilBertError


class RequestError(DistilBertError):
    """A request that cannot be answered.

    Args:
        status: Status of the answer.
        message: One sentence: what was expected, what was given, what to do.
        headers: Headers of the answer.

    Example:
        >>> from distilbert_serve.errors import RequestError
        >>> RequestError(404, "unknown model").status
        404
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
