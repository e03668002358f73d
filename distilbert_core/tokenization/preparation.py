"""From ids without special tokens to the inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.options import (
    NO_MAX_LENGTH,
    TRUNCATIONS,
    padding_strategy,
    plain,
    truncation_strategy,
)
from distilbert_core.tokenization.padding import Padding

Ids = Sequence[int]


class Preparation(Padding):
    """Adds special tokens to ids, and truncates and pads them."""

    truncation_side: Literal["right", "left"]
    model_input_names: Sequence[str]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of special tokens that are added to one text, or to a pair."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)

    def build_inputs_with_special_tokens(self, token_ids_0: Ids, token_ids_1: Ids | None = None) -> list[int]:
        """Add special tokens to the ids of a text or pair: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
        cls, sep = self.cls_token_id, self.sep_token_id
        second = [] if token_ids_1 is None else [*token_ids_1, sep]
        return [cls, *token_ids_0, sep, *second]

    def create_token_type_ids_from_sequences(self, token_ids_0: Ids, token_ids_1: Ids | None = None) -> list[int]:
        """Return 0 for each token of [CLS] A [SEP] and 1 for each of B [SEP]. DistilBERT's models do not use them."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: Ids, token_ids_1: Ids | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token and 0 for the others.

        Args:
            token_ids_0: Ids of a text.
            token_ids_1: Ids of the second text of a pair.
            already_has_special_tokens: `token_ids_0` includes special tokens. False: [CLS] and [SEP] are counted as if
                they had been added.

        Raises:
            InputError: `token_ids_1` is given with `already_has_special_tokens`.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise InputError("token_ids_1 must be left out with already_has_special_tokens=True: give all in one.")
            special = self._special_ids()
            return [int(index in special) for index in token_ids_0]
        texts = (token_ids_0,) if token_ids_1 is None else (token_ids_0, token_ids_1)
        return [1, *(bit for ids in texts for bit in (*[0] * len(ids), 1))]

    def truncate_sequences(
        self,
        ids: Ids,
        pair_ids: Ids | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Remove ids from a text or pair, on `truncation_side`.

        Args:
            ids: Ids of a text without special tokens.
            pair_ids: Ids of the second text.
            num_tokens_to_remove: Number of ids to remove.
            truncation_strategy: 'longest_first', 'only_first', 'only_second', or 'do_not_truncate'.
            stride: Number of kept ids that are returned together with the removed ones.

        Returns:
            The kept ids of both texts, and the removed ids. For a pair with 'longest_first', which truncates both
            texts, the removed ids are not returned.

        Raises:
            InputError: The texts have fewer ids.
        """
        strategy = check_choice("truncation_strategy", plain(truncation_strategy), (*TRUNCATIONS, "do_not_truncate"))
        first, second = list(ids), None if pair_ids is None else list(pair_ids)
        count = num_tokens_to_remove
        if count <= 0 or strategy == "do_not_truncate":
            return first, second, []
        if strategy == "only_second":
            second, removed = self._cut("pair_ids", second, count, stride)
            return first, second, removed
        if strategy == "only_first" or second is None:
            first, removed = self._cut("ids", first, count, stride)
            return first, second, removed
        if count > len(first) + len(second):
            raise InputError(f"{count} ids cannot be removed from texts of {len(first)} and {len(second)} ids.")
        # Shorten the longer text to the length of the other one, then both alike. An odd id is one of the second text.
        longer = min(abs(len(first) - len(second)), count)
        of_first = (count - longer) // 2 + longer * (len(first) > len(second))
        keep = slice(None, len(first) - of_first), slice(None, len(second) - (count - of_first))
        if self.truncation_side == "left":
            keep = slice(of_first, None), slice(count - of_first, None)
        return first[keep[0]], second[keep[1]], []

    def _cut(self, name: str, ids: list[int] | None, count: int, stride: int) -> tuple[list[int], list[int]]:
        """Return the kept ids, and the removed ids with `stride` of the kept ones."""
        if ids is None or len(ids) <= count:
            size = "None" if ids is None else f"{len(ids)} ids"
            raise InputError(f"{name} must have more ids than the {count} to be removed, got {size}.")
        window = min(len(ids), stride + count)
        if self.truncation_side == "left":
            return ids[count:], ids[:window]
        return ids[:-count], ids[-window:]

    def prepare_for_model(
        self,
        ids: Ids,
        pair_ids: Ids | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
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
        prepend_batch_axis: bool = False,
    ) -> BatchEncoding:
        """Return the encoding of a text or pair, given as ids without special tokens.

        Args:
            ids: Ids of the text.
            pair_ids: Ids of the second text.
            add_special_tokens: Add [CLS] and [SEP].
            padding: True or 'longest' (which pads only to `pad_to_multiple_of`), 'max_length', or False.
            truncation: True or 'longest_first', 'only_first', 'only_second', or False. None: True if `max_length` is
                given without `padding`, otherwise False.
            max_length: Length for `truncation` and padding='max_length', with special tokens; None:
                `model_max_length`.
            stride: Number of kept ids that are in `overflowing_tokens`, too.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: 'right' or 'left'; None: the tokenizer's own.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [T], or [1, T] with `prepend_batch_axis`; None for
                lists.
            return_token_type_ids: Return `token_type_ids`; None: if it is among `model_input_names`.
            return_attention_mask: Return `attention_mask`; None: if it is among `model_input_names`.
            return_overflowing_tokens: Return `overflowing_tokens`, the removed ids, and `num_truncated_tokens`, the
                number of tokens by which the text exceeds `max_length`.
            return_special_tokens_mask: Return `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Must be False: ids have no offsets in a text.
            return_length: Return `length`, the number of tokens with padding.
            verbose: Log, once, that a text is longer than `model_max_length`, or that an option has no effect.
            prepend_batch_axis: Return a batch of one text.

        Raises:
            InputError: An option is unknown or impossible for these ids.

        Example:
            >>> from distilbert_core import DistilBertTokenizer
            >>> tokenizer = DistilBertTokenizer.from_pretrained("sst2-tiny")
            >>> ids = tokenizer.encode("a warm, funny film", add_special_tokens=False)
            >>> tokenizer.prepare_for_model(ids, truncation=True, max_length=5)["input_ids"]
            [101, 1037, 4010, 1010, 102]
        """
        if return_offsets_mapping:
            raise InputError("return_offsets_mapping must be False: ids have no offsets in a text.")
        strategy = truncation_strategy(truncation, padding, max_length)
        special = self.num_special_tokens_to_add(pair_ids is not None) if add_special_tokens else 0
        count = len(ids) + len(pair_ids or ()) + special
        length = self._length(max_length) if strategy else NO_MAX_LENGTH
        if length < special:
            raise InputError(f"max_length must leave room for {special} special tokens, got {length}.")
        if return_overflowing_tokens and strategy == "longest_first" and pair_ids is not None:
            raise InputError(
                "return_overflowing_tokens must be False for a pair with truncation='longest_first', which truncates "
                "both texts; give 'only_first' or 'only_second'."
            )
        first, second, removed = self.truncate_sequences(
            ids, pair_ids, count - length, strategy or "do_not_truncate", stride
        )
        columns: dict[str, Any] = {}
        if return_overflowing_tokens:
            columns["overflowing_tokens"] = removed
            columns["num_truncated_tokens"] = count - length if strategy and length < NO_MAX_LENGTH else 0
        if add_special_tokens:
            columns["input_ids"] = self.build_inputs_with_special_tokens(first, second)
        else:
            columns["input_ids"] = [*first, *(second or ())]
        if self._returns("token_type_ids", return_token_type_ids):
            columns["token_type_ids"] = (
                self.create_token_type_ids_from_sequences(first, second)
                if add_special_tokens
                else [0] * len(first) + [1] * len(second or ())
            )
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = (
                self.get_special_tokens_mask(first, second) if add_special_tokens else [0] * len(columns["input_ids"])
            )
        self._note_lengths([len(columns["input_ids"])], truncation, padding, max_length, verbose)
        encoding = self.pad(
            columns,
            padding=padding_strategy(padding) or False,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=self._returns("attention_mask", return_attention_mask),
        )
        if return_length:
            encoding["length"] = len(encoding["input_ids"])
        return encoding.convert_to_tensors(return_tensors, prepend_batch_axis)

    def _returns(self, column: str, requested: bool | None) -> bool:
        """Return whether to return a column; by default, if it is among `model_input_names`."""
        return column in self.model_input_names if requested is None else requested
