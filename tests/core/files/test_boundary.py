"""The boundary of readers: one error, of one class, that names the file."""

from __future__ import annotations

import warnings

import pytest

from distilbert_core.errors import (
    BackendNotInstalledError,
    CheckpointError,
    ConfigError,
    ConfigWarning,
    InputError,
    shortened,
)
from distilbert_core.files.boundary import LONGEST_MESSAGE, found, reading, reads


class PanicException(BaseException):  # as `tokenizers` and `safetensors` raise it
    __module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (KeyError("dim"), "it lacks 'dim'"),
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "it needs more memory than there is"),
        (UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid"), "it is not UTF-8: byte 0xff at position 2"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), r"it has half of a surrogate pair, '\ud800'"),
        (PermissionError(13, "Permission denied", "f"), "Permission denied"),
        (TypeError("unhashable."), "TypeError: unhashable"),
        (StopIteration(), "StopIteration"),
        (PanicException("index out of bounds"), "PanicException: index out of bounds"),
    ],
)
def test_any_error_becomes_one_that_names_the_file(cause: BaseException, message: str) -> None:
    with pytest.raises(CheckpointError) as caught, reading("a/config.json", "a configuration"):
        raise cause
    assert str(caught.value) == f"a/config.json cannot be read as a configuration: {message}."
    assert caught.value.__cause__ is cause


def test_an_error_of_this_package_keeps_its_type_and_gets_the_name() -> None:
    with pytest.raises(ConfigError, match=r"^a/config\.json: dim must be positive\.$"), reading("a/config.json", "x"):
        raise ConfigError("dim must be positive.")
    with pytest.raises(ConfigError, match=r"^dim of a/config\.json\.$"), reading("a/config.json", "x"):
        raise ConfigError("dim of a/config.json.")


def test_the_error_of_a_reader_of_inputs_is_an_input_error() -> None:
    message = r"^standard input cannot be read as texts: OSError: closed\.$"
    with pytest.raises(InputError, match=message), reading(None, "texts", InputError):
        raise OSError("closed")


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), ConfigWarning("odd")])
def test_interrupts_and_warnings_pass(cause: BaseException) -> None:
    with pytest.raises(type(cause)) as caught, reading("f", "x"):
        raise cause
    assert caught.value is cause


def test_a_missing_library_passes() -> None:
    with pytest.raises(BackendNotInstalledError, match=r"^h5py$"), reading("f", "x"):
        raise BackendNotInstalledError("h5py")


@pytest.mark.parametrize("cause", [ValueError("9" * 5000), ConfigError("9" * 5000), ConfigError("f" + "9" * 5000)])
def test_a_message_is_short(cause: Exception) -> None:
    with pytest.raises(ValueError if isinstance(cause, ConfigError) else OSError) as caught, reading("f", "x"):
        raise cause
    assert len(str(caught.value)) < LONGEST_MESSAGE + 50
    assert str(caught.value).startswith("f")


def test_a_message_can_be_printed() -> None:
    with pytest.raises(CheckpointError) as caught, reading("a\udcff\x1b[2J.json", "x"):
        raise CheckpointError("\ud800\n\x07")
    assert str(caught.value) == r"a\udcff\x1b[2J.json: \ud800\n\x07"
    str(caught.value).encode()


def test_a_decorated_reader_is_behind_the_boundary() -> None:
    @reads("a number", InputError)
    def read(path: str, base: int = 10) -> int:
        """Read."""
        return int(path, base)

    assert read("11", base=2) == 3
    assert read.__doc__ == "Read."
    with pytest.raises(InputError, match=r"^x cannot be read as a number: ValueError: invalid"):
        read("x")


def test_values_in_messages_are_short() -> None:
    with warnings.catch_warnings():
        values = ["x" * 10**6, 10**4000, 10**6000, {"a": [10**6000]}, list(range(10**5)), "\ud800" * 500, 1e400, None]
        assert all(len(shortened(value)) <= 100 and shortened(value).isprintable() for value in values)
    assert shortened("short") == "'short'"


def test_a_cause_without_text_is_named_by_its_type() -> None:
    assert found(ValueError()) == "ValueError"
