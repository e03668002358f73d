"""The one boundary of every reader of files: whatever goes wrong inside becomes one error that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from distilbert_core.errors import BackendNotInstalledError, CheckpointError, DistilBertError, shortened

LONGEST_MESSAGE = 600  # characters beside the name of the file
RUST_PANIC = "pyo3_runtime"  # module of the error of `tokenizers` and `safetensors` that is not an Exception

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def reading(path: str | Path | None, what: str, error: type[DistilBertError] = CheckpointError) -> Iterator[None]:
    """Context manager: an error inside becomes one error that names the file, what was expected and what was found.

    An error of this package keeps its type, and gets the name of the file if its message lacks it. Any other error, the
    panic of a library in Rust too, becomes `error`. Interrupts, warnings that are errors, and
    BackendNotInstalledError pass. The readers of a file belong inside; checks of a caller's arguments do not.

    Args:
        path: The file that is read; None is standard input.
        what: What the file should be, with an article: 'a configuration (a JSON object)'.
        error: Type of the error.

    Raises:
        CheckpointError: The file cannot be read; with `error`, an error of that type.

    Example:
        >>> from distilbert_core.files.boundary import reading
        >>> with reading("model/config.json", "a configuration"):
        ...     {}["dim"]
        Traceback (most recent call last):
        distilbert_core.errors.CheckpointError: model/config.json cannot be read as a configuration: it lacks 'dim'.
    """
    name = "standard input" if path is None else str(path)
    try:
        yield
    except (Warning, BackendNotInstalledError):
        raise
    except DistilBertError as cause:
        text = str(cause)
        named = name in text
        if named and len(text) <= len(name) + LONGEST_MESSAGE and text.isprintable():
            raise
        message = _printable(_cut(text, len(name) + LONGEST_MESSAGE if named else LONGEST_MESSAGE))
        raise type(cause)(message if named else f"{_printable(name)}: {message}") from cause
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__module__ != RUST_PANIC:
            raise
        raise error(f"{_printable(name)} cannot be read as {what}: {_printable(found(cause))}.") from cause


def reads(
    what: str, error: type[DistilBertError] = CheckpointError
) -> Callable[
    [Callable[Concatenate[Any, Arguments], Result]],
    Callable[Concatenate[Any, Arguments], Result],
]:
    """Decorator of a function whose first argument is the path of the file that it reads: `reading` around its body.

    Args:
        what: What the file should be, with an article.
        error: Type of the error.

    Example:
        >>> from distilbert_core.files.boundary import reads
        >>> @reads("a configuration")
        ... def read_width(path):
        ...     return {}["dim"]
        >>> read_width("config.json")
        Traceback (most recent call last):
        distilbert_core.errors.CheckpointError: config.json cannot be read as a configuration: it lacks 'dim'.
    """

    def decorate(
        function: Callable[Concatenate[Any, Arguments], Result],
    ) -> Callable[Concatenate[Any, Arguments], Result]:
        @wraps(function)
        def read(path: Any, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with reading(path, what, error):
                return function(path, *args, **kwargs)

        return read

    return decorate


def found(cause: BaseException) -> str:
    """Return what an error says about a file, in at most `LONGEST_MESSAGE` characters.

    Example:
        >>> from distilbert_core.files.boundary import found
        >>> found(RecursionError("maximum recursion depth exceeded"))
        'it is nested too deeply'
    """
    match cause:
        case RecursionError():
            return "it is nested too deeply"
        case MemoryError():
            return "it needs more memory than there is"
        case UnicodeDecodeError():
            return f"it is not UTF-8: byte 0x{cause.object[cause.start]:02x} at position {cause.start + 1}"
        case UnicodeEncodeError():
            return f"it has half of a surrogate pair, {shortened(cause.object[cause.start : cause.end])}"
        case KeyError() if len(cause.args) == 1:
            return f"it lacks {shortened(cause.args[0])}"
        case OSError() if cause.strerror:
            return cause.strerror
    text = str(cause).strip().rstrip(".")
    return _cut(f"{type(cause).__name__}: {text}" if text else type(cause).__name__, LONGEST_MESSAGE)


def _cut(text: str, most: int) -> str:
    """Return a text without its middle if it is longer than `most`; the end of a message often says what to do."""
    return text if len(text) <= most else f"{text[: most - 155]} ... {text[-150:]}"


def _printable(text: str) -> str:
    """Return a text with escapes for characters that a terminal cannot show, or that control it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
