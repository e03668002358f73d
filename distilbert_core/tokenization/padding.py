"""Padding: encodings of different lengths become rows of one length."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal, TypedDict

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.columns import (
    PADDED,
    PADDING_VALUES,
    array_rows,
    as_array,
    columns_of,
    pad_lists,
    pad_to_array,
    plain_rows,
)
from distilbert_core.tokenization.options import (
    NO_MAX_LENGTH,
    NOTES,
    SIDES,
    padding_strategy,
    plain,
    token_count,
    truncation_strategy,
)
from distilbert_core.tokenization.vocabulary import Vocabulary

logger = logging.getLogger("distilbert_core.tokenization")


class PaddingOptions(TypedDict):
    """Arguments of an encoding's `pad`."""

    length: int
    direction: str
    pad_id: int
    pad_token: str | None


class Padding(Vocabulary):
    """Pads encodings."""

    model_max_length: int
    padding_side: Literal["right", "left"]
    verbose: bool
    deprecation_warnings: dict[str, bool]

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Literal["right", "left"] | None = None,
        return_attention_mask: bool | None = True,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad encodings to one length.

        Args:
            encoded_inputs: One encoding of a text or of a batch, or a list of encodings of texts with the same keys.
                Only the columns that a call returns for each token are padded.
            padding: True or 'longest' (the longest of the batch), 'max_length', or False.
            max_length: Length for 'max_length'; None: `model_max_length`.
            pad_to_multiple_of: Round the length up to a multiple of this.
            padding_side: 'right' or 'left'; None: the tokenizer's own.
            return_attention_mask: Add `attention_mask` if it is missing; None: as True.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays, with dtypes as in `BatchEncoding.convert_to_tensors`;
                None for lists.
            verbose: Ignored; accepted for compatibility with Transformers.

        Raises:
            InputError: `input_ids` is missing; keys, numbers of rows or lengths of a row differ; a column cannot be an
                array; an option is unknown; or the tokenizer has no `pad_token`.
        """
        columns, single = columns_of(encoded_inputs)
        lengths = list(map(len, columns["input_ids"]))
        if return_attention_mask is not False:
            columns.setdefault("attention_mask", [[1] * length for length in lengths])
        dtypes = {}
        if return_tensors is None:
            columns = {name: plain_rows(rows) for name, rows in columns.items()}
        else:
            for name in columns.keys() & PADDED:
                columns[name] = array_rows(columns[name], name)
                dtypes[name] = as_array([*chain.from_iterable(columns[name])], name, return_tensors).dtype
        options = self._padding(padding, max_length, pad_to_multiple_of, padding_side, lengths)
        columns = self._pad_columns(columns, options, dtypes)
        if return_tensors is not None:
            return BatchEncoding(columns).convert_to_tensors(return_tensors)
        return BatchEncoding({name: values[0] for name, values in columns.items()} if single else columns)

    def _padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None, side: str | None, lengths: list[int]
    ) -> PaddingOptions | None:
        """Return how encodings of these lengths are padded; None: they are not."""
        strategy = padding_strategy(padding)
        if strategy is None:
            return None
        length = self._length(max_length) if strategy == "max_length" else max(lengths, default=0)
        if length >= NO_MAX_LENGTH:
            raise InputError("padding='max_length' needs max_length: this tokenizer has no model_max_length.")
        multiple = 1 if multiple is None else token_count("pad_to_multiple_of", multiple) or 1
        pad_id = self.special_id("pad_token")
        return {
            "length": -(-length // multiple) * multiple,
            "direction": check_choice("padding_side", side or self.padding_side, SIDES),
            "pad_id": pad_id,
            "pad_token": self.pad_token,
        }

    def _pad_columns(
        self, columns: dict[str, Any], padding: PaddingOptions | None, dtypes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Pad the columns of tokens: to arrays if they have a dtype, otherwise to lists.

        If a row is longer than the padded length, all columns stay lists.
        """
        if padding is None:
            return columns
        length, left = padding["length"], padding["direction"] == "left"
        fits = max(map(len, columns["input_ids"]), default=0) <= length
        padded: dict[str, Any] = {}
        for name, value in {"input_ids": padding["pad_id"], **PADDING_VALUES}.items():
            if name in dtypes and fits:
                padded[name] = pad_to_array(columns[name], length, value, left, dtypes[name])
            elif name in columns:
                padded[name] = pad_lists(columns[name], length, value, left)
        return {**columns, **padded}

    def _length(self, max_length: int | None) -> int:
        """Return the length to which texts are truncated or padded."""
        return self.model_max_length if max_length is None else token_count("max_length", max_length)

    def _note_lengths(
        self, lengths: Sequence[int], truncation: Any, padding: Any, max_length: int | None, verbose: bool
    ) -> None:
        """Log, once for a tokenizer, that texts are too long, or that `max_length` or `truncation` has no effect.

        These are not Python warnings, which may be errors: a caller may want to truncate the ids himself.
        """
        if not (verbose and self.verbose):
            return
        longest, most = max(lengths, default=0), self.model_max_length
        cut = truncation_strategy(truncation, padding, max_length)
        if max_length is None and longest > most > 0:
            self._note("sequence-length-is-longer-than-the-specified-maximum", longest, most)
        if max_length is None and cut and most >= NO_MAX_LENGTH:
            self._note("Asking-to-truncate-to-max_length", plain(truncation))
        if max_length is not None and cut and truncation is None:
            self._note("Truncation-not-explicitly-activated", max_length)
        if max_length is not None and not cut and padding_strategy(padding) != "max_length":
            self._note("max_length-without-effect", max_length)

    def _note(self, key: str, *values: Any) -> None:
        if not self.deprecation_warnings.get(key):
            logger.warning(NOTES[key], *values)
            self.deprecation_warnings[key] = True
