"""`DistilBertTokenizerFast`: WordPiece on the `tokenizers` library, with the calls users of Transformers know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from distilbert_core.backends import load_backend
from distilbert_core.checkpoint import replace_files
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.hub import find_file, offline_note, split_hub_options

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"

NO_MAX_LENGTH = int(1e30)  # what Transformers writes where no length is known

SPECIAL_TOKENS = {  # argument -> default
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
TRUNCATIONS = ("longest_first", "only_first", "only_second")
TENSOR_BACKENDS = {"pt": "pt", "tf": "tf", "jax": "flax", "flax": "flax"}  # return_tensors -> backend that makes them

Text = str | Sequence[str]  # a text, or with is_split_into_words its words


class BatchEncoding(dict[str, Any]):
    """What the tokenizer returns: `input_ids`, `attention_mask` and what else was asked for, also as attributes.

    For one text each entry is a list, for several a list of lists, or with `return_tensors` an array [B, T].
    """

    def __init__(self, data: Mapping[str, Any], encodings: Sequence[Encoding] = ()):
        super().__init__(data)
        self.encodings = list(encodings)

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"This encoding has no {name!r}; it has {list(self)}.")

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, the index of its word, or None for special tokens."""
        return self.encodings[batch_index].word_ids

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of one text."""
        return self.encodings[batch_index].tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, 0 or 1 for the first or second text of the pair, None if special."""
        return self.encodings[batch_index].sequence_ids


