"""Special and added tokens: their names, their values, and their stored form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from tokenizers import AddedToken

from distilbert_core.errors import InputError, shortened

SPECIAL_TOKENS = {  # argument -> default
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
FURTHER_TOKENS = ("bos_token", "eos_token")  # of other models; None by default
TOKEN_NAMES = (*FURTHER_TOKENS, *SPECIAL_TOKENS)
MAY_BE_UNSET = (*FURTHER_TOKENS, "pad_token", "mask_token")  # every text needs the other special tokens
ADDITIONAL = "additional_special_tokens"  # the argument that is a list of tokens
TOKEN_OPTIONS = ("lstrip", "normalized", "rstrip", "single_word", "special")  # of an AddedToken

Token = str | AddedToken
Id = TypeVar("Id", int, int | None)


class _IdLookup(Protocol):
    """A tokenizer, as far as the id of a special token needs one."""

    def __len__(self) -> int:
        """Return the number of tokens."""

    def convert_tokens_to_ids(self, tokens: str) -> int | list[int]:
        """Return the id of a token."""

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """Return the token of an id."""


class TokenId(Generic[Id]):
    """The id of a special token as an attribute. Assigning an id makes its token the special token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.token_name = name.removesuffix("_id")
        self.__doc__ = f"Id of `{self.token_name}`; None if it is None."

    def __get__(self, tokenizer: _IdLookup | None, owner: type) -> Id:
        if tokenizer is None:
            return cast(Id, self)
        token = getattr(tokenizer, self.token_name)
        return cast(Id, None if token is None else tokenizer.convert_tokens_to_ids(token))

    def __set__(self, tokenizer: _IdLookup, index: Id) -> None:
        setattr(tokenizer, self.token_name, None if index is None else token_of(tokenizer, index))


def token_of(tokenizer: _IdLookup, index: int) -> str:
    """Return the token of an id.

    Raises:
        InputError: The id is unknown.
    """
    token = tokenizer.convert_ids_to_tokens(index)
    if not isinstance(token, str):
        raise InputError(f"There is no token of id {index!r}; the ids are below len(tokenizer), {len(tokenizer)}.")
    return token


def check_tokens(tokens: Iterable[Any]) -> None:
    """Raise InputError if a value is not a token, or is an empty one."""
    for token in tokens:
        if not isinstance(token, Token):
            raise InputError(f"A token must be a text or an AddedToken, got {shortened(token)}.")
        if not str(token):
            raise InputError("A token must not be empty: it would take an id, but never be matched.")


def tokens_of(name: str, value: Any) -> Sequence[Token]:
    """Return the tokens in the value of a special token's argument.

    Returns:
        One token, several for `additional_special_tokens`, or none.

    Raises:
        InputError: The argument cannot have this value.
    """
    if name == ADDITIONAL:
        if isinstance(value, Token) or not isinstance(value, Sequence):
            raise InputError(f"{name} must be a list of tokens, got {shortened(value)}.")
        tokens = value
    elif value is None and name in MAY_BE_UNSET:
        tokens = ()
    elif isinstance(value, Token):
        tokens = (value,)
    else:
        raise InputError(f"{name} must be a token, got {shortened(value)}.")
    check_tokens(tokens)
    return tokens


def as_text(value: Any) -> Any:
    """Return the value of a special token's argument with the text of each `AddedToken`."""
    if isinstance(value, AddedToken):
        return str(value)
    return value if value is None or isinstance(value, str) else [str(token) for token in value]


def no_token(name: str) -> str:
    """Return the error message for a special token that is needed and is None."""
    return (
        f"This tokenizer has no {name}, and one is needed here: set tokenizer.{name} to a token of the vocabulary, or "
        f"add one with tokenizer.add_special_tokens({{{name!r}: {SPECIAL_TOKENS[name]!r}}})."
    )


def not_in_vocabulary(name: str, tokens: Iterable[str]) -> str:
    """Return the error message for special tokens that are not in the vocabulary."""
    value = list(tokens) if name == ADDITIONAL else next(iter(tokens))
    return (
        f"{name} must be in the vocabulary, got {shortened(value)}; tokenizer.add_special_tokens({{{name!r}: ...}}) "
        "adds tokens."
    )


# -- stored form ------------------------------------------------------------------------------------------------


def new_token(content: str, special: bool) -> AddedToken:
    """Return an added token with default options: a special one is matched in the text before normalisation."""
    return AddedToken(content, special=special, normalized=not special)


def added_token(stored: Mapping[str, Any]) -> AddedToken:
    """Return an added token from its stored form."""
    options = {name: stored[name] for name in TOKEN_OPTIONS if name in stored}
    if not isinstance(stored["content"], str) or not all(isinstance(value, bool) for value in options.values()):
        raise InputError(
            f"A stored token must have a text as content, and {', '.join(TOKEN_OPTIONS)} must be true or false; "
            f"got {shortened(dict(stored))}."
        )
    return AddedToken(stored["content"], **options)


def token_fields(token: AddedToken) -> dict[str, Any]:
    """Return the stored form of an added token."""
    return {name: getattr(token, name) for name in ("content", *TOKEN_OPTIONS)}
