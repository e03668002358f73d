"""The interface that both tokenizers share: everything but the engine that turns a text into tokens."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from tokenizers import AddedToken

from distilbert_core.checkpoint import replace_files
from distilbert_core.errors import CheckpointWarning, InputError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.columns import (
    FILLINGS,
    PADDED,
    array_rows,
    as_array,
    columns_of,
    pad_to_array,
    plain_rows,
)
from distilbert_core.tokenization.columns import pad as pad_rows
from distilbert_core.tokenization.special_tokens import ADDITIONAL, SPECIAL_TOKENS, Token, as_text, tokens_of
from distilbert_core.tokenization.vocabulary import Vocabulary, as_ids, as_texts, one_of

NO_MAX_LENGTH = int(1e30)  # what Transformers writes where no length is known

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


class BaseTokenizer(Vocabulary):
    """Splits text into WordPiece tokens and gives their ids, with [CLS] and [SEP] around them.

    DistilBERT has no token types, so none are produced. A tokenizer may be shared by threads.

    A special token is an attribute, such as `pad_token`; `pad_token_id` is its id. A token of the vocabulary can be
    assigned to it, and None to `pad_token` and `mask_token`; `add_special_tokens` gives one that is not in the
    vocabulary.

    Args:
        vocab_file: vocab.txt, one token a line. Give this or `tokenizer_file`.
        tokenizer_file: tokenizer.json as the `tokenizers` library writes it.
        do_lower_case: Lower-case the text. None: as `tokenizer_file` says, True for a `vocab_file`.
        do_basic_tokenize: Normalise the text and split at punctuation, not only at white space, before WordPiece.
            None: as in the file, or True. It cannot be another than in a `tokenizer_file`.
        never_split: Tokens that are left as they are where they stand between white space; for `DistilBertTokenizer`
            only.
        unk_token: Stands for a word that the vocabulary cannot spell.
        sep_token: Ends a text and separates the two of a pair.
        pad_token: Fills short texts up; None: there is none, and padding is an InputError.
        cls_token: Begins every input.
        mask_token: Stands for a token to be predicted; None: there is none.
        additional_special_tokens: More tokens that are never split and that decoding can leave out.
        added_tokens_decoder: Tokens that were added before, by id. How a text is matched, `tokenizer_file` says.
        clean_text: Remove control characters and unify white space. None: as in the file, or True.
        tokenize_chinese_chars: Put spaces around Chinese characters. None: as in the file, or True.
        strip_accents: Remove accents; None: as in the file, or if lower-casing.
        wordpieces_prefix: What a token that continues a word begins with. None: as in the file, or '##'. It cannot be
            another than in a `tokenizer_file`.
        clean_up_tokenization_spaces: Take spaces before punctuation and around apostrophes out when decoding.
        model_max_length: Length that `truncation=True` cuts to; None: no limit known.
        padding_side: 'right' or 'left'.
        truncation_side: 'right' or 'left'.

    Raises:
        CheckpointError: A file is missing or damaged, the vocabulary lacks a special token, or an added token would
            get another id.
        InputError: An option is not one of those named, or is of another type.

    Warns:
        CheckpointWarning: An option of the normaliser has no effect, because there is no normaliser of BERT's kind.
    """

    is_fast: bool
    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool | None = None,
        do_basic_tokenize: bool | None = None,
        never_split: Iterable[str] | None = None,
        unk_token: Token = SPECIAL_TOKENS["unk_token"],
        sep_token: Token = SPECIAL_TOKENS["sep_token"],
        pad_token: Token | None = SPECIAL_TOKENS["pad_token"],
        cls_token: Token = SPECIAL_TOKENS["cls_token"],
        mask_token: Token | None = SPECIAL_TOKENS["mask_token"],
        additional_special_tokens: Sequence[Token] = (),
        added_tokens_decoder: Mapping[int, Token] | None = None,
        clean_text: bool | None = None,
        tokenize_chinese_chars: bool | None = None,
        strip_accents: bool | None = None,
        wordpieces_prefix: str | None = None,
        clean_up_tokenization_spaces: bool = True,
        model_max_length: int | None = None,
        padding_side: Literal["right", "left"] = "right",
        truncation_side: Literal["right", "left"] = "right",
    ):
        # Transformers' files hold its 'unknown' as 1e30, which JSON may give back as a float.
        length = NO_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = _token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        if isinstance(never_split, str):
            raise InputError(f"never_split must be a list of tokens, got {never_split!r}.")
        self.never_split = tuple(never_split or ())
        if self.never_split and self.is_fast:
            raise InputError(
                "never_split is for DistilBertTokenizer; here, add_tokens gives tokens that are not split."
            )
        special = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
            ADDITIONAL: additional_special_tokens,
        }
        tokens = [token for name, value in special.items() for token in tokens_of(name, value)]
        self.__dict__.update({name: as_text(value) for name, value in special.items()})
        options = {
            "clean_text": clean_text,
            "handle_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
            "lowercase": do_lower_case,
        }
        normalizer = {name: value for name, value in options.items() if value is not None}
        self.backend_tokenizer: Any
        if (tokenizer_file is None) == (vocab_file is None):
            raise InputError(f"Give vocab_file or tokenizer_file; got {'both' if vocab_file else 'neither'}.")
        if tokenizer_file is not None:
            content = files.read_tokenizer_file(tokenizer_file)
            self.backend_tokenizer = self._read_engine(tokenizer_file, content, normalizer)
            self._add_stored(files.added_tokens_of(content))
        else:
            basic = do_basic_tokenize is not False
            prefix = files.PREFIX if wordpieces_prefix is None else wordpieces_prefix
            self.backend_tokenizer = self._make_engine(
                files.Specification(
                    files.read_vocabulary(cast(Path, vocab_file)), self.unk_token, prefix, basic, normalizer
                )
            )
        special_tokens = list(map(str, tokens))
        described = self._added()  # a text does not say how it is matched, but tokenizer.json may
        self._add_stored(
            (index, token)
            if isinstance(token, AddedToken)
            else (index, described.get(token, files.new_token(token, token in special_tokens)))
            for index, token in sorted((added_tokens_decoder or {}).items())
        )
        specification = self.specification()
        self._check_special_tokens(specification.vocabulary)
        fixed = {"do_basic_tokenize": do_basic_tokenize, "wordpieces_prefix": wordpieces_prefix}
        self._check_options(specification, fixed, normalizer)
        known = self._added()  # these are matched as they are stored
        self.add_tokens([token for token in tokens if isinstance(token, AddedToken) or token not in known], True)
        self._tell_special_tokens()
        self._lock = threading.Lock()

    def _check_options(
        self, specification: files.Specification, fixed: Mapping[str, Any], normalizer: Mapping[str, bool]
    ) -> None:
        """Refuse options that differ from what tokenizer.json says; warn of those that have no effect."""
        found = {"do_basic_tokenize": specification.basic, "wordpieces_prefix": specification.prefix}
        for name, value in fixed.items():
            if value is not None and value != found[name]:
                raise InputError(
                    f"{name} must be {found[name]!r}, as in tokenizer_file, or be left out; got {value!r}."
                )
        other = self.backend_tokenizer.normalizer is not None
        idle = [files.NORMALIZER_OPTIONS[name] for name, value in normalizer.items() if value or other]
        if idle and not specification.basic:
            warnings.warn(
                f"Options without effect: {', '.join(idle)}; this tokenizer does not normalise texts as BERT's does.",
                CheckpointWarning,
                stacklevel=3,
            )

    def _make_engine(self, specification: files.Specification) -> Any:
        """Return an engine: an object with the methods of `tokenizers.Tokenizer`."""
        raise NotImplementedError

    def _read_engine(
        self, tokenizer_file: str | Path, content: Mapping[str, Any], normalizer: Mapping[str, bool]
    ) -> Any:
        """Return the engine of tokenizer.json, whose content is given too, with options of its normaliser replaced."""
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
        return_attention_mask: bool | None = True,
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
            max_length: Length in tokens, special ones included, for `truncation` and padding='max_length', without
                which it has no effect; `model_max_length` if left out. Where that is not known, nothing is cut.
            stride: Tokens by which the windows of a text overlap, with `return_overflowing_tokens`.
            is_split_into_words: Texts come as lists of words.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: 'right' or 'left'; the tokenizer's own if left out.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [B, T]; None for lists.
            return_token_type_ids: Nothing or False: DistilBERT has no token types.
            return_attention_mask: Add `attention_mask`, 1 for real tokens and 0 for padding; None: as True.
            return_overflowing_tokens: Return not only the first window of a text that is cut, but all of them, a row
                each, and `overflow_to_sample_mapping`, the number of the text that each row is of.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Add `offset_mapping`, (start, end) in characters of the text for each token.
            return_length: Add `length`, the number of tokens with padding.
            verbose: Ignored; accepted for compatibility with Transformers.

        Returns:
            The encoding. int64 arrays; int32 in JAX unless it runs with 64-bit numbers.

        Raises:
            InputError: The text is of another type, an option is unknown or cannot be done, lengths differ and
                `padding` was not asked for while `return_tensors` was, or it was and there is no `pad_token`.
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
            "attention_mask": return_attention_mask is not False,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns = {name: list(map(_READ[name], encodings)) for name, want in wanted.items() if want}
        lengths = list(map(len, columns["input_ids"]))
        padded = self._padding(padding, max_length, pad_to_multiple_of, padding_side, lengths)
        dtypes = {} if return_tensors is None else dict.fromkeys(columns, np.int64)
        columns = self._pad_columns(columns, padded, dtypes)
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
        except BaseException as error:
            if type(error).__name__ not in _REFUSALS:
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
        strategy = one_of("truncation", "longest_first" if truncation is True else truncation, TRUNCATIONS)
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
            length,
            stride=stride if room else 0,
            strategy=strategy,
            direction=one_of("truncation_side", self.truncation_side, SIDES),
        )

    def _padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None, side: str | None, lengths: list[int]
    ) -> dict[str, Any] | None:
        """Return how encodings of these lengths are filled up, as the arguments of their `pad`; None: not at all."""
        if padding in NO_PADDING:
            return None
        strategy = one_of("padding", "longest" if padding is True else padding, ("longest", "max_length"))
        length = self._length(max_length) if strategy == "max_length" else max(lengths, default=0)
        if length >= NO_MAX_LENGTH:
            raise InputError("padding='max_length' needs max_length: this tokenizer knows no model_max_length.")
        multiple = 1 if multiple is None else _token_count("pad_to_multiple_of", multiple) or 1
        pad_id = self.special_id("pad_token")
        return {
            "length": -(-length // multiple) * multiple,
            "direction": one_of("padding_side", side or self.padding_side, SIDES),
            "pad_id": pad_id,
            "pad_token": self.pad_token,
        }

    def _pad_columns(
        self, columns: dict[str, Any], padding: dict[str, Any] | None, dtypes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return columns with those of tokens filled up: as arrays where they have a dtype, else as lists."""
        if padding is None:
            return columns
        length, left = padding["length"], padding["direction"] == "left"
        fits = max(map(len, columns["input_ids"]), default=0) <= length  # longer rows stay as they are, and lists
        filled: dict[str, Any] = {}
        for name, value in {"input_ids": padding["pad_id"], **FILLINGS}.items():
            if name in dtypes and fits:
                filled[name] = pad_to_array(columns[name], length, value, left, dtypes[name])
            elif name in columns:
                filled[name] = pad_rows(columns[name], length, value, left)
        return {**columns, **filled}

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
        return_attention_mask: bool | None = True,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill encodings up to one length.

        Args:
            encoded_inputs: Encodings of single texts, all with the same keys, or one of several, or one of one. Entries
                other than `input_ids`, `attention_mask`, `special_tokens_mask` and `offset_mapping` are not filled up.
            padding: True or 'longest', 'max_length', or False for none.
            max_length: Length for 'max_length'; `model_max_length` if left out.
            pad_to_multiple_of: Round the length up to a multiple of this.
            padding_side: 'right' or 'left'; the tokenizer's own if left out.
            return_attention_mask: Add `attention_mask` if it is not there; None: as True.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays, of dtypes as in `BatchEncoding.convert_to_tensors`;
                None for lists.
            verbose: Ignored; accepted for compatibility with Transformers.

        Raises:
            InputError: There is no `input_ids`; keys, numbers of rows or lengths of a row differ; an entry cannot be
                an array; an option is unknown; or there is no `pad_token`.
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
        how = self._padding(padding, max_length, pad_to_multiple_of, padding_side, lengths)
        columns = self._pad_columns(columns, how, dtypes)
        if return_tensors is not None:
            return BatchEncoding(columns).convert_to_tensors(return_tensors)
        return BatchEncoding({name: values[0] for name, values in columns.items()} if single else columns)

    # -- ids to text --------------------------------------------------------------------------------------------

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens: pieces joined to words, words by spaces, but for one before . , ? or !

        Raises:
            InputError: There is something else than texts among the tokens.
        """
        return self._join(as_texts("tokens", tokens), clean_up=True)

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
            InputError: The ids have more axes (see `batch_decode`), are not integers, or one is negative.
        """
        ids = np.atleast_1d(as_ids("token_ids", token_ids))
        if ids.ndim != 1:
            raise InputError(f"token_ids must have shape [tokens], got {ids.shape}; batch_decode takes several texts.")
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens)
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


def _token_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name} must be a number of tokens, got {value!r}.")
    return int(value)


# What the engines raise for what they cannot do; a panic of the library, for a stride too large, is no Exception.
_REFUSALS = ("Exception", "PanicException", "TypeError", "UnicodeEncodeError", "InputError")


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