class DistilBertTokenizerFast:
    """Splits text into WordPiece tokens and gives their ids, with [CLS] and [SEP] around them.

    DistilBERT has no token types, so none are produced.

    Args:
        vocab_file: vocab.txt, one token a line. Give this or `tokenizer_file`.
        tokenizer_file: tokenizer.json as the `tokenizers` library writes it.
        do_lower_case: Lower-case the text. None: as `tokenizer_file` says, True for a `vocab_file`.
        unk_token: Stands for a word that the vocabulary cannot spell.
        sep_token: Ends a text and separates the two of a pair.
        pad_token: Fills short texts up.
        cls_token: Begins every input.
        mask_token: Stands for a token to be predicted.
        clean_text: Remove control characters and unify white space. None: as in the file, or True.
        tokenize_chinese_chars: Put spaces around Chinese characters. None: as in the file, or True.
        strip_accents: Remove accents; None: only if lower-casing.
        wordpieces_prefix: What a token that continues a word begins with.
        model_max_length: Length that `truncation=True` cuts to; None: no limit known.
        padding_side: 'right' or 'left'.
        truncation_side: 'right' or 'left'.

    Raises:
        CheckpointError: A file is missing or damaged.
        InputError: An option is not one of those named.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> tokenizer("I love it!")["input_ids"]
        [101, 1045, 2293, 2009, 999, 102]
    """

    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool | None = None,
        unk_token: str = SPECIAL_TOKENS["unk_token"],
        sep_token: str = SPECIAL_TOKENS["sep_token"],
        pad_token: str = SPECIAL_TOKENS["pad_token"],
        cls_token: str = SPECIAL_TOKENS["cls_token"],
        mask_token: str = SPECIAL_TOKENS["mask_token"],
        clean_text: bool | None = None,
        tokenize_chinese_chars: bool | None = None,
        strip_accents: bool | None = None,
        wordpieces_prefix: str = "##",
        model_max_length: int | None = None,
        padding_side: Literal["right", "left"] = "right",
        truncation_side: Literal["right", "left"] = "right",
    ):
        self.unk_token, self.sep_token, self.pad_token = unk_token, sep_token, pad_token
        self.cls_token, self.mask_token = cls_token, mask_token
        # Transformers' files hold its 'unknown' as 1e30, which JSON may give back as a float.
        length = NO_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = _token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
        self.padding_side = _one_of("padding_side", padding_side, ("right", "left"))
        self.truncation_side = _one_of("truncation_side", truncation_side, ("right", "left"))
        normalizer = {
            "clean_text": clean_text,
            "handle_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
            "lowercase": do_lower_case,
        }
        if tokenizer_file is not None:
            self.backend_tokenizer = _read_tokenizer(tokenizer_file)
        elif vocab_file is not None:
            model = WordPiece(
                read_vocabulary(vocab_file),
                unk_token=unk_token,
                continuing_subword_prefix=wordpieces_prefix,
                max_input_chars_per_word=100,
            )
            self.backend_tokenizer = Tokenizer(model)
            self.backend_tokenizer.normalizer = BertNormalizer()
            self.backend_tokenizer.pre_tokenizer = BertPreTokenizer()
            self.backend_tokenizer.decoder = WordPieceDecoder(prefix=wordpieces_prefix)
        else:
            raise InputError("Give vocab_file or tokenizer_file; got neither.")
        self._set_normalizer({name: value for name, value in normalizer.items() if value is not None})
        self._set_special_tokens()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _set_normalizer(self, options: dict[str, bool]) -> None:
        normalizer = self.backend_tokenizer.normalizer
        if isinstance(normalizer, BertNormalizer):
            for name, value in options.items():
                setattr(normalizer, name, value)

    def _set_special_tokens(self) -> None:
        missing = [token for token in self.all_special_tokens if self.backend_tokenizer.token_to_id(token) is None]
        if missing:
            raise CheckpointError(f"The vocabulary lacks the special token(s) {', '.join(missing)}.")
        self.backend_tokenizer.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in self.all_special_tokens]
        )
        cls, sep = self.cls_token, self.sep_token
        self.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1",
            special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
        )

    # -- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary, added ones not counted."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens by argument name."""
        return {name: getattr(self, name) for name in SPECIAL_TOKENS}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens."""
        return list(self.special_tokens_map.values())

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
        """Return the token of an id, or of each id; special ones left out if asked."""
        if isinstance(ids, int | np.integer):
            return self.backend_tokenizer.id_to_token(int(ids))
        special = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.backend_tokenizer.id_to_token(int(index)) for index in ids if int(index) not in special]

    # -- text to ids --------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Text | Sequence[Text] | Sequence[tuple[Text, Text]],
        text_pair: Text | Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        is_split_into_words: bool = False,
        return_tensors: str | None = None,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
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
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            is_split_into_words: Texts come as lists of words.
            return_tensors: 'np', 'pt', 'tf' or 'jax' for arrays [B, T]; None for lists.
            return_attention_mask: Add `attention_mask`, 1 for real tokens and 0 for padding.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: Add `offset_mapping`, (start, end) in characters of the text for each token.
            return_length: Add `length`, the number of tokens with padding.

        Returns:
            The encoding. int64 arrays; int32 in JAX unless it runs with 64-bit numbers.

        Raises:
            InputError: The text is of another type, an option is unknown, or lengths differ and `padding` was not
                asked for while `return_tensors` was.
        """
        texts, single = _as_batch(text, text_pair, is_split_into_words)
        shortest = 0
        if truncation and add_special_tokens:
            pairs = any(_is_pair(item, is_split_into_words) for item in texts)
            shortest = self.backend_tokenizer.num_special_tokens_to_add(pairs)
        with self._lock:  # a call's options are set on the tokenizer that all threads share
            self._set_truncation(truncation, max_length, shortest)
            self._set_padding(padding, max_length, pad_to_multiple_of)
            try:
                encodings = self.backend_tokenizer.encode_batch(
                    texts, is_pretokenized=is_split_into_words, add_special_tokens=add_special_tokens
                )
            except Exception as error:  # the library raises plain Exception for what it cannot do
                raise InputError(
                    f"A text holds lone surrogates, or truncation={truncation!r} cannot be done: {error}."
                ) from error
        wanted = {
            "input_ids": True,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        data = {name: [_READ[name](encoding) for encoding in encodings] for name, want in wanted.items() if want}
        if return_tensors is not None:
            data = {name: _to_tensor(rows, name, return_tensors) for name, rows in data.items()}
        elif single:
            data = {name: rows[0] for name, rows in data.items()}
        return BatchEncoding(data, encodings)

    def _set_truncation(self, truncation: bool | str | None, max_length: int | None, shortest: int) -> None:
        if truncation in (None, False, "do_not_truncate"):
            self.backend_tokenizer.no_truncation()
            return
        strategy = _one_of("truncation", "longest_first" if truncation is True else truncation, TRUNCATIONS)
        length = self._length(max_length)
        if length >= NO_MAX_LENGTH:
            self.backend_tokenizer.no_truncation()
            return
        if length < shortest:  # the library would cut nothing off
            raise InputError(f"max_length must leave room for {shortest} special tokens, got {length}.")
        self.backend_tokenizer.enable_truncation(length, strategy=strategy, direction=self.truncation_side)

    def _set_padding(self, padding: bool | str, max_length: int | None, multiple: int | None) -> None:
        if padding in (False, "do_not_pad"):
            self.backend_tokenizer.no_padding()
            return
        strategy = _one_of("padding", "longest" if padding is True else padding, ("longest", "max_length"))
        length = None
        if strategy == "max_length":
            length = self._length(max_length)
            if length >= NO_MAX_LENGTH:
                raise InputError("padding='max_length' needs max_length: this tokenizer knows no model_max_length.")
        if multiple is not None:
            _token_count("pad_to_multiple_of", multiple)
        self.backend_tokenizer.enable_padding(
            direction=self.padding_side,
            pad_id=self.pad_token_id,
            pad_token=self.pad_token,
            length=length,
            pad_to_multiple_of=multiple,
        )

    def _length(self, max_length: int | None) -> int:
        return self.model_max_length if max_length is None else _token_count("max_length", max_length)

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of a text or pair, without special ones unless asked for."""
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def encode(self, text: Text, text_pair: Text | None = None, **kwargs: Any) -> Any:
        """Return only the ids of one text or pair; the keywords are those of a call."""
        return self(text, text_pair, **kwargs)["input_ids"]

    # -- ids to text --------------------------------------------------------------------------------------------

    def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
        """Return the text of an id, or of a list or array of ids [T].

        Spaces before punctuation and around apostrophes are taken out, as Transformers does by default.

        Raises:
            InputError: The ids have more axes; see `batch_decode`.
        """
        ids = np.atleast_1d(token_ids)
        if ids.ndim != 1:
            raise InputError(f"token_ids must have shape [tokens], got {ids.shape}; batch_decode takes several texts.")
        text = self.backend_tokenizer.decode(ids.tolist(), skip_special_tokens=skip_special_tokens)
        for spaced, joined in _SPACES:
            text = text.replace(spaced, joined)
        return text

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False) -> list[str]:
        """Return the texts of several lists or an array of ids [B, T]."""
        return [self.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    # -- files --------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> DistilBertTokenizerFast:
        """Load the tokenizer of a folder, an embedded model or a Hub id.

        It is read from tokenizer.json, or else from vocab.txt, with the options in tokenizer_config.json.

        Args:
            source: Folder, embedded model or Hub id.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), and arguments of this class that take the place of the stored ones.

        Raises:
            CheckpointError: There is no such checkpoint, it has no tokenizer, or a file is damaged.
        """
        where, options = split_hub_options(kwargs)
        tokenizer_file = find_file(source, TOKENIZER_FILE, **where)
        vocab_file = None if tokenizer_file else find_file(source, VOCAB_FILE, **where)
        if tokenizer_file is None and vocab_file is None:
            note = offline_note(source, where)
            raise CheckpointError(f"{source} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}{note}.")
        stored = _read_json(find_file(source, SPECIAL_TOKENS_FILE, **where))
        stored |= _read_json(find_file(source, TOKENIZER_CONFIG_FILE, **where))
        known = {name: _plain(stored[name]) for name in _STORED_OPTIONS if stored.get(name) is not None}
        return cls(**{"vocab_file": vocab_file, "tokenizer_file": tokenizer_file, **known, **options})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json into `folder`."""
        replace_files(folder, self.files())

    def files(self) -> dict[str, bytes]:
        """Return the content of the tokenizer's files by name."""
        tokenizer = Tokenizer.from_str(self.backend_tokenizer.to_str())
        tokenizer.no_padding()  # a call's options are no part of the tokenizer
        tokenizer.no_truncation()
        tokens = {index: token for token, index in self.backend_tokenizer.get_vocab(with_added_tokens=False).items()}
        last = max(tokens)
        # The line of an id without a token repeats the last one, whose last line alone counts.
        lines = [tokens.get(index, tokens[last]) for index in range(last + 1)]
        options: dict[str, Any] = {
            "tokenizer_class": "DistilBertTokenizer",
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            **self.special_tokens_map,
        }
        normalizer = tokenizer.normalizer
        if isinstance(normalizer, BertNormalizer):
            options["do_lower_case"] = normalizer.lowercase
            options["strip_accents"] = normalizer.strip_accents
            options["tokenize_chinese_chars"] = normalizer.handle_chinese_chars
        return {
            TOKENIZER_FILE: tokenizer.to_str(pretty=True).encode(),
            VOCAB_FILE: "".join(f"{token}\n" for token in lines).encode(),
            TOKENIZER_CONFIG_FILE: (json.dumps(options, indent=2, sort_keys=True) + "\n").encode(),
            SPECIAL_TOKENS_FILE: (json.dumps(self.special_tokens_map, indent=2, sort_keys=True) + "\n").encode(),
        }

    def __repr__(self) -> str:
        return f"DistilBertTokenizerFast(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"


