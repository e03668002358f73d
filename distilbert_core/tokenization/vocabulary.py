"""The vocabulary of a tokenizer: ids, special tokens and added ones."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import AddedToken

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.columns import as_array
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    SPECIAL_TOKENS,
    TOKEN_NAMES,
    Token,
    TokenId,
    as_text,
    check_tokens,
    no_token,
    not_in_vocabulary,
    token_of,
    tokens_of,
)

LARGEST_ID = 2**32 - 1  # ids have 32 bits in the `tokenizers` library


class Vocabulary:
    """The part of a tokenizer that is about its tokens: their ids, and which are special or added."""

    bos_token: str | None
    eos_token: str | None
    unk_token: str
    sep_token: str
    pad_token: str | None
    cls_token: str
    mask_token: str | None
    additional_special_tokens: list[str]
    backend_tokenizer: Any

    bos_token_id = TokenId[int | None]()
    eos_token_id = TokenId[int | None]()
    unk_token_id = TokenId[int]()
    sep_token_id = TokenId[int]()
    pad_token_id = TokenId[int | None]()
    cls_token_id = TokenId[int]()
    mask_token_id = TokenId[int | None]()

    def _tell_special_tokens(self) -> None:
        """Tell the engine which token stands for unknown words, and which stand around a text."""
        raise NotImplementedError

    def _normalize(self, text: str) -> str:
        """Return what is split in place of a text."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a special token must be in the vocabulary, and is one in every way from then on."""
        if name in (*TOKEN_NAMES, ADDITIONAL):
            self._set_special_token(name, value)
        else:
            super().__setattr__(name, value)

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
        """The special tokens by argument name, those that are set."""
        tokens = {name: getattr(self, name) for name in (*TOKEN_NAMES, ADDITIONAL)}
        return {name: value if isinstance(value, str) else list(value) for name, value in tokens.items() if value}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens that are set."""
        tokens = filter(None, (getattr(self, name) for name in TOKEN_NAMES))
        return list(dict.fromkeys([*tokens, *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens.

        Raises:
            InputError: `additional_special_tokens` was changed and has a token that is not in the vocabulary.
        """
        ids = {token: self.backend_tokenizer.token_to_id(token) for token in self.all_special_tokens}
        lost = [token for token, index in ids.items() if index is None]
        if lost:
            raise InputError(not_in_vocabulary(ADDITIONAL, lost))
        return list(ids.values())

    def _token_id(self, token: str) -> int:
        index = self.backend_tokenizer.token_to_id(token)
        # That of unk_token is always there: its presence was checked.
        return self.backend_tokenizer.token_to_id(self.unk_token) if index is None else index

    def special_id(self, name: str) -> int:
        """Return the id of a special token by argument name, such as 'mask_token'.

        Raises:
            InputError: The token is not set.
        """
        token = getattr(self, one_of("name", name, SPECIAL_TOKENS))
        if token is None:
            raise InputError(no_token(name))
        return self._token_id(token)

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of `additional_special_tokens`; to assign ids makes their tokens the additional special ones."""
        return list(map(self._token_id, self.additional_special_tokens))

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = [token_of(self, index) for index in ids]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or of each token; that of `unk_token` for unknown ones.

        Raises:
            InputError: There is something else than texts among them.
        """
        if isinstance(tokens, str):
            return self._token_id(tokens)
        return list(map(self._token_id, as_texts("tokens", tokens)))

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or of each id [T], None where there is none; special ones left out if asked.

        Raises:
            InputError: There is something else than ids among them: fractions, texts, or negative numbers.
        """
        wanted = as_ids("ids", ids)
        if wanted.ndim > 1:
            raise InputError(f"ids must be an id or have shape [tokens], got {wanted.shape}.")
        one = wanted.ndim == 0
        skipped = self._special_ids() if skip_special_tokens and not one else set()
        added = self.added_tokens_decoder  # the library's own look-up gives these normalised
        tokens = [
            added[index].content if index in added else self._token(index)
            for index in np.atleast_1d(wanted).tolist()
            if index not in skipped
        ]
        return tokens[0] if one else tokens

    def _token(self, index: int) -> str | None:
        return self.backend_tokenizer.id_to_token(index) if index <= LARGEST_ID else None

    def _special_ids(self) -> set[int]:
        added = self.added_tokens_decoder.items()
        return {*self.all_special_ids, *(index for index, token in added if token.special)}

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens that are found in a text before it is split, with new ids for those the vocabulary lacks.

        Then call the model's `resize_token_embeddings(len(tokenizer))`.

        Args:
            new_tokens: A token or several; an `AddedToken` says how it is matched. White space is a token, too, but an
                empty text is not.
            special_tokens: They are special: matched in the text as it is, and left out by `skip_special_tokens`.

        Returns:
            By how much the vocabulary grew.

        Raises:
            InputError: A token is empty, also when normalised; or it is white space and takes white space around it;
                or it is not a token; or the vocabulary's ids have gaps, so that a new token would get the id of
                another.

        Example:
            >>> from distilbert_core import DistilBertTokenizerFast
            >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
            >>> tokenizer.add_tokens(["covfefe", "movie"]), len(tokenizer)
            (1, 30523)
        """
        size = len(self)
        tokens = [new_tokens] if isinstance(new_tokens, Token) else list(new_tokens)
        check_tokens(tokens)
        added = [
            files.new_token(token, special_tokens)
            if isinstance(token, str)
            else files.added_token({**files.token_fields(token), "special": special_tokens or token.special})
            for token in tokens
        ]
        for token in added:
            if fault := self._fault(token):
                raise InputError(fault)
        self._check_gaps(added)
        self._add(added)
        return len(self) - size

    def _added(self) -> dict[str, AddedToken]:
        return {token.content: token for token in self.added_tokens_decoder.values()}

    def _add(self, tokens: Iterable[AddedToken]) -> None:
        """Add tokens to the engine.

        Of several that are alike when normalised, the library finds any at random. The first one is normalised here.
        """
        added = [content for content, token in self._added().items() if token.normalized]
        first = {self._normalize(content): content for content in reversed(added)}
        new = []
        for token in tokens:
            other = first.setdefault(self._normalize(token.content), token.content) if token.normalized else None
            if other not in (None, token.content):
                warnings.warn(
                    f"The added tokens {other!r} and {token.content!r} are alike when they are normalised, so "
                    f"{token.content!r} is only found as it is written.",
                    stacklevel=3,
                )
                token = AddedToken(**{**files.token_fields(token), "normalized": False})
            new.append(token)
        self.backend_tokenizer.add_tokens(new)

    def _fault(self, token: AddedToken) -> str | None:
        """Say why a token cannot be found in texts; None if it can. The library panics at such tokens."""
        matched = self._normalize(token.content) if token.normalized else token.content
        if not matched:
            return (
                f"The token {token.content!r} is empty when it is normalised, so it is found in no text; an "
                "AddedToken with normalized=False is found as it is written."
            )
        if matched.isspace() and (token.lstrip or token.rstrip):
            return f"The token {token.content!r} is white space, so lstrip and rstrip must be False."
        return None

    def _check_gaps(self, added: Sequence[AddedToken]) -> None:
        """Raise InputError if new tokens, whose ids begin at the vocabulary's size, would get ids that it has."""
        new = [token.content for token in added if self.backend_tokenizer.token_to_id(token.content) is None]
        if new and max(self.backend_tokenizer.get_vocab(with_added_tokens=False).values()) >= self.vocab_size:
            raise InputError(
                f"{', '.join(new)} cannot be added: the vocabulary's ids have gaps (vocab.txt repeats a line), so a "
                "new token would get the id of another one."
            )

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Give special tokens by argument name, 'additional_special_tokens' a list, and add them to the vocabulary.

        Args:
            special_tokens_dict: A token by argument name, or a list of them.
            replace_additional_special_tokens: The list takes the place of the one before; False: it is put behind it.

        Returns:
            By how much the vocabulary grew.

        Raises:
            InputError: There is no such special token; or a value is not a token, is empty, or is a new `unk_token`,
                which must be in the vocabulary already.
        """
        new = {}
        for name, value in special_tokens_dict.items():
            one_of("special_tokens_dict", name, (*TOKEN_NAMES, ADDITIONAL))
            if value is None:
                raise InputError(f"{name} must be a token, or a list of them, got None.")
            new[name] = tokens_of(name, value)
            if name == "unk_token":
                self._check_unk(str(value))
        grown = 0
        for name, tokens in new.items():
            grown += self.add_tokens(tokens, special_tokens=True)
            value = as_text(special_tokens_dict[name])
            if name == ADDITIONAL and not replace_additional_special_tokens:
                value = list(dict.fromkeys([*self.additional_special_tokens, *value]))
            self.__dict__[name] = value
        self._tell_special_tokens()
        return grown

    def _set_special_token(self, name: str, value: Any) -> None:
        tokens = tokens_of(name, value)
        lost = [str(token) for token in tokens if self.backend_tokenizer.token_to_id(str(token)) is None]
        if lost:
            raise InputError(not_in_vocabulary(name, lost))
        if name == "unk_token":
            self._check_unk(str(value))
        special = [content for content, token in self._added().items() if token.special]  # these stay as they are
        self.add_tokens([token for token in tokens if isinstance(token, AddedToken) or token not in special], True)
        self.__dict__[name] = as_text(value)
        self._tell_special_tokens()

    def _check_unk(self, token: str) -> None:
        """Raise InputError for an `unk_token` that only was added: the engines look for it in the vocabulary."""
        if token not in self.backend_tokenizer.get_vocab(with_added_tokens=False):
            raise InputError(_NO_UNK.format(token))

    # -- at construction ----------------------------------------------------------------------------------------

    def _add_stored(self, added: Iterable[tuple[int, AddedToken]]) -> None:
        """Add tokens that were added before.

        Raises:
            CheckpointError: One gets another id than it is stored with, or cannot be found in texts.
        """
        stored = list(added)
        for _, token in stored:
            if fault := self._fault(token):
                raise CheckpointError(fault)
        self._add([token for _, token in stored])
        for index, token in stored:
            got = self.backend_tokenizer.token_to_id(token.content)
            if got != index:
                raise CheckpointError(
                    f"The vocabulary and the added tokens do not fit together: the added token {token.content!r} must "
                    f"have the id {index}, but after those before it gets {got}."
                )

    def _check_special_tokens(self, vocabulary: Container[str]) -> None:
        """Raise CheckpointError if a special token has no id, or `unk_token` none in the vocabulary itself."""
        tokens = (getattr(self, name) for name in SPECIAL_TOKENS)
        missing = [token for token in tokens if token and self.backend_tokenizer.token_to_id(token) is None]
        if missing:
            raise CheckpointError(
                "Special tokens must be in the vocabulary; only pad_token and mask_token may be None. The vocabulary "
                f"lacks the special token(s) {', '.join(missing)}."
            )
        if self.unk_token not in vocabulary:
            raise CheckpointError(_NO_UNK.format(self.unk_token))


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """Return a value, or raise InputError if it is not one of those allowed."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value


def as_ids(name: str, values: Any) -> np.ndarray:
    """Return an id, or ids in lists, an array or a tensor, as an array."""
    ids = as_array(values, name)
    if ids.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, got {reprlib.repr(values)}.")
    if ids.size and ids.min() < 0:
        raise InputError(f"An id must not be negative, got {ids.min()}; replace labels such as -100 first.")
    return ids


def as_texts(name: str, values: Iterable[Any]) -> list[str]:
    """Return texts as a list."""
    texts = list(values)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} must be texts, got {text!r}.")
    return texts


_NO_UNK = "unk_token must be in the vocabulary, not only among the tokens added to it, got {!r}."
