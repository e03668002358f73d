"""The interface that both tokenizers share: everything but the engine that turns a text into tokens."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from tokenizers import AddedToken

from distilbert_core.compatibility import TOKENIZER_LOADING, TOKENIZER_SAVING, accept_only, renames
from distilbert_core.errors import CheckpointWarning, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import PUSHING, PushToHub
from distilbert_core.tokenization import files
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.choices import (
    COLUMNS,
    NO_MAX_LENGTH,
    SIDES,
    note_lengths,
    padding_strategy,
    token_count,
    truncation_strategy,
)
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
from distilbert_core.tokenization.encodings import Truncation
from distilbert_core.tokenization.inputs import as_batch
from distilbert_core.tokenization.preparation import Preparation
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    SPECIAL_TOKENS,
    Token,
    as_text,
    tokens_of,
)
from distilbert_core.tokenization.vocabulary import one_of

Text = str | Sequence[str]  # a text, or with is_split_into_words its words


class BaseTokenizer(Preparation, PushToHub):
    """Splits text into WordPiece tokens and gives their ids, with [CLS] and [SEP] around them.

    DistilBERT has no token types, so none are produced unless they are asked for. A tokenizer may be shared by threads.

    A special token is an attribute, such as `pad_token`; `pad_token_id` is its id. A token of the vocabulary, or an id,
    can be assigned to it, and None where it may be None; `add_special_tokens` gives one that is not in the vocabulary.

    Args:
        vocab_file: vocab.txt, one token a line. Give this, `tokenizer_file` or `tokenizer_object`.
        tokenizer_file: tokenizer.json as the `tokenizers` library writes it.
        tokenizer_object: A `tokenizers.Tokenizer`; it is copied.
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
        bos_token: Not used by DistilBERT; for scripts that read it. It is added if the vocabulary lacks it.
        eos_token: As `bos_token`.
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
        model_input_names: The columns that a call returns if not asked otherwise: `input_ids` and some of
            `attention_mask` and `token_type_ids`.
        split_special_tokens: Special tokens in a text are split like any other word.
        name_or_path: Where the tokenizer was loaded from.
        verbose: Log, once, that texts are longer than `model_max_length`, or that an option has no effect.
        **kwargs: Arguments of Transformers without effect; see `distilbert_core.compatibility.TOKENIZER_LOADING`.

    Raises:
        CheckpointError: A file is missing or damaged, the vocabulary lacks a special token, or an added token would
            get another id.
        InputError: An option is not one of those named, or is of another type.

    Warns:
        CheckpointWarning: An option of the normaliser has no effect, because there is no normaliser of BERT's kind.
    """

    is_fast: bool
    model_input_names: Sequence[str] = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        tokenizer_file: str | Path | None = None,
        tokenizer_object: Any = None,
        do_lower_case: bool | None = None,
        do_basic_tokenize: bool | None = None,
        never_split: Iterable[str] | None = None,
        unk_token: Token = SPECIAL_TOKENS["unk_token"],
        sep_token: Token = SPECIAL_TOKENS["sep_token"],
        pad_token: Token | None = SPECIAL_TOKENS["pad_token"],
        cls_token: Token = SPECIAL_TOKENS["cls_token"],
        mask_token: Token | None = SPECIAL_TOKENS["mask_token"],
        bos_token: Token | None = None,
        eos_token: Token | None = None,
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
        model_input_names: Sequence[str] = model_input_names,
        split_special_tokens: bool = False,
        name_or_path: str = "",
        verbose: bool = True,
        **kwargs: Any,
    ):
        accept_only(kwargs, TOKENIZER_LOADING, f"{type(self).__name__}.__init__")
        # Transformers' files hold its 'unknown' as 1e30, which JSON may give back as a float.
        length = NO_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.model_input_names = [one_of("model_input_names", name, COLUMNS) for name in model_input_names]
        self.split_special_tokens = split_special_tokens
        self.name_or_path, self.verbose = str(name_or_path), verbose
        self.deprecation_warnings: dict[str, bool] = {}  # what was said once
        if isinstance(never_split, str):
            raise InputError(f"never_split must be a list of tokens, got {never_split!r}.")
        self.never_split = tuple(never_split or ())
        if self.never_split and self.is_fast:
            raise InputError(
                "never_split is for DistilBertTokenizer; here, add_tokens gives tokens that are not split."
            )
        special = {
            "bos_token": bos_token,
            "eos_token": eos_token,
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
        given = sum(source is not None for source in (vocab_file, tokenizer_file, tokenizer_object))
        if given != 1:
            raise InputError(
                f"Give vocab_file or tokenizer_file; got {'both' if given == 2 else 'neither'}."
                if tokenizer_object is None
                else "Give tokenizer_object without vocab_file and tokenizer_file."
            )
        if vocab_file is None:
            where = tokenizer_file or "tokenizer_object"
            text = files.read_text(tokenizer_file) if tokenizer_file else tokenizer_object.to_str()
            content = files.tokenizer_content(where, text)
            self.backend_tokenizer = self._read_engine(where, text, content, normalizer)
            self._add_stored(files.added_tokens_of(content))
        else:
            basic = do_basic_tokenize is not False
            prefix = files.PREFIX if wordpieces_prefix is None else wordpieces_prefix
            self.backend_tokenizer = self._make_engine(
                files.Specification(files.read_vocabulary(vocab_file), self.unk_token, prefix, basic, normalizer)
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
        self, where: str | Path, text: str, content: Mapping[str, Any], normalizer: Mapping[str, bool]
    ) -> Any:
        """Return the engine of tokenizer.json with options of its normaliser replaced.

        Args:
            where: What to call it in errors.
            text: The file.
            content: The same, parsed.
            normalizer: The options.
        """
        raise NotImplementedError

    def specification(self) -> files.Specification:
        """Return what the engine was made from: vocabulary and options."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Return what a call does not change, so that a pickle of the tokenizer, or its digest, stays the same."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "deprecation_warnings")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), deprecation_warnings={})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"

    # -- text to ids --------------------------------------------------------------------------------------------

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
            text: A text, a list of texts, or a list of pairs; with `is_split_into_words` lists of words in place of
                texts. Arrays, columns of a table (pandas, Arrow, `datasets`) and tensors of texts are lists, too.
            text_pair: The second text, or the list of second texts.
            text_target: Texts of which the ids become `labels`; without `text`, they are tokenized in its place.
            text_pair_target: The second texts of these.
            add_special_tokens: Put [CLS] and [SEP] around the texts.
            padding: True or 'longest' (to the longest of the batch), 'max_length', or False.
            truncation: True or 'longest_first', 'only_first', 'only_second', or False. Left out: True if there is
                `max_length` and no `padding`, else False.
            max_length: Length in tokens, special ones included, for `truncation` and padding='max_length', without
                which it has no effect; `model_max_length` if left out. Where that is not known, nothing is cut.
            stride: Tokens by which the windows of a text overlap, with `return_overflowing_tokens`.
            is_split_into_words: Texts come as lists of words.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: 'right' or 'left'; the tokenizer's own if left out.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [B, T]; None for lists.
            return_token_type_ids: Add `token_type_ids`, 1 for the tokens of a second text and 0 for all others;
                DistilBERT's models do not take them. None: if they are among `model_input_names`.
            return_attention_mask: Add `attention_mask`, 1 for real tokens and 0 for padding; None: if it is among
                `model_input_names`, as it is by default.
            return_overflowing_tokens: Return not only the first window of a text that is cut, but all of them, a row
                each, and `overflow_to_sample_mapping`, the number of the text that each row is of.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Add `offset_mapping`, (start, end) in characters of the text for each token.
            return_length: Add `length`, the number of tokens with padding.
            verbose: Log, once, that texts are longer than `model_max_length`, or that an option has no effect.
            split_special_tokens: Split special tokens like any other word; the tokenizer's own setting if left out.

        Returns:
            The encoding. int64 arrays; int32 in JAX unless it runs with 64-bit numbers.

        Raises:
            InputError: The text is of another type, an option is unknown or cannot be done, lengths differ and
                `padding` was not asked for while `return_tensors` was, or it was and there is no `pad_token`.
        """
        if text_target is not None:
            arguments = {name: value for name, value in locals().items() if name not in ("self", "text", "text_pair")}
            return self._with_target(text, text_pair, arguments)
        texts, single = as_batch(text, text_pair, is_split_into_words)
        pairs = any(isinstance(item, tuple) for item in texts)
        special = self.num_special_tokens_to_add(pairs) if add_special_tokens else 0
        strategy = truncation_strategy(truncation, padding, max_length)
        cut = self._truncation(strategy, max_length, stride, special)
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        with self._lock:  # a call's options are set on the engine that all threads share
            encodings = self._encode(texts, is_split_into_words, add_special_tokens, cut, split)
        windows = [[encoding, *encoding.overflowing] for encoding in encodings] if return_overflowing_tokens else []
        if return_overflowing_tokens:
            encodings = list(chain.from_iterable(windows))
        wanted = {
            "input_ids": True,
            "token_type_ids": self._returns("token_type_ids", return_token_type_ids),
            "attention_mask": self._returns("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns = {name: list(map(_READ[name], encodings)) for name, want in wanted.items() if want}
        lengths = list(map(len, columns["input_ids"]))
        note_lengths(self, lengths, truncation, padding, max_length, verbose)
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
        """Return the encoding of a call with its target as `labels`, or that of the target alone."""
        target = arguments.pop("text_target"), arguments.pop("text_pair_target")
        labels = self(*target, **arguments)
        if text is None:
            return labels
        encoding = self(text, text_pair, **arguments)
        encoding["labels"] = labels["input_ids"]
        return encoding

    def _encode(
        self, texts: Sequence[Any], words: bool, special: bool, truncation: Truncation | None, split_special: bool
    ) -> list[Any]:
        """Return the encodings of texts; the engine is left as it was found."""
        engine = self.backend_tokenizer
        engine.encode_special_tokens = split_special
        try:
            if truncation is not None:
                engine.enable_truncation(**vars(truncation))
            return engine.encode_batch(texts, is_pretokenized=words, add_special_tokens=special)
        except BaseException as error:
            if type(error).__name__ not in _REFUSALS:
                raise
            strategy = False if truncation is None else truncation.strategy
            raise InputError(
                f"A text holds lone surrogates, or truncation={strategy!r} cannot be done: {error}."
            ) from error
        finally:
            engine.encode_special_tokens = False
            engine.no_truncation()

    def _truncation(self, strategy: str | None, max_length: int | None, stride: int, special: int) -> Truncation | None:
        """Return how texts are cut, with room for `special` tokens; None: not at all."""
        length = self._length(max_length) if strategy else NO_MAX_LENGTH
        if strategy is None or length >= NO_MAX_LENGTH:
            return None
        if length < special:  # the library would cut nothing off
            raise InputError(f"max_length must leave room for {special} special tokens, got {length}.")
        room = length - special
        if token_count("stride", stride) >= room > 0:
            raise InputError(f"stride must be smaller than the room for the text, {room} tokens, got {stride}.")
        side = one_of("truncation_side", self.truncation_side, SIDES)
        return Truncation(length, stride if room else 0, strategy, side)

    def _padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None, side: str | None, lengths: list[int]
    ) -> dict[str, Any] | None:
        """Return how encodings of these lengths are filled up, as the arguments of their `pad`; None: not at all."""
        strategy = padding_strategy(padding)
        if strategy is None:
            return None
        length = self._length(max_length) if strategy == "max_length" else max(lengths, default=0)
        if length >= NO_MAX_LENGTH:
            raise InputError("padding='max_length' needs max_length: this tokenizer knows no model_max_length.")
        multiple = 1 if multiple is None else token_count("pad_to_multiple_of", multiple) or 1
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
        return self.model_max_length if max_length is None else token_count("max_length", max_length)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Return the tokens of a text or pair, without special ones unless asked for; the keywords are a call's."""
        return self(text, pair, add_special_tokens=add_special_tokens, **kwargs).tokens()

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any) -> Any:
        """Return only the ids of one text or pair; the keywords are those of a call."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return the encoding of one text or pair, as a call does."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return the encoding of several texts or pairs, as a call does."""
        return self(batch_text_or_text_pairs, add_special_tokens=add_special_tokens, **kwargs)

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
                that a call does not return for each token are not filled up.
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

    # -- files --------------------------------------------------------------------------------------------------

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Self:
        """Load the tokenizer of a folder, a file, an embedded model or a Hub id.

        It is read from tokenizer.json or vocab.txt, with the options in tokenizer_config.json and
        special_tokens_map.json and the tokens in added_tokens.json.

        Args:
            source: Folder, embedded model or Hub id; or a weight file, beside which the tokenizer is; or the path of
                vocab.txt or tokenizer.json, which are read without the files beside them. An adapter without a
                tokenizer has that of its base, a preset of KerasHub one like KerasHub's.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), and arguments of this class that take the place of the stored ones.

        Raises:
            CheckpointError: There is no such checkpoint, it has no tokenizer, or a file is damaged.
        """
        return files.load(cls, source, kwargs)

    @renames(save_directory="folder", use_auth_token="token")
    def save_pretrained(
        self,
        folder: str | Path,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write the tokenizer's files into a folder; return their paths.

        Args:
            folder: Where to; made if it is not there.
            legacy_format: True: vocab.txt and added_tokens.json but not tokenizer.json; False: the other way round;
                None: all of them. The files with options are always written.
            filename_prefix: The files' names begin with this and '-'; `from_pretrained` reads those without a prefix.
            push_to_hub: Also upload the files; see the method of this name. The repository is `repo_id`, or what the
                folder is called.
            **kwargs: Of `push_to_hub`. What else Transformers takes is in
                `distilbert_core.compatibility.TOKENIZER_SAVING`.

        Raises:
            OSError: The disk is full, or the folder may not be written to.
            TypeError: A keyword is unknown.
        """
        hub = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        accept_only(kwargs, TOKENIZER_SAVING, "save_pretrained")
        left_out = () if legacy_format is None else files.NOT_IN_FORMAT[legacy_format]
        content = {
            files.prefixed(name, filename_prefix): data for name, data in self.files().items() if name not in left_out
        }
        replace_files(folder, content)
        if push_to_hub:
            how = {"legacy_format": legacy_format, "filename_prefix": filename_prefix}
            self.push_to_hub(**{"repo_id": Path(folder).expanduser().absolute().name, **hub, **how})
        return tuple(str(Path(folder) / name) for name in content)

    def files(self) -> dict[str, bytes]:
        """Return the content of the tokenizer's files by name."""
        return files.render(self)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str]:
        """Write vocab.txt, without the added tokens, into a folder; return its path."""
        name = files.prefixed(files.VOCAB_FILE, filename_prefix)
        replace_files(save_directory, {name: files.render_vocabulary(self.specification().vocabulary)})
        return (str(Path(save_directory) / name),)


_READ: dict[str, Any] = {  # output name -> how it is read from an encoding
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: [1] * len(encoding),  # they are filled up later
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}

# What the engines raise for what they cannot do; a panic of the library, for a stride too large, is no Exception.
_REFUSALS = ("Exception", "PanicException", "TypeError", "UnicodeEncodeError", "InputError")