_STORED_OPTIONS = (
    *SPECIAL_TOKENS,
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "model_max_length",
    "padding_side",
    "truncation_side",
)

_SPACES = (  # what decoding leaves -> what it becomes, one after the other
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

_READ = {  # output name -> how it is read from an encoding
    "input_ids": lambda encoding: encoding.ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
    "length": len,
}


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Read vocab.txt: the id of a token is the number of its line, from 0.

    Raises:
        CheckpointError: The file is missing, empty, or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as a vocabulary ({error}).") from error
    vocabulary = {token.rstrip("\r"): index for index, token in enumerate(text.removesuffix("\n").split("\n"))}
    if not text:
        raise CheckpointError(f"{path} is an empty vocabulary.")
    return vocabulary


def _read_tokenizer(path: str | Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
        raise CheckpointError(f"{path} is no valid tokenizer.json ({error}).") from error


def _read_json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(options, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(options).__name__}.")
    return options


def _plain(option: Any) -> Any:
    """Return a stored option; a special token may be stored as an object with its text under 'content'."""
    return option.get("content") if isinstance(option, dict) else option


def _one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value


def _token_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name} must be a number of tokens, got {value!r}.")
    return int(value)


def _as_batch(text: Any, pair: Any, split: bool) -> tuple[list[Any], bool]:
    """Return the inputs as a list of texts or pairs, and whether there was only one."""
    single = _is_text(text, split)
    if single:
        text, pair = [text], None if pair is None else [pair]
    if not isinstance(text, Sequence) or isinstance(text, str):
        raise InputError(f"text must be a text, a pair or a list of them, got {type(text).__name__}.")
    if pair is not None:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(text) != len(pair):
            raise InputError("text_pair must be like text: one text for one, or as many texts as there are in text.")
        text = list(zip(text, pair, strict=True))
    texts = [item if _is_text(item, split) else tuple(item) if _is_pair(item, split) else None for item in text]
    for index, item in enumerate(texts):
        if item is None:
            raise InputError(
                f"text[{index}] must be a text{' split into words' if split else ''} or a pair of them, "
                f"got {text[index]!r}."
            )
    return texts, single


def _is_text(item: Any, split: bool) -> bool:
    if split:
        return isinstance(item, list | tuple) and all(isinstance(word, str) for word in item)
    return isinstance(item, str)


def _is_pair(item: Any, split: bool) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and all(_is_text(part, split) for part in item)


def _to_tensor(rows: list[Any], name: str, kind: str) -> Any:
    _one_of("return_tensors", kind, ("np", *TENSOR_BACKENDS))
    try:
        array = np.asarray(rows, dtype=np.int64)
    except ValueError:
        raise InputError(
            f"The texts have different lengths, so {name} cannot be one array; use padding=True."
        ) from None
    return array if kind == "np" else load_backend(TENSOR_BACKENDS[kind]).to_tensor(array)
