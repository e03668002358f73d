"""The texts of a tokenizer's call, in lists, arrays, columns of tables and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.libraries import TO_PYTHON


def as_batch(text: Any, pair: Any, split: bool) -> tuple[list[Any], bool]:
    """Return the inputs as a list of texts and pairs, and whether the input is a single one.

    Args:
        text: A text, a list of texts, or a list of pairs; also an array, a column of a table or a tensor of texts.
        pair: The second text, or a list of second texts; None: no second texts.
        split: Texts are lists of words.

    Raises:
        InputError: The inputs have another type. The message names the wrong one.
    """
    text, pair = as_list("text", text), as_list("text_pair", pair)
    single = _is_text(text, split)
    if single:
        text, pair = [text], None if pair is None else [pair]
    if not isinstance(text, Sequence) or isinstance(text, str):
        raise InputError(
            f"text must be a text, a pair or a list of them, got {type(text).__name__}; columns of tables, arrays, and "
            "tensors that have values (outside of tf.function) count as lists."
        )
    if pair is not None:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(text) != len(pair):
            raise InputError("text_pair must be like text: one text for one, or a list with one text for each in text.")
        text = list(zip(text, pair, strict=True))
    made = list if split else str
    texts: list[Any] = []
    for index, item in enumerate(text):
        if not isinstance(item, str):
            item = _plain(f"text[{index}]", item)
        if _is_text(item, split):
            texts.append(made(item))
        elif isinstance(item, list | tuple) and len(item) == 2 and all(_is_text(part, split) for part in item):
            texts.append(tuple(map(made, item)))
        else:
            raise InputError(
                f"text[{index}] must be a text{' split into words' if split else ''} or a pair of them, got {item!r}."
            )
    return texts, single


def as_list(name: str, values: Any) -> Any:
    """Return an array, a column of a table or a tensor of texts as a list; return other values unchanged.

    Raises:
        InputError: The value is bytes; only TensorFlow, whose texts are UTF-8, may have them.
    """
    if isinstance(values, str | list | tuple):
        return values
    if isinstance(values, bytes | bytearray):
        raise InputError(f"{name} must be a text, got {type(values).__name__}; decode them: {name}.decode('utf-8').")
    if hasattr(values, "numpy"):
        return _decoded(values.numpy())
    for method in TO_PYTHON:
        if hasattr(values, method):
            return getattr(values, method)()
    return values


def _plain(name: str, item: Any) -> Any:
    """Return an item with lists in place of arrays and tensors."""
    item = as_list(name, item)
    if isinstance(item, list | tuple) and not all(isinstance(part, str) for part in item):
        return [_plain(f"{name}[{index}]", part) for index, part in enumerate(item)]
    return item


def _decoded(values: Any) -> Any:
    """Return the values of a tensor of texts, which are UTF-8, as nested lists of texts."""
    if isinstance(values, bytes):
        return values.decode("utf-8")
    if hasattr(values, "tolist"):
        values = values.tolist()
    return list(map(_decoded, values)) if isinstance(values, list) else values


def _is_text(item: Any, split: bool) -> bool:
    if split:
        return isinstance(item, list | tuple) and all(isinstance(word, str) for word in item)
    return isinstance(item, str)
