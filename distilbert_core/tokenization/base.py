"""The interface that both tokenizers share: everything but the engine that turns a text into tokens."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from tokenizers import AddedToken

from distilbert_core.checkpoint import replace_files
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.columns import pad as pad_rows
from distilbert_core.tokenization.columns import pad_to_array

NO_MAX_LENGTH = int(1e30)  # what Transformers writes where no length is known

SPECIAL_TOKENS = {  # argument -> default
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
SIDES = ("right", "left")
TRUNCATIONS = ("longest_first", "only_first", "only_second")
NO_TRUNCATION = (None, False, "do_not_truncate")
NO_PADDING = (False, "do_not_pad")

SPACES = (  # what decoding leaves -> what it becomes, one after the other
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)

Text = str | Sequence[str]  # a text, or with is_split_into_words its words
Token = str | AddedToken


class BaseTokenizer:
    """Splits text into WordPiece tokens and gives their ids, with [CLS] and [SEP] around them.

    DistilBERT has no token types, so none are produced. A tokenizer may be shared by threads.

    Args:
        vocab_file: vocab.txt, one token a line. Give this or `tokenizer_file`.
        tokenizer_file: tokenizer.json as the `tokenizers` library writes it.
        do_lower_case: Lower-case the text. None: as `tokenizer_file` says, True for a `vocab_file`.
        do_basic_tokenize: Normalise the text and split at punctuation, not only at white space, before WordPiece.
            With a `tokenizer_file`, that says it.
        never_split: Tokens that are left as they are where they stand between white space.
        unk_token: Stands for a word that the vocabulary cannot spell.
        sep_token: Ends a text and separates the two of a pair.
        pad_token: Fills short texts up.
        cls_token: Begins every input.
        mask_token: Stands for a token to be predicted.
        additional_special_tokens: More tokens that are never split and that decoding can leave out.
        added_tokens_decoder: Tokens that were added before, by id.
        clean_text: Remove control characters and unify white space. None: as in the file, or True.
        tokenize_chinese_chars: Put spaces around Chinese characters. None: as in the file, or True.
        strip_accents: Remove accents; None: as in the file, or if lower-casing.
        wordpieces_prefix: What a token that continues a word begins with. With a `tokenizer_file`, that says it.
        clean_up_tokenization_spaces: Take spaces before punctuation and around apostrophes out when decoding.
        model_max_length: Length that `truncation=True` cuts to; None: no limit known.
        padding_side: 'right' or 'left'.
        truncation_side: 'right' or 'left'.

    Raises:
        CheckpointError: A file is missing or damaged, the vocabulary lacks a special token, or an added token would
            get another id.
        InputError: An option is not one of those named.
    """

    is_fast: bool
    unk_token: str
    sep_token: str
    pad_token: str
    cls_token: str
    mask_token: str
    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool | None = None,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        unk_token: Token = SPECIAL_TOKENS["unk_token"],
        sep_token: Token = SPECIAL_TOKENS["sep_token"],
        pad_token: Token = SPECIAL_TOKENS["pad_token"],
        cls_token: Token = SPECIAL_TOKENS["cls_token"],
        mask_token: Token = SPECIAL_TOKENS["mask_token"],
        additional_special_tokens: Sequence[Token] = (),
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        clean_text: bool | None = None,
        tokenize_chinese_chars: bool | None = None,
        strip_accents: bool | None = None,
        wordpieces_prefix: str = "##",
        clean_up_tokenization_spaces: bool = True,
        model_max_length: int | None = None,
        padding_side: Literal["right", "left"] = "right",
        truncation_side: Literal["right", "left"] = "right",
    ):
        # Transformers' files hold its 'unknown' as 1e30, which JSON may give back as a float.
        length = NO_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = _token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
        self.padding_side = _one_of("padding_side", padding_side, SIDES)
        self.truncation_side = _one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.never_split = tuple(never_split or ())
        special = dict(zip(SPECIAL_TOKENS, (unk_token, sep_token, pad_token, cls_token, mask_token), strict=True))
        for name, token in special.items():
            setattr(self, name, str(token))
        self.additional_special_tokens = [str(token) for token in additional_special_tokens]
        added = dict(sorted((added_tokens_decoder or {}).items()))
        options = {
            "clean_text": clean_text,
            "handle_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
            "lowercase": do_lower_case,
        }
        normalizer = {name: value for name, value in options.items() if value is not None}
        self.backend_tokenizer: Any
        if tokenizer_file is not None:
            self.backend_tokenizer = self._read_engine(tokenizer_file, normalizer)
        elif vocab_file is not None:
            vocabulary = files.read_vocabulary(vocab_file)
            self._check_special_tokens({*vocabulary, *(token.content for token in added.values())})
            self.backend_tokenizer = self._make_engine(
                files.Specification(vocabulary, self.unk_token, wordpieces_prefix, do_basic_tokenize, normalizer)
            )
        else:
            raise InputError("Give vocab_file or tokenizer_file; got neither.")
        self._add_again(added)
        self._check_special_tokens(self.get_vocab())
        self.add_tokens([*special.values(), *additional_special_tokens], special_tokens=True)
        self._set_frame()
        self._lock = threading.Lock()

    def _add_again(self, added: Mapping[int, AddedToken]) -> None:
        for index, token in added.items():
            self.add_tokens([token], special_tokens=token.special)
            got = self.convert_tokens_to_ids(token.content)
            if got != index:
                raise CheckpointError(
                    f"The vocabulary and the added tokens do not fit together: the added token {token.content!r} must "
                    f"have the id {index}, but after those before it gets {got}."
                )

    def _check_special_tokens(self, vocabulary: Container[str]) -> None:
        missing = [getattr(self, name) for name in SPECIAL_TOKENS if getattr(self, name) not in vocabulary]
        if missing:
            raise CheckpointError(f"The vocabulary lacks the special token(s) {', '.join(missing)}.")

    def _make_engine(self, specification: files.Specification) -> Any:
        """Return an engine: an object with the methods of `tokenizers.Tokenizer`."""
        raise NotImplementedError

    def _read_engine(self, tokenizer_file: str | Path, normalizer: Mapping[str, bool]) -> Any:
        """Return the engine that tokenizer.json describes, with some options of its normaliser replaced."""
        raise NotImplementedError

    def _set_frame(self) -> None:
        """Tell the engine what stands around a text: `cls_token` and `sep_token`."""
        raise NotImplementedError

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        """Join pieces to words and words by spaces; cleaning up takes out those that `SPACES` finds in one token."""
        raise NotImplementedError

    def specification(self) -> files.Specification:
        """Return what the engine was made from: vocabulary and options."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"

    # -- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary, added ones not counted."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """The id of every token."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token, added ones too."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of the special and the added tokens."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The special and the added tokens, with their options, by id."""
        return self.backend_tokenizer.get_added_tokens_decoder()

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """The special tokens by argument name."""
        tokens: dict[str, Any] = {name: getattr(self, name) for name in SPECIAL_TOKENS}
        if self.additional_special_tokens:
            tokens["additional_special_tokens"] = list(self.additional_special_tokens)
        return tokens

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens."""
        return list(dict.fromkeys([getattr(self, name) for name in SPECIAL_TOKENS] + self.additional_special_tokens))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return [self._token_id(token) for token in self.all_special_tokens]

    def _token_id(self, token: str) -> int:
        index = self.backend_tokenizer.token_to_id(token)
        return self.unk_token_id if index is None else index

    @property
    def unk_token_id(self) -> int:
        """Id of `unk_token`."""
        return cast(int, self.backend_tokenizer.token_to_id(self.unk_token))  # its presence was checked

    @property
    def sep_token_id(self) -> int:
        """Id of `sep_token`."""
        return self._token_id(self.sep_token)

    @property
    def pad_token_id(self) -> int:
        """Id of `pad_token`."""
        return self._token_id(self.pad_token)

    @property
    def cls_token_id(self) -> int:
        """Id of `cls_token`."""
        return self._token_id(self.cls_token)

    @property
    def mask_token_id(self) -> int:
        """Id of `mask_token`."""
        return self._token_id(self.mask_token)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or of each token; that of `unk_token` for unknown ones."""
        return self._token_id(tokens) if isinstance(tokens, str) else [self._token_id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: int | Sequence[int], skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or of each id, None where there is none; special ones left out if asked.

        Raises:
            InputError: An id is negative.
        """
        one = isinstance(ids, int | np.integer)
        wanted = np.atleast_1d(np.asarray(ids, dtype=np.int64)).tolist()
        if min(wanted, default=0) < 0:
            raise InputError(f"An id must not be negative, got {min(wanted)}; replace labels such as -100 first.")
        skipped = self._special_ids() if skip_special_tokens and not one else set()
        added = self.added_tokens_decoder  # the library's own look-up gives these normalised
        tokens = [
            added[index].content if index in added else self.backend_tokenizer.id_to_token(index)
            for index in wanted
            if index not in skipped
        ]
        return tokens[0] if one else tokens

    def _special_ids(self) -> set[int]:
        added = self.added_tokens_decoder.items()
        return {*self.all_special_ids, *(index for index, token in added if token.special)}

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens that are found in a text before it is split, with new ids for those the vocabulary lacks.

        Then call the model's `resize_token_embeddings(len(tokenizer))`.

        Args:
            new_tokens: A token or several; an `AddedToken` says how it is matched.
            special_tokens: They are special: matched in the text as it is, and left out by `skip_special_tokens`.

        Returns:
            By how much the vocabulary grew.

        Example:
            >>> from distilbert_core import DistilBertTokenizerFast
            >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
            >>> tokenizer.add_tokens(["covfefe", "movie"]), len(tokenizer)
            (1, 30523)
        """
        size = len(self)
        tokens = [new_tokens] if isinstance(new_tokens, Token) else list(new_tokens)
        for token in tokens:
            if not isinstance(token, Token):
                raise InputError(f"A token must be a text or an AddedToken, got {token!r}.")
        defaults = {"special": special_tokens, "normalized": not special_tokens}
        added = [
            files.added_token({"content": token, **defaults})
            if isinstance(token, str)
            else files.added_token({**files.token_fields(token), "special": special_tokens or token.special})
            for token in tokens
        ]
        self.backend_tokenizer.add_tokens(added)
        return len(self) - size

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Give special tokens by argument name, 'additional_special_tokens' a list, and add them to the vocabulary.

        Returns:
            By how much the vocabulary grew.

        Raises:
            InputError: There is no such special token.
        """
        grown = 0
        for name, tokens in special_tokens_dict.items():
            _one_of("special_tokens_dict", name, (*SPECIAL_TOKENS, "additional_special_tokens"))
            several = name == "additional_special_tokens"
            if isinstance(tokens, Token) == several:
                raise InputError(f"{name} must be {'a list of tokens' if several else 'a token'}, got {tokens!r}.")
            grown += self.add_tokens(tokens, special_tokens=True)
            setattr(self, name, [str(token) for token in tokens] if several else str(tokens))
        self._set_frame()
        return grown

    # -- text to ids --------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Text | Sequence[Text] | Sequence[tuple[Text, Text]],
        text_pair: Text | Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = False,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Literal["right", "left"] | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Tokenize a text, a pair, or a batch of either.

        Args:
            text: A text, a list of texts, or a list of pairs; with `is_split_into_words` lists of words in place of
                texts.
            text_pair: The second text, or the list of second texts.
            add_special_tokens: Put [CLS] and [SEP] around the texts.
            padding: True or 'longest' (to the longest of the batch), 'max_length', or False.
            truncation: True or 'longest_first', 'only_first', 'only_second', or False.
            max_length: Length in tokens, special ones included; `model_max_length` if left out.
            stride: Tokens by which the windows of a text overlap, with `return_overflowing_tokens`.
            is_split_into_words: Texts come as lists of words.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: 'right' or 'left'; the tokenizer's own if left out.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [B, T]; None for lists.
            return_token_type_ids: Nothing or False: DistilBERT has no token types.
            return_attention_mask: Add `attention_mask`, 1 for real tokens and 0 for padding.
            return_overflowing_tokens: Return not only the first window of a text that is cut, but all of them, a row
                each, and `overflow_to_sample_mapping`, the number of the text that each row is of.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Add `offset_mapping`, (start, end) in characters of the text for each token.
            return_length: Add `length`, the number of tokens with padding.
            verbose: Taken for Transformers' sake; there is nothing to be told.

        Returns:
            The encoding. int64 arrays; int32 in JAX unless it runs with 64-bit numbers.

        Raises:
            InputError: The text is of another type, an option is unknown or cannot be done, or lengths differ and
                `padding` was not asked for while `return_tensors` was.
        """
        if return_token_type_ids:
            raise InputError("return_token_type_ids must be left out: DistilBERT has no token types.")
        texts, single = _as_batch(text, text_pair, is_split_into_words)
        pairs = any(isinstance(item, tuple) for item in texts)
        special = self.num_special_tokens_to_add(pairs) if add_special_tokens else 0
        with self._lock:  # a call's options are set on the engine that all threads share
            self._set_truncation(truncation, max_length, stride, special, pairs)
            encodings = self._encode(texts, is_split_into_words, add_special_tokens, truncation)
        windows = [[encoding, *encoding.overflowing] for encoding in encodings] if return_overflowing_tokens else []
        if return_overflowing_tokens:
            encodings = list(chain.from_iterable(windows))
        wanted = {
            "input_ids": True,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns = {name: list(map(_READ[name], encodings)) for name, want in wanted.items() if want}
        lengths = list(map(len, columns["input_ids"]))
        padded = self._padding(padding, max_length, pad_to_multiple_of, padding_side, lengths)
        columns = self._pad_columns(columns, padded, as_arrays=return_tensors is not None)
        if return_length:
            columns["length"] = lengths if padded is None else [max(padded["length"], length) for length in lengths]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = [index for index, rows in enumerate(windows) for _ in rows]
        elif single and return_tensors is None:
            columns = {name: rows[0] for name, rows in columns.items()}
        encoding = BatchEncoding(columns, encodings, padded)
        return encoding if return_tensors is None else encoding.convert_to_tensors(return_tensors)

    def _encode(self, texts: Sequence[Any], split: bool, special: bool, truncation: Any) -> list[Any]:
        try:
            return self.backend_tokenizer.encode_batch(texts, is_pretokenized=split, add_special_tokens=special)
        # The library raises plain Exception for what it cannot do, and a panic, which is none, for a stride too large.
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise InputError(
                f"A text holds lone surrogates, or truncation={truncation!r} cannot be done: {error}."
            ) from error

    def _set_truncation(
        self, truncation: bool | str | None, max_length: int | None, stride: int, special: int, pairs: bool
    ) -> None:
        if truncation in NO_TRUNCATION:
            self.backend_tokenizer.no_truncation()
            return
        strategy = _one_of("truncation", "longest_first" if truncation is True else truncation, TRUNCATIONS)
        length = self._length(max_length)
        if length >= NO_MAX_LENGTH:
            self.backend_tokenizer.no_truncation()
            return
        if length < special:  # the library would cut nothing off
            raise InputError(f"max_length must leave room for {special} special tokens, got {length}.")
        room = max(length - self.num_special_tokens_to_add(pairs), 0)
        if _token_count("stride", stride) >= room > 0:
            raise InputError(f"stride must be smaller than the room for the text, {room} tokens, got {stride}.")
        self.backend_tokenizer.enable_truncation(
            length, stride=stride if room else 0, strategy=strategy, direction=self.truncation_side
        )

    def _padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None, side: str | None, lengths: list[int]
    ) -> dict[str, Any] | None:
        """Return how encodings of these lengths are filled up, as the arguments of their `pad`; None: not at all."""
        if padding in NO_PADDING:
            return None
        strategy = _one_of("padding", "longest" if padding is True else padding, ("longest", "max_length"))
        length = self._length(max_length) if strategy == "max_length" else max(lengths, default=0)
        if length >= NO_MAX_LENGTH:
            raise InputError("padding='max_length' needs max_length: this tokenizer knows no model_max_length.")
        multiple = 1 if multiple is None else _token_count("pad_to_multiple_of", multiple) or 1
        return {
            "length": -(-length // multiple) * multiple,
            "direction": _one_of("padding_side", side or self.padding_side, SIDES),
            "pad_id": self.pad_token_id,
            "pad_token": self.pad_token,
        }

    def _pad_columns(self, columns: dict[str, Any], padding: dict[str, Any] | None, as_arrays: bool) -> dict[str, Any]:
        if padding is None:
            return columns
        length, left = padding["length"], padding["direction"] == "left"
        # What is longer than it is filled up to stays as it is, and is no array.
        fits = max(map(len, columns["input_ids"]), default=0) <= length
        pad = pad_to_array if as_arrays and fits else pad_rows
        fill = {"input_ids": padding["pad_id"], "attention_mask": 0, "special_tokens_mask": 1, "offset_mapping": (0, 0)}
        return {name: pad(rows, length, fill[name], left) if name in fill else rows for name, rows in columns.items()}

    def _length(self, max_length: int | None) -> int:
        return self.model_max_length if max_length is None else _token_count("max_length", max_length)

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of a text or pair, without special ones unless asked for."""
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def encode(self, text: Text, text_pair: Text | None = None, **kwargs: Any) -> Any:
        """Return only the ids of one text or pair; the keywords are those of a call."""
        return self(text, text_pair, **kwargs)["input_ids"]

    def encode_plus(self, text: Text, text_pair: Text | None = None, **kwargs: Any) -> BatchEncoding:
        """Return the encoding of one text or pair, as a call does."""
        return self(text, text_pair, **kwargs)

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], **kwargs: Any) -> BatchEncoding:
        """Return the encoding of several texts or pairs, as a call does."""
        return self(batch_text_or_text_pairs, **kwargs)

    # -- special tokens around ids ------------------------------------------------------------------------------

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens stand around one text, or around a pair."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """Number of tokens a text may have, special ones not counted."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Number of tokens a pair may have, special ones not counted."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put [CLS] and [SEP] around the ids of a text or pair: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
        cls, sep = self.cls_token_id, self.sep_token_id
        second = [] if token_ids_1 is None else [*token_ids_1, sep]
        return [cls, *token_ids_0, sep, *second]

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
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

    # -- padding of what was tokenized before -------------------------------------------------------------------

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Literal["right", "left"] | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill encodings up to one length.

        Args:
            encoded_inputs: Encodings of single texts, or one of several, or one of one. Entries other than
                `input_ids`, `attention_mask`, `special_tokens_mask` and `offset_mapping` are passed on as they are.
            padding: True or 'longest', 'max_length', or False for none.
            max_length: Length for 'max_length'; `model_max_length` if left out.
            pad_to_multiple_of: Round the length up to a multiple of this.
            padding_side: 'right' or 'left'; the tokenizer's own if left out.
            return_attention_mask: Add `attention_mask` if it is not there.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays; None for lists.
            verbose: Taken for Transformers' sake; there is nothing to be told.

        Raises:
            InputError: There is no `input_ids`, or an option is unknown.
        """
        if isinstance(encoded_inputs, Mapping):
            columns = {name: _plain_list(values) for name, values in encoded_inputs.items()}
        else:
            names = list(encoded_inputs[0]) if len(encoded_inputs) else ["input_ids"]
            columns = {name: [_plain_list(one[name]) for one in encoded_inputs] for name in names}
        if "input_ids" not in columns:
            raise InputError(f"encoded_inputs must have input_ids, got {', '.join(columns) or 'nothing'}.")
        single = bool(columns["input_ids"]) and not isinstance(columns["input_ids"][0], list)
        if single:
            columns = {name: [values] for name, values in columns.items()}
        rows = columns["input_ids"]
        if return_attention_mask:
            columns.setdefault("attention_mask", [[1] * len(row) for row in rows])
        how = self._padding(padding, max_length, pad_to_multiple_of, padding_side, list(map(len, rows)))
        columns = self._pad_columns(columns, how, as_arrays=return_tensors is not None)
        if return_tensors is not None:
            return BatchEncoding(columns).convert_to_tensors(return_tensors)
        return BatchEncoding({name: values[0] for name, values in columns.items()} if single else columns)

    # -- ids to text --------------------------------------------------------------------------------------------

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens: pieces joined to words, words by spaces, but for one before . , ? or !"""
        return self._join(tokens, clean_up=True)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Return the text of an id, or of a list or array of ids [T]; ids that there are no tokens for are left out.

        Args:
            token_ids: The ids.
            skip_special_tokens: Leave special tokens out.
            clean_up_tokenization_spaces: Take spaces before punctuation and around apostrophes out; the tokenizer's
                own setting if left out.

        Raises:
            InputError: The ids have more axes (see `batch_decode`), or one is negative.
        """
        ids = np.atleast_1d(token_ids)
        if ids.ndim != 1:
            raise InputError(f"token_ids must have shape [tokens], got {ids.shape}; batch_decode takes several texts.")
        tokens = self.convert_ids_to_tokens(ids.tolist(), skip_special_tokens=skip_special_tokens)
        text = self._join([token for token in tokens if token is not None], clean_up=False)
        clean_up = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        for spaced, joined in SPACES if clean_up else ():
            text = text.replace(spaced, joined)
        return text

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return the texts of several lists or an array of ids [B, T]."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]

    # -- files --------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Self:
        """Load the tokenizer of a folder, an embedded model or a Hub id.

        It is read from tokenizer.json or vocab.txt, with the options in tokenizer_config.json and
        special_tokens_map.json and the tokens in added_tokens.json.

        Args:
            source: Folder, embedded model or Hub id.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), and arguments of this class that take the place of the stored ones.

        Raises:
            CheckpointError: There is no such checkpoint, it has no tokenizer, or a file is damaged.
        """
        return files.load(cls, source, kwargs)

    def save_pretrained(self, folder: str | Path) -> tuple[str, ...]:
        """Write tokenizer.json, vocab.txt and the files with options into `folder`; return their paths."""
        content = self.files()
        replace_files(folder, content)
        return tuple(str(Path(folder) / name) for name in content)

    def files(self) -> dict[str, bytes]:
        """Return the content of the tokenizer's files by name."""
        return files.render(self)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str]:
        """Write vocab.txt, without the added tokens, into a folder; return its path."""
        name = f"{filename_prefix}-{files.VOCAB_FILE}" if filename_prefix else files.VOCAB_FILE
        replace_files(save_directory, {name: files.render_vocabulary(self.specification().vocabulary)})
        return (str(Path(save_directory) / name),)


