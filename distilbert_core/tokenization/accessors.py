"""Attributes and methods that generic code for Transformers reads and calls, and that nothing here needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any, NoReturn, Self

from tokenizers import AddedToken

from distilbert_core.compatibility import refuse_methods
from distilbert_core.errors import InputError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.decoding import Decoding
from distilbert_core.tokenization.special_tokens import ADDITIONAL, TOKEN_NAMES

NOT_HERE = {  # method of Transformers' tokenizers -> why there is none here, and what to do
    "apply_chat_template": "DistilBERT is not a chat model: join the messages to one text, and tokenize it.",
    "get_chat_template": "DistilBERT is not a chat model.",
    "save_chat_templates": "DistilBERT is not a chat model.",
    "prepare_seq2seq_batch": "Tokenize inputs with tokenizer(texts, text_target=targets).",
    "set_truncation_and_padding": "Give truncation and padding at each call; a tokenizer keeps no state between calls.",
    "register_for_auto_class": "Files that save_pretrained writes are opened by AutoTokenizer as they are.",
}


class EngineOption:
    """An option of the engine as an attribute that cannot be assigned.

    Args:
        read: What gives the option's value, of a tokenizer.
    """

    def __init__(self, read: Callable[[Any], Any]):
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self.__doc__ = f"The constructor's `{name}`, as the engine has it; None where the engine has no such option."

    def __get__(self, tokenizer: Any, owner: type) -> Any:
        return self if tokenizer is None else self._read(tokenizer)

    def __set__(self, tokenizer: Any, value: Any) -> NoReturn:
        raise InputError(
            f"{self._name} cannot be changed; load the tokenizer again: "
            f"{type(tokenizer).__name__}.from_pretrained(..., {self._name}={value!r})."
        )


def _normalizer(name: str) -> EngineOption:
    return EngineOption(lambda tokenizer: tokenizer.normalizer_options().get(name))


class Accessors(Decoding):
    """What scripts for Transformers 4.53 read of a tokenizer and call on it."""

    model_max_length: int
    slow_tokenizer_class: type | None = None

    vocab_files_names: Mapping[str, str] = {"vocab_file": files.VOCAB_FILE}
    pretrained_vocab_files_map: Mapping[str, Any] = {}
    SPECIAL_TOKENS_ATTRIBUTES = (*TOKEN_NAMES, ADDITIONAL)
    can_save_slow_tokenizer = True
    init_inputs: tuple[Any, ...] = ()
    extra_special_tokens: Mapping[str, str] = {}
    add_prefix_space = False

    do_lower_case = _normalizer("lowercase")
    strip_accents = _normalizer("strip_accents")
    tokenize_chinese_chars = _normalizer("handle_chinese_chars")
    clean_text = _normalizer("clean_text")
    do_basic_tokenize = EngineOption(lambda tokenizer: bool(tokenizer.normalizer_options()))
    wordpieces_prefix = EngineOption(lambda tokenizer: tokenizer._prefix())

    def normalizer_options(self) -> dict[str, bool | None]:
        """Return the options of BERT's normaliser, named as in tokenizer.json; none if there is another or none."""
        raise NotImplementedError

    def _prefix(self) -> str:
        """Return what a token that continues a word begins with."""
        raise NotImplementedError

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of the constructor but for the files, which are None; a copy."""
        from distilbert_core.tokenization.base import BaseTokenizer

        names = [name for name in signature(BaseTokenizer.__init__).parameters if name not in ("self", "kwargs")]
        return {name: getattr(self, name, None) for name in names} | self.special_tokens_map_extended

    # -- special tokens -----------------------------------------------------------------------------------------

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """The special tokens by argument name, as `AddedToken`, which says how each is matched."""
        added = self._added()
        return {
            name: added[value] if isinstance(value, str) else [added[token] for token in value]
            for name, value in self.special_tokens_map.items()
        }

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """The special tokens that are set, as `AddedToken`, which says how each is matched."""
        added = self._added()
        return [added[token] for token in self.all_special_tokens]

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the special and the added tokens."""
        return self.get_added_vocab()

    @property
    def total_vocab_size(self) -> int:
        """Number of tokens, added ones too."""
        return len(self)

    @property
    def ids_to_tokens(self) -> dict[int, str]:
        """The token of every id."""
        return {index: token for token, index in sorted(self.get_vocab().items(), key=lambda item: item[1])}

    @property
    def pad_token_type_id(self) -> int:
        """The token type of padding, 0."""
        return 0

    def sanitize_special_tokens(self) -> int:
        """Do nothing and return 0, the number of tokens added: a special token is always in the vocabulary."""
        return 0

    # -- lengths ------------------------------------------------------------------------------------------------

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens stand around one text, or around a pair."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """Number of tokens a text may have, special ones not counted."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @max_len_single_sentence.setter
    def max_len_single_sentence(self, value: int) -> None:
        self._check_room("max_len_single_sentence", value)

    @property
    def max_len_sentences_pair(self) -> int:
        """Number of tokens a pair may have, special ones not counted."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    @max_len_sentences_pair.setter
    def max_len_sentences_pair(self, value: int) -> None:
        self._check_room("max_len_sentences_pair", value)

    def _check_room(self, name: str, value: int) -> None:
        if value != getattr(self, name):
            raise InputError(
                f"{name} must be {getattr(self, name)}, which follows from model_max_length, got {value!r}; set "
                "tokenizer.model_max_length."
            )

    # -- texts --------------------------------------------------------------------------------------------------

    def prepare_for_tokenization(
        self, text: str, is_split_into_words: bool = False, **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return a text and the keywords as they are."""
        return text, kwargs

    @contextmanager
    def as_target_tokenizer(self) -> Iterator[None]:
        """Context manager without effect: texts and targets are tokenized alike."""
        yield

    @property
    def chat_template(self) -> None:
        """None: DistilBERT is not a chat model."""
        return None

    @chat_template.setter
    def chat_template(self, value: Any) -> None:
        if value is not None:
            raise InputError(f"chat_template must be None: {NOT_HERE['get_chat_template']}")

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        raise NotImplementedError

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[Any],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Iterable[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a tokenizer with the options of this one and a WordPiece vocabulary made from texts.

        Args:
            text_iterator: Texts, or lists of texts.
            vocab_size: Number of tokens of the new vocabulary, at most.
            length: Number of items in `text_iterator`, for the progress bar.
            new_special_tokens: More tokens that are never split; they become `additional_special_tokens`.
            special_tokens_map: New special token by the one of this tokenizer, for those that get another text.
            **kwargs: Arguments of `tokenizers.trainers.WordPieceTrainer`, such as `min_frequency`, `limit_alphabet`
                and `show_progress`.

        Example:
            >>> from distilbert_core import DistilBertTokenizerFast
            >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
            >>> texts = ["a good film", "a bad film", "good films"]
            >>> small = tokenizer.train_new_from_iterator(texts, vocab_size=60, show_progress=False)
            >>> small.tokenize("Good film"), small.pad_token_id
            (['good', 'film'], 0)
        """
        from distilbert_core.tokenization.training import train

        new, names = list(new_special_tokens or ()), dict(special_tokens_map or {})
        engine, special = train(self, text_iterator, vocab_size, length, new, names, kwargs)
        return type(self)(**{**self.init_kwargs, **special, "added_tokens_decoder": {}, "tokenizer_object": engine})


refuse_methods(Accessors, NOT_HERE, InputError)
