"""Tokens that are added to a vocabulary, and tokens that are made special."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from distilbert_core.checks import check_choice
from distilbert_core.errors import CheckpointError, InputError, listed, shortened
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    SPECIAL_TOKENS,
    TOKEN_NAMES,
    Token,
    added_token,
    as_text,
    check_tokens,
    new_token,
    not_in_vocabulary,
    token_fields,
    tokens_of,
)
from distilbert_core.tokenization.vocabulary import Vocabulary


class AddedTokens(Vocabulary):
    """Adds tokens to the vocabulary and sets the special tokens."""

    def _update_special_tokens(self) -> None:
        """Pass `unk_token`, `cls_token` and `sep_token` to the engine."""
        raise NotImplementedError

    def _normalize(self, text: str) -> str:
        """Return the normalised text, which the engine splits into tokens."""
        raise NotImplementedError

    def _is_in_vocabulary(self, token: str) -> bool:
        """Return whether the vocabulary has a token, not counting those that were added to it."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. A special token must be in the vocabulary; it becomes special for the engine, too."""
        if name in (*TOKEN_NAMES, ADDITIONAL):
            self._set_special_token(name, value)
        else:
            super().__setattr__(name, value)

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens that are matched in a text before it is split. Tokens that the vocabulary lacks get new ids.

        Afterwards, call the model's `resize_token_embeddings(len(tokenizer))`.

        Args:
            new_tokens: A token or several. The options of an `AddedToken` say how it is matched. A token may be white
                space, but not empty.
            special_tokens: Make the tokens special: they are matched in the text before normalisation, and
                `skip_special_tokens` leaves them out.

        Returns:
            The number of new ids.

        Raises:
            InputError: A token is empty, or is empty when normalised; a token is white space and has lstrip or rstrip;
                a value is not a token; or the vocabulary's ids have gaps, so that a new token would get the id of
                another one.

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
            new_token(token, special_tokens)
            if isinstance(token, str)
            else added_token({**token_fields(token), "special": special_tokens or token.special})
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

        The library matches any one of several tokens that are equal when normalised. Here only the first of them is
        matched in normalised text.
        """
        added = [content for content, token in self._added().items() if token.normalized]
        first = {self._normalize(content): content for content in reversed(added)}
        new = []
        for token in tokens:
            other = first.setdefault(self._normalize(token.content), token.content) if token.normalized else None
            if other not in (None, token.content):
                warnings.warn(
                    f"The added tokens {shortened(other)} and {shortened(token.content)} are equal when they are "
                    f"normalised, so {shortened(token.content)} is only matched in the text before normalisation.",
                    stacklevel=3,
                )
                token = AddedToken(**{**token_fields(token), "normalized": False})
            new.append(token)
        self.backend_tokenizer.add_tokens(new)

    def _fault(self, token: AddedToken) -> str | None:
        """Return why a token cannot be matched in texts, or None. The library panics at such tokens."""
        matched = self._normalize(token.content) if token.normalized else token.content
        if not matched:
            return (
                f"The token {shortened(token.content)} is empty when it is normalised, so no text has it; an "
                "AddedToken with normalized=False is matched in the text before normalisation."
            )
        if matched.isspace() and (token.lstrip or token.rstrip):
            return f"The token {shortened(token.content)} is white space, so lstrip and rstrip must be False."
        return None

    def _check_gaps(self, added: Sequence[AddedToken]) -> None:
        """Raise InputError if new tokens, whose ids begin at the vocabulary's size, would get ids of other tokens."""
        new = [token.content for token in added if self.backend_tokenizer.token_to_id(token.content) is None]
        if new and max(self.backend_tokenizer.get_vocab(with_added_tokens=False).values()) >= self.vocab_size:
            raise InputError(
                f"{listed(new)} cannot be added: the vocabulary's ids have gaps (vocab.txt repeats a line), so a "
                "new token would get the id of another one."
            )

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Set special tokens and add them to the vocabulary.

        Args:
            special_tokens_dict: A token by argument name; for 'additional_special_tokens' a list of tokens.
            replace_additional_special_tokens: Replace the previous list; False: append to it.

        Returns:
            The number of new ids.

        Raises:
            InputError: A name is not one of a special token; a value is not a token, or is empty; or `unk_token` is
                not in the vocabulary, to which it cannot be added.
        """
        new = {}
        for name, value in special_tokens_dict.items():
            check_choice("special_tokens_dict", name, (*TOKEN_NAMES, ADDITIONAL))
            if value is None:
                raise InputError(f"{name} must be a token, or a list of them, got None.")
            new[name] = tokens_of(name, value)
            if name == "unk_token":
                self._check_unk(str(value))
        count = 0
        for name, tokens in new.items():
            count += self.add_tokens(tokens, special_tokens=True)
            value = as_text(special_tokens_dict[name])
            if name == ADDITIONAL and not replace_additional_special_tokens:
                value = list(dict.fromkeys([*self.additional_special_tokens, *value]))
            self.__dict__[name] = value
        self._update_special_tokens()
        return count

    def _set_special_token(self, name: str, value: Any) -> None:
        tokens = tokens_of(name, value)
        missing = [str(token) for token in tokens if self.backend_tokenizer.token_to_id(str(token)) is None]
        if missing:
            raise InputError(not_in_vocabulary(name, missing))
        if name == "unk_token":
            self._check_unk(str(value))
        special = [content for content, token in self._added().items() if token.special]  # these keep their options
        self.add_tokens([token for token in tokens if isinstance(token, AddedToken) or token not in special], True)
        self.__dict__[name] = as_text(value)
        self._update_special_tokens()

    def _check_unk(self, token: str) -> None:
        """Raise InputError for an `unk_token` that was only added: the engines need it in the vocabulary itself."""
        if not self._is_in_vocabulary(token):
            raise InputError(_NO_UNK.format(shortened(token)))

    # -- at construction ----------------------------------------------------------------------------------------

    def _add_stored(self, added: Iterable[tuple[int, AddedToken]]) -> None:
        """Add the added tokens of a stored tokenizer.

        Raises:
            CheckpointError: A token gets another id than the stored one, or cannot be matched in texts.
        """
        stored = list(added)
        for _, token in stored:
            if fault := self._fault(token):
                raise CheckpointError(fault)
        self._add([token for _, token in stored])
        for index, token in stored:
            actual = self.backend_tokenizer.token_to_id(token.content)
            if actual != index:
                raise CheckpointError(
                    "The vocabulary and the added tokens do not fit together: the added token "
                    f"{shortened(token.content)} must have the id {index}, but it would get {actual}."
                )

    def _check_special_tokens(self) -> None:
        """Raise CheckpointError if a special token has no id, or `unk_token` is not in the vocabulary itself."""
        tokens = (getattr(self, name) for name in SPECIAL_TOKENS)
        missing = [token for token in tokens if token and self.backend_tokenizer.token_to_id(token) is None]
        if missing:
            raise CheckpointError(
                "Special tokens must be in the vocabulary; only pad_token and mask_token may be None. The vocabulary "
                f"lacks the special token(s) {listed([shortened(token)[1:-1] for token in missing])}."
            )
        if not self._is_in_vocabulary(self.unk_token):
            raise CheckpointError(_NO_UNK.format(shortened(self.unk_token)))


_NO_UNK = "unk_token must be in the vocabulary, not only among the tokens added to it, got {}."
