"""From ids without special tokens to what a model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from distilbert_core.errors import InputError
from distilbert_core.tokenization.accessors import Accessors
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.choices import (
    NO_MAX_LENGTH,
    TRUNCATIONS,
    note_lengths,
    padding_strategy,
    plain,
    truncation_strategy,
)
from distilbert_core.tokenization.vocabulary import one_of

Ids = Sequence[int]


class Preparation(Accessors):
    """The part of a tokenizer that puts special tokens around ids, and cuts and fills them up."""

    truncation_side: Literal["right", "left"]
    model_input_names: Sequence[str]
    pad: Callable[..., BatchEncoding]

    def _length(self, max_length: int | None) -> int:
        """Return to how many tokens texts are cut."""
        raise NotImplementedError

    def build_inputs_with_special_tokens(self, token_ids_0: Ids, token_ids_1: Ids | None = None) -> list[int]:
        """Put [CLS] and [SEP] around the ids of a text or pair: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
        cls, sep = self.cls_token_id, self.sep_token_id
        second = [] if token_ids_1 is None else [*token_ids_1, sep]
        return [cls, *token_ids_0, sep, *second]

    def create_token_type_ids_from_sequences(self, token_ids_0: Ids, token_ids_1: Ids | None = None) -> list[int]:
        """Return 0 for each token of [CLS] A [SEP] and 1 for each of B [SEP]; DistilBERT's models take none."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: Ids, token_ids_1: Ids | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token and 0 for the others.

        Args:
            token_ids_0: Ids of a text.
            token_ids_1: Ids of the second text of a pair.
            already_has_special_tokens: The ids have special tokens among them; without it, the mask is that of the
                ids with [CLS] and [SEP] put around them.

        Raises:
            InputError: There are two texts that already have special tokens.
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
        """Cut ids off a text or pair, on `truncation_side`.

        Args:
            ids: Ids of a text without special tokens.
            pair_ids: Ids of the second text.
            num_tokens_to_remove: How many ids to cut off.
            truncation_strategy: 'longest_first', 'only_first', 'only_second', or 'do_not_truncate'.
            stride: How many of the ids that are kept are put beside those that are cut off.

        Returns:
            The ids that are kept of both texts, and those that were cut off. The latter are empty for a pair with
            'longest_first', which cuts both texts.

        Raises:
            InputError: As many ids cannot be cut off.
        """
        strategy = one_of("truncation_strategy", plain(truncation_strategy), (*TRUNCATIONS, "do_not_truncate"))
        first, second = list(ids), None if pair_ids is None else list(pair_ids)
        count = num_tokens_to_remove
        if count <= 0 or strategy == "do_not_truncate":
            return first, second, []
        if strategy == "only_second":
            second, rest = self._cut("pair_ids", second, count, stride)
            return first, second, rest
        if strategy == "only_first" or second is None:
            first, rest = self._cut("ids", first, count, stride)
            return first, second, rest
        if count > len(first) + len(second):
            raise InputError(f"{count} ids cannot be cut off texts of {len(first)} and {len(second)} ids.")
        # First all that one text is longer, then the same of both, and of the second one more where it is odd.
        longer = min(abs(len(first) - len(second)), count)
        of_first = (count - longer) // 2 + longer * (len(first) > len(second))
        keep = slice(None, len(first) - of_first), slice(None, len(second) - (count - of_first))
        if self.truncation_side == "left":
            keep = slice(of_first, None), slice(count - of_first, None)
        return first[keep[0]], second[keep[1]], []

    def _cut(self, name: str, ids: list[int] | None, count: int, stride: int) -> tuple[list[int], list[int]]:
        """Return the ids that are kept, and those that are cut off with `stride` of the kept ones beside them."""
        if ids is None or len(ids) <= count:
            found = "None" if ids is None else f"{len(ids)} ids"
            raise InputError(f"{name} must have more ids than the {count} to be cut off, got {found}.")
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
        """Return the encoding of a text or pair that is given as ids without special tokens.

        Args:
            ids: Ids of the text.
            pair_ids: Ids of the second text.
            add_special_tokens: As in a call; so are the other arguments that are not described here.
            padding: As in a call.
            truncation: As in a call; a pair is cut as `truncate_sequences` does.
            max_length: As in a call.
            stride: How many of the ids that are kept are in `overflowing_tokens`, too.
            pad_to_multiple_of: As in a call.
            padding_side: As in a call.
            return_tensors: As in a call; the arrays are [T], and [1, T] with `prepend_batch_axis`.
            return_token_type_ids: As in a call.
            return_attention_mask: As in a call.
            return_overflowing_tokens: Add `overflowing_tokens`, the ids that are cut off, and `num_truncated_tokens`,
                by how many tokens the text is longer than `max_length`.
            return_special_tokens_mask: As in a call.
            return_offsets_mapping: False: ids do not say where in a text they stand.
            return_length: As in a call.
            verbose: As in a call.
            prepend_batch_axis: Return a batch of one text.

        Raises:
            InputError: An option is unknown or cannot be done.

        Example:
            >>> from distilbert_core import DistilBertTokenizer
            >>> tokenizer = DistilBertTokenizer.from_pretrained("sst2-tiny")
            >>> ids = tokenizer.encode("a warm, funny film", add_special_tokens=False)
            >>> tokenizer.prepare_for_model(ids, truncation=True, max_length=5)["input_ids"]
            [101, 1037, 4010, 1010, 102]
        """
        if return_offsets_mapping:
            raise InputError("return_offsets_mapping must be False: ids do not say where in a text they stand.")
        strategy = truncation_strategy(truncation, padding, max_length)
        special = self.num_special_tokens_to_add(pair_ids is not None) if add_special_tokens else 0
        count = len(ids) + len(pair_ids or ()) + special
        length = self._length(max_length) if strategy else NO_MAX_LENGTH
        if length < special:
            raise InputError(f"max_length must leave room for {special} special tokens, got {length}.")
        if return_overflowing_tokens and strategy == "longest_first" and pair_ids is not None:
            raise InputError(
                "return_overflowing_tokens must be False for a pair with truncation='longest_first', which cuts both "
                "texts; give 'only_first' or 'only_second'."
            )
        first, second, rest = self.truncate_sequences(
            ids, pair_ids, count - length, strategy or "do_not_truncate", stride
        )
        columns: dict[str, Any] = {}
        if return_overflowing_tokens:
            columns["overflowing_tokens"] = rest
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
        note_lengths(self, [len(columns["input_ids"])], truncation, padding, max_length, verbose)
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

    def _returns(self, column: str, asked: bool | None) -> bool:
        """Return whether a column is returned: as asked for, and by default if it is among `model_input_names`."""
        return column in self.model_input_names if asked is None else asked
