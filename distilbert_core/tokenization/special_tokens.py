"""The special tokens of a tokenizer: their names, and what they may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

from tokenizers import AddedToken

from distilbert_core.errors import InputError

SPECIAL_TOKENS = {  # argument -> default
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
FURTHER_TOKENS = ("bos_token", "eos_token")  # of other models; None unless set
TOKEN_NAMES = (*FURTHER_TOKENS, *SPECIAL_TOKENS)
MAY_BE_UNSET = (*FURTHER_TOKENS, "pad_token", "mask_token")  # the others are needed for every text
ADDITIONAL = "additional_special_tokens"  # the argument that is a list of tokens

Token = str | AddedToken
Id = TypeVar("Id", int, int | None)


class TokenId(Generic[Id]):
    """The id of a special token, as an attribute; to assign an id makes the token of this id the special one."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.token_name = name.removesuffix("_id")
        self.__doc__ = f"Id of `{self.token_name}`; None if it is None."

    def __get__(self, tokenizer: Any, owner: type) -> Id:
        if tokenizer is None:
            return cast(Id, self)
        token = getattr(tokenizer, self.token_name)
        return cast(Id, None if token is None else tokenizer.convert_tokens_to_ids(token))

    def __set__(self, tokenizer: Any, index: Id) -> None:
        setattr(tokenizer, self.token_name, None if index is None else token_of(tokenizer, index))


def token_of(tokenizer: Any, index: int) -> str:
    """Return the token of an id.

    Raises:
        InputError: There is none.
    """
    token = tokenizer.convert_ids_to_tokens(index)
    if not isinstance(token, str):
        raise InputError(f"There is no token of id {index!r}; the ids are below len(tokenizer), {len(tokenizer)}.")
    return token


def check_tokens(tokens: Iterable[Any]) -> None:
    """Raise InputError if there is something among the tokens that is not a token, or an empty one."""
    for token in tokens:
        if not isinstance(token, Token):
            raise InputError(f"A token must be a text or an AddedToken, got {token!r}.")
        if not str(token):
            raise InputError("A token must not be empty: it would take an id and be found in no text.")


def tokens_of(name: str, value: Any) -> Sequence[Token]:
    """Return the tokens that a special token's argument has: one, several for `additional_special_tokens`, or none.

    Raises:
        InputError: The value may not be that argument's.
    """
    if name == ADDITIONAL:
        if isinstance(value, Token) or not isinstance(value, Sequence):
            raise InputError(f"{name} must be a list of tokens, got {value!r}.")
        tokens = value
    elif value is None and name in MAY_BE_UNSET:
        tokens = ()
    elif isinstance(value, Token):
        tokens = (value,)
    else:
        raise InputError(f"{name} must be a token, got {value!r}.")
    check_tokens(tokens)
    return tokens


def as_text(value: Any) -> Any:
    """Return the value of a special token's argument with texts in place of each `AddedToken`."""
    if isinstance(value, AddedToken):
        return str(value)
    return value if value is None or isinstance(value, str) else [str(token) for token in value]


def no_token(name: str) -> str:
    """Return the message of an error: a special token is needed that is None."""
    return (
        f"This tokenizer has no {name}, and one is needed here: set tokenizer.{name} to a token of the vocabulary, or "
        f"add one with tokenizer.add_special_tokens({{{name!r}: {SPECIAL_TOKENS[name]!r}}})."
    )


def not_in_vocabulary(name: str, tokens: Iterable[str]) -> str:
    """Return the message of an error: special tokens are not in the vocabulary."""
    given = list(tokens) if name == ADDITIONAL else next(iter(tokens))
    return (
        f"{name} must be in the vocabulary, got {given!r}; tokenizer.add_special_tokens({{{name!r}: ...}}) adds tokens."
    )
