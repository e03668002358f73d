"""Functions that read config.json and the files of a tokenizer, and use what they have read, for `support.watched`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from distilbert_core import DistilBertConfig, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.errors import DistilBertError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.report import check_fits, find_head
from distilbert_core.tokenization import BaseTokenizer
from weight_conversion import convert

TEXT = "w1 W2 unseen, [MASK] \u00e9\u4e2d new\n"


def first_error(*functions: Callable[[], object]) -> None:
    """Call all functions, and raise the first of their errors. An error that is not ours comes first."""
    errors: list[Exception] = []
    for function in functions:
        try:
            function()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:  # the frames hold what was read
                traceback.clear_frames(cause.__traceback__)
                cause = cause.__cause__
            errors.append(error)
    for error in sorted(errors, key=lambda error: isinstance(error, DistilBertError)):
        raise error


def read_config(path: Path, folder: Path) -> None:
    """Read a configuration, use it as loading a model does, write it, and convert the checkpoint."""

    def load() -> None:
        config = DistilBertConfig.from_pretrained(path)
        checkpoint = Checkpoint(path)
        check_fits(config, len(checkpoint.entries), checkpoint.paths, str(path))
        find_head(config, checkpoint.shapes)
        parameter_table(config, Head.SEQUENCE_CLASSIFICATION)
        hash(config)
        config.save_pretrained(folder / "config")
        assert DistilBertConfig.from_pretrained(folder / "config").to_json_string() == config.to_json_string()

    first_error(load, lambda: convert(path, folder / "new"))


def read_fast(path: Path, folder: Path) -> None:
    """Read the fast tokenizer, and use it."""
    _use(DistilBertTokenizerFast, path, folder)


def read_slow(path: Path, folder: Path) -> None:
    """Read the slow tokenizer, and use it."""
    _use(DistilBertTokenizer, path, folder)


def read_tokenizers(path: Path, folder: Path) -> None:
    """Read both tokenizers, and use them."""
    first_error(lambda: read_fast(path, folder), lambda: read_slow(path, folder))


def _use(cls: type[BaseTokenizer], path: Path, folder: Path) -> None:
    """Load a tokenizer, encode and decode a text, and write it."""
    tokenizer = cls.from_pretrained(path)
    encoded = tokenizer([TEXT, "w1"], truncation=True, max_length=16)
    tokenizer.decode(encoded["input_ids"][0], skip_special_tokens=True)
    tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    if len(tokenizer) < 10_000:  # else it takes seconds
        tokenizer.save_pretrained(folder / cls.__name__)
        cls.from_pretrained(folder / cls.__name__)
