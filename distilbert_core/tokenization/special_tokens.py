"""The special tokens of a tokenizer: their names, and what they may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken

from distilbert_core.errors import InputError

SPECIAL_TOKENS = {  # argument -> default
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
MAY_BE_UNSET = ("pad_token", "mask_token")  # the others are needed for every text
ADDITIONAL = "additional_special_tokens"  # the argument that is a list of tokens

Token = str | AddedToken


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
