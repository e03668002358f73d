"""`BaseTokenizer`: the interface of both tokenizers, and their construction."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken

from distilbert_core.checks import check_choice
from distilbert_core.compatibility import TOKENIZER_LOADING, accept_only
from distilbert_core.errors import CheckpointWarning, InputError
from distilbert_core.files.boundary import reading
from distilbert_core.model.forking import ForkedLock
from distilbert_core.tokenization import files
from distilbert_core.tokenization.accessors import Accessors
from distilbert_core.tokenization.decoding import Decoding
from distilbert_core.tokenization.engine import Engine
from distilbert_core.tokenization.options import COLUMNS, NO_MAX_LENGTH, SIDES, token_count
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    SPECIAL_TOKENS,
    Token,
    as_text,
    new_token,
    tokens_of,
)
from distilbert_core.tokenization.text_encoding import TextEncoding


class BaseTokenizer(TextEncoding, Decoding, Accessors):
    """Splits texts into WordPiece tokens and returns their ids, with [CLS] and [SEP].

    DistilBERT has no token types; they are returned only on request. Threads may share a tokenizer.

    Each special token is an attribute, such as `pad_token`; `pad_token_id` is its id. A token of the vocabulary, or an
    id, can be assigned to it; `add_special_tokens` sets one that is not in the vocabulary.

    The base classes hold the methods: `Vocabulary` looks tokens up, `AddedTokens` adds tokens, `TextEncoding` encodes
    texts, `Preparation` ids, `Padding` pads, `Decoding` decodes, `PretrainedTokenizer` loads and saves, and `Accessors`
    has attributes for scripts of Transformers.

    Args:
        vocab_file: vocab.txt, with one token per line. Give this, `tokenizer_file` or `tokenizer_object`.
        tokenizer_file: tokenizer.json of the `tokenizers` library.
        tokenizer_object: A `tokenizers.Tokenizer`; it is copied.
        do_lower_case: Lower-case the text. None: as in `tokenizer_file`; True for a `vocab_file`.
        do_basic_tokenize: Normalise the text and split at punctuation, not only at white space, before WordPiece.
            None: as in the file, or True. It cannot differ from `tokenizer_file`.
        never_split: Tokens that are not split where they stand between white space; only for `DistilBertTokenizer`.
        unk_token: Stands for a word that the vocabulary cannot spell.
        sep_token: Ends a text, and separates the two texts of a pair.
        pad_token: Pads short texts. None: padding raises an InputError.
        cls_token: Begins every input.
        mask_token: Stands for a token to predict, or None.
        bos_token: Not used by DistilBERT; for scripts that read it. It is added if the vocabulary lacks it.
        eos_token: Not used by DistilBERT; for scripts that read it. It is added if the vocabulary lacks it.
        additional_special_tokens: Further tokens that are never split and that decoding can leave out.
        added_tokens_decoder: Tokens that were added to a stored tokenizer, by id. A text has the options in
            `tokenizer_file`.
        clean_text: Remove control characters and unify white space. None: as in the file, or True.
        tokenize_chinese_chars: Put spaces around Chinese characters. None: as in the file, or True.
        strip_accents: Remove accents. None: as in the file, or the same as lower-casing.
        wordpieces_prefix: Prefix of tokens that continue a word. None: as in the file, or '##'. It cannot differ from
            `tokenizer_file`.
        clean_up_tokenization_spaces: When decoding, remove the spaces before punctuation and around apostrophes.
        model_max_length: Length of texts with `truncation=True`; None: unknown.
        padding_side: 'right' or 'left'.
        truncation_side: 'right' or 'left'.
        model_input_names: The columns that a call returns by default: `input_ids` and some of `attention_mask` and
            `token_type_ids`.
        split_special_tokens: Split special tokens in a text like other words.
        name_or_path: Source of the tokenizer.
        verbose: Log, once, that texts are longer than `model_max_length`, or that an option has no effect.
        **kwargs: Ignored arguments of Transformers, listed in `distilbert_core.compatibility.TOKENIZER_LOADING`.

    Raises:
        CheckpointError: A file is missing or damaged, the vocabulary lacks a special token, or an added token would
            get another id.
        InputError: An option has an unknown value or another type.

    Warns:
        CheckpointWarning: An option of BERT's normaliser has no effect, because the tokenizer has another normaliser.
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
        # Transformers stores an unknown length as 1e30, which JSON may return as a float.
        length = NO_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
        self.padding_side = check_choice("padding_side", padding_side, SIDES)
        self.truncation_side = check_choice("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.model_input_names = [check_choice("model_input_names", name, COLUMNS) for name in model_input_names]
        self.split_special_tokens = split_special_tokens
        self.name_or_path, self.verbose = str(name_or_path), verbose
        self.deprecation_warnings = {}  # keys of the notes that were logged
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
        self._check_sources(vocab_file, tokenizer_file, tokenizer_object)
        with reading(vocab_file or tokenizer_file or "tokenizer_object", "a tokenizer"):
            self.backend_tokenizer, stored = self._open_engine(
                vocab_file, tokenizer_file, tokenizer_object, do_basic_tokenize, wordpieces_prefix, normalizer
            )
            self._add_stored(stored)
            self._add_described(added_tokens_decoder or {}, set(map(str, tokens)))
            self._check_special_tokens()
        fixed = {"do_basic_tokenize": do_basic_tokenize, "wordpieces_prefix": wordpieces_prefix}
        self._check_options(fixed, normalizer)
        added = self._added()  # these keep their stored options
        self.add_tokens([token for token in tokens if isinstance(token, AddedToken) or token not in added], True)
        self._update_special_tokens()
        self._lock = ForkedLock()

    @staticmethod
    def _check_sources(vocab_file: Any, tokenizer_file: Any, tokenizer_object: Any) -> None:
        """Raise InputError if not exactly one source is given."""
        count = sum(source is not None for source in (vocab_file, tokenizer_file, tokenizer_object))
        if count != 1:
            raise InputError(
                f"Give vocab_file or tokenizer_file; got {'both' if count == 2 else 'neither'}."
                if tokenizer_object is None
                else "Give tokenizer_object without vocab_file and tokenizer_file."
            )

    def _open_engine(
        self,
        vocab_file: str | Path | None,
        tokenizer_file: str | Path | None,
        tokenizer_object: Any,
        do_basic_tokenize: bool | None,
        wordpieces_prefix: str | None,
        normalizer: Mapping[str, bool],
    ) -> tuple[Engine, list[tuple[int, AddedToken]]]:
        """Return the engine of the only source, and the added tokens that are stored with it, by id."""
        if vocab_file is not None:
            prefix = files.PREFIX if wordpieces_prefix is None else wordpieces_prefix
            vocabulary, basic = files.read_vocabulary(vocab_file), do_basic_tokenize is not False
            specification = files.Specification(vocabulary, self.unk_token, prefix, basic, normalizer)
            return self._make_engine(specification), []
        name = tokenizer_file or "tokenizer_object"
        text = files.read_tokenizer_json(tokenizer_file) if tokenizer_file else tokenizer_object.to_str()
        content = files.parse_tokenizer_json(name, text)
        added = files.added_tokens_of(content)
        return self._read_engine(name, text, content, normalizer), added

    def _add_described(self, added: Mapping[int, Token], special: set[str]) -> None:
        """Add stored tokens by id. A text has the options in tokenizer.json, or the default ones."""
        described = self._added()
        self._add_stored(
            (index, token)
            if isinstance(token, AddedToken)
            else (index, described.get(token, new_token(token, token in special)))
            for index, token in sorted(added.items())
        )

    def _check_options(self, fixed: Mapping[str, Any], normalizer: Mapping[str, bool]) -> None:
        """Refuse options that differ from tokenizer.json; warn of options without effect."""
        required = {"do_basic_tokenize": self.do_basic_tokenize, "wordpieces_prefix": self.wordpieces_prefix}
        for name, value in fixed.items():
            if value is not None and value != required[name]:
                raise InputError(
                    f"{name} must be {required[name]!r}, as in tokenizer_file, or be left out; got {value!r}."
                )
        other = self.backend_tokenizer.normalizer is not None
        idle = [files.NORMALIZER_OPTIONS[name] for name, value in normalizer.items() if value or other]
        if idle and not self.do_basic_tokenize:
            warnings.warn(
                f"Options without effect: {', '.join(idle)}; this tokenizer does not normalise texts as BERT's does.",
                CheckpointWarning,
                stacklevel=3,
            )

    def _make_engine(self, specification: files.Specification) -> Engine:
        """Return the engine of a specification."""
        raise NotImplementedError

    def _read_engine(
        self, name: str | Path, text: str, content: dict[str, Any], normalizer: Mapping[str, bool]
    ) -> Engine:
        """Return the engine of tokenizer.json.

        Args:
            name: Name of the file, for errors.
            text: Text of the file.
            content: Content of the file. It may be changed.
            normalizer: Options that override the normaliser's in the file.
        """
        raise NotImplementedError

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of the constructor as a copy; the arguments of files are None."""
        names = [name for name in signature(BaseTokenizer.__init__).parameters if name not in ("self", "kwargs")]
        return {name: getattr(self, name, None) for name in names} | self.special_tokens_map_extended

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without attributes that calls change: equal tokenizers have equal pickles and digests."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "deprecation_warnings")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkedLock(), deprecation_warnings={})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"