_READ: dict[str, Any] = {  # output name -> how it is read from an encoding
    "input_ids": lambda encoding: encoding.ids,
    "attention_mask": lambda encoding: [1] * len(encoding),  # they are filled up later
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}


def _one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value


def _token_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name} must be a number of tokens, got {value!r}.")
    return int(value)


def _plain_list(values: Any) -> Any:
    """Return an array or tensor as lists."""
    return np.asarray(values).tolist() if hasattr(values, "shape") else values


def _as_batch(text: Any, pair: Any, split: bool) -> tuple[list[Any], bool]:
    """Return the inputs as a list of texts, or of tuples of two, and whether there was only one."""
    single = _is_text(text, split)
    if single:
        text, pair = [text], None if pair is None else [pair]
    if not isinstance(text, Sequence) or isinstance(text, str):
        raise InputError(f"text must be a text, a pair or a list of them, got {type(text).__name__}.")
    if pair is not None:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(text) != len(pair):
            raise InputError("text_pair must be like text: one text for one, or as many texts as there are in text.")
        text = list(zip(text, pair, strict=True))
    made = list if split else str
    texts: list[Any] = []
    for index, item in enumerate(text):
        if _is_text(item, split):
            texts.append(made(item))
        elif isinstance(item, list | tuple) and len(item) == 2 and all(_is_text(part, split) for part in item):
            texts.append(tuple(map(made, item)))
        else:
            raise InputError(
                f"text[{index}] must be a text{' split into words' if split else ''} or a pair of them, got {item!r}."
            )
    return texts, single


def _is_text(item: Any, split: bool) -> bool:
    if split:
        return isinstance(item, list | tuple) and all(isinstance(word, str) for word in item)
    return isinstance(item, str)
