"""From texts to the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError
from distilbert_core.model.forking import ForkedLock
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.encodings import Truncation
from distilbert_core.tokenization.engine import Encoding
from distilbert_core.tokenization.inputs import as_batch
from distilbert_core.tokenization.options import NO_MAX_LENGTH, SIDES, token_count, truncation_strategy
from distilbert_core.tokenization.preparation import Preparation


class TextEncoding(Preparation):
    """Encodes texts."""

    split_special_tokens: bool
    _lock: ForkedLock

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Literal["right", "left"] | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding:
        """Tokenize a text, a pair, or a batch of either.

        Args:
            text: A text, a list of texts, or a list of pairs; with `is_split_into_words`, lists of words in place of
                texts. Arrays, columns of a table (pandas, Arrow, `datasets`) and tensors of texts count as lists.
            text_pair: The second text, or the list of second texts.
            text_target: Texts whose ids become `labels`; without `text`, they are tokenized in its place.
            text_pair_target: The second texts of `text_target`.
            add_special_tokens: Add [CLS] and [SEP] to the texts.
            padding: True or 'longest' (the longest of the batch), 'max_length', or False.
            truncation: True or 'longest_first', 'only_first', 'only_second', or False. None: True if `max_length` is
                given without `padding`, otherwise False.
            max_length: Length in tokens, with special tokens, for `truncation` and padding='max_length'. None:
                `model_max_length`; if that is unknown, texts are not truncated.
            stride: Number of tokens that neighbouring windows of a text share, with `return_overflowing_tokens`.
            is_split_into_words: Texts are lists of words.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: 'right' or 'left'; None: the tokenizer's own.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [B, T]; None for lists.
            return_token_type_ids: Return `token_type_ids`, 1 for the tokens of a second text and 0 for all others;
                DistilBERT's models do not use them. None: if it is among `model_input_names`.
            return_attention_mask: Return `attention_mask`, 1 for real tokens and 0 for padding. None: if it is among
                `model_input_names`, as it is by default.
            return_overflowing_tokens: Return all windows of a text that is truncated, one row each, and
                `overflow_to_sample_mapping`, the index of each row's text. False: only the first window.
            return_special_tokens_mask: Return `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Return `offset_mapping`, (start, end) of each token in characters of the text.
            return_length: Return `length`, the number of tokens with padding.
            verbose: Log, once, that texts are longer than `model_max_length`, or that an option has no effect.
            split_special_tokens: Split special tokens in a text like other words; None: the tokenizer's own setting.

        Returns:
            The encoding. Arrays are int64; int32 in JAX unless it runs with 64-bit numbers.

        Raises:
            InputError: The text has another type; an option is unknown or impossible for these texts; lengths differ
                and `return_tensors` is given without `padding`; or the tokenizer has no `pad_token` to pad with.
        """
        if text_target is not None:
            arguments = {name: value for name, value in locals().items() if name not in ("self", "text", "text_pair")}
            return self._with_target(text, text_pair, arguments)
        texts, single = as_batch(text, text_pair, is_split_into_words)
        pairs = any(isinstance(item, tuple) for item in texts)
        special = self.num_special_tokens_to_add(pairs) if add_special_tokens else 0
        truncated = self._truncation(truncation_strategy(truncation, padding, max_length), max_length, stride, special)
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        with self._lock:  # a call sets its options on the engine, which all threads share
            encodings = self._encode(texts, is_split_into_words, add_special_tokens, truncated, split)
        windows = [[encoding, *encoding.overflowing] for encoding in encodings] if return_overflowing_tokens else []
        if return_overflowing_tokens:
            encodings = list(chain.from_iterable(windows))
        returned = {
            "input_ids": True,
            "token_type_ids": self._returns("token_type_ids", return_token_type_ids),
            "attention_mask": self._returns("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns: dict[str, Any] = {
            name: list(map(_READ[name], encodings)) for name, wanted in returned.items() if wanted
        }
        lengths = list(map(len, columns["input_ids"]))
        self._note_lengths(lengths, truncation, padding, max_length, verbose)
        padded = self._padding(padding, max_length, pad_to_multiple_of, padding_side, lengths)
        dtypes = {} if return_tensors is None else dict.fromkeys(columns, np.int64)
        columns = self._pad_columns(columns, padded, dtypes)
        if return_length:
            columns["length"] = lengths if padded is None else [max(padded["length"], length) for length in lengths]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = [index for index, rows in enumerate(windows) for _ in rows]
        elif single and return_tensors is None:
            columns = {name: rows[0] for name, rows in columns.items()}
        return BatchEncoding(columns, encodings, return_tensors, padding=padded)

    def _with_target(self, text: Any, text_pair: Any, arguments: dict[str, Any]) -> BatchEncoding:
        """Return the encoding of a call with the ids of its target as `labels`; without `text`, that of the target."""
        target = arguments.pop("text_target"), arguments.pop("text_pair_target")
        labels = self(*target, **arguments)
        if text is None:
            return labels
        encoding = self(text, text_pair, **arguments)
        encoding["labels"] = labels["input_ids"]
        return encoding

    def _encode(
        self, texts: Sequence[Any], words: bool, special: bool, truncation: Truncation | None, split_special: bool
    ) -> Sequence[Encoding]:
        """Return the encodings of texts, and reset the engine's options."""
        engine = self.backend_tokenizer
        engine.encode_special_tokens = split_special
        try:
            if truncation is not None:
                engine.enable_truncation(**vars(truncation))
            return engine.encode_batch(texts, is_pretokenized=words, add_special_tokens=special)
        except BaseException as error:
            if type(error).__name__ not in _ENGINE_ERRORS:
                raise
            strategy = False if truncation is None else truncation.strategy
            raise InputError(
                f"A text holds lone surrogates, or truncation={strategy!r} is impossible: {error}."
            ) from error
        finally:
            engine.encode_special_tokens = False
            engine.no_truncation()

    def _truncation(self, strategy: str | None, max_length: int | None, stride: int, special: int) -> Truncation | None:
        """Return how texts with `special` special tokens are truncated; None: they are not."""
        length = self._length(max_length) if strategy else NO_MAX_LENGTH
        if strategy is None or length >= NO_MAX_LENGTH:
            return None
        if length < special:  # the library would not truncate at all
            raise InputError(f"max_length must leave room for {special} special tokens, got {length}.")
        room = length - special
        if token_count("stride", stride) >= room > 0:
            raise InputError(f"stride must be smaller than the room for the text, {room} tokens, got {stride}.")
        side = check_choice("truncation_side", self.truncation_side, SIDES)
        return Truncation(length, stride if room else 0, strategy, side)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Return the tokens of a text or pair.

        Args:
            text: The text.
            pair: The second text.
            add_special_tokens: Add [CLS] and [SEP].
            **kwargs: Further arguments of a call of the tokenizer.
        """
        return self(text, pair, add_special_tokens=add_special_tokens, **kwargs).tokens()

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any) -> Any:
        """Return the ids of a text or pair.

        Args:
            text: The text.
            text_pair: The second text.
            add_special_tokens: Add [CLS] and [SEP].
            **kwargs: Further arguments of a call of the tokenizer.
        """
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return the encoding of a text or pair, like a call of the tokenizer."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return the encoding of several texts or pairs, like a call of the tokenizer."""
        return self(batch_text_or_text_pairs, add_special_tokens=add_special_tokens, **kwargs)


_READ: dict[str, Callable[[Encoding], Sequence[Any]]] = {  # column -> its values in an encoding
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: [1] * len(encoding),  # padding comes later
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}

# Errors of the engines. The library's panic, for a stride that is too large, is not an Exception.
_ENGINE_ERRORS = ("Exception", "PanicException", "TypeError", "UnicodeEncodeError", "InputError")
