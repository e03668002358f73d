"""Attributes and methods for code that was written for Transformers; this package does not need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Self

from tokenizers import AddedToken

from distilbert_core.compatibility import refuse_methods
from distilbert_core.errors import InputError
from distilbert_core.files.names import VOCAB_FILE
from distilbert_core.tokenization.added_tokens import AddedTokens
from distilbert_core.tokenization.preparation import Preparation
from distilbert_core.tokenization.pretrained import PretrainedTokenizer
from distilbert_core.tokenization.special_tokens import ADDITIONAL, TOKEN_NAMES, token_fields
from distilbert_core.tokenization.training import train_engine

NOT_HERE = {  # missing method of Transformers' tokenizers -> the reason, and an alternative
    "apply_chat_template": "DistilBERT is not a chat model: join the messages to one text, and tokenize it.",
    "get_chat_template": "DistilBERT is not a chat model.",
    "save_chat_templates": "DistilBERT is not a chat model.",
    "prepare_seq2seq_batch": "Tokenize inputs with tokenizer(texts, text_target=targets).",
    "set_truncation_and_padding": "Give truncation and padding at each call; a tokenizer keeps no state between calls.",
    "register_for_auto_class": "AutoTokenizer opens the files that save_pretrained writes.",
}


class EngineOption:
    """An option of the engine as a read-only attribute.

    Args:
        read: Returns the option's value of a tokenizer.
    """

    def __init__(self, read: Callable[[Any], Any]):
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self.__doc__ = f"The constructor's `{name}`, read from the engine; None if the engine lacks this option."

    def __get__(self, tokenizer: Any, owner: type) -> Any:
        return self if tokenizer is None else self._read(tokenizer)

    def __set__(self, tokenizer: Any, value: Any) -> NoReturn:
        raise InputError(
            f"{self._name} cannot be changed; load the tokenizer again: "
            f"{type(tokenizer).__name__}.from_pretrained(..., {self._name}={value!r})."
        )


def _normalizer(name: str) -> EngineOption:
    return EngineOption(lambda tokenizer: tokenizer.normalizer_options().get(name))


class Accessors(Preparation, AddedTokens, PretrainedTokenizer):
    """Attributes and methods that scripts for Transformers 4.53 use."""

    slow_tokenizer_class: type | None = None

    vocab_files_names: Mapping[str, str] = {"vocab_file": VOCAB_FILE}
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
        """Return the options of BERT's normaliser, named as in tokenizer.json; none for another one, or without one."""
        raise NotImplementedError

    def _prefix(self) -> str:
        """Return the prefix of tokens that continue a word."""
        raise NotImplementedError

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of the constructor as a copy; the arguments of files are None."""
        raise NotImplementedError

    # -- special tokens -----------------------------------------------------------------------------------------

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """The special tokens by argument name, as `AddedToken` with its options."""
        added = self._added()
        return {
            name: added[value] if isinstance(value, str) else [added[token] for token in value]
            for name, value in self.special_tokens_map.items()
        }

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """The special tokens, without unset ones, as `AddedToken` with its options."""
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
        """Return 0, the number of added tokens: the vocabulary always has the special tokens."""
        return 0

    # -- lengths ------------------------------------------------------------------------------------------------

    @property
    def max_len_single_sentence(self) -> int:
        """Largest number of tokens of a text, without special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @max_len_single_sentence.setter
    def max_len_single_sentence(self, value: int) -> None:
        self._check_room("max_len_single_sentence", value)

    @property
    def max_len_sentences_pair(self) -> int:
        """Largest number of tokens of a pair, without special tokens."""
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
        """Return a text and the keywords unchanged."""
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

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[Any],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Iterable[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Train a new WordPiece vocabulary on texts; return a tokenizer with it and the options of this one.

        Args:
            text_iterator: Texts, or lists of texts.
            vocab_size: Largest number of tokens of the new vocabulary.
            length: Number of items in `text_iterator`, for the progress bar.
            new_special_tokens: Further special tokens; they are appended to `additional_special_tokens`.
            special_tokens_map: New text of a special token, by its present text.
            **kwargs: Arguments of `tokenizers.trainers.WordPieceTrainer`, such as `min_frequency`, `limit_alphabet`
                and `show_progress`.

        Raises:
            InputError: This tokenizer's vocabulary is not one of WordPiece, or `special_tokens_map` has a token that
                is not special.

        Example:
            >>> from distilbert_core import DistilBertTokenizerFast
            >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
            >>> texts = ["a good film", "a bad film", "good films"]
            >>> small = tokenizer.train_new_from_iterator(texts, vocab_size=60, show_progress=False)
            >>> small.tokenize("Good film"), small.pad_token_id
            (['good', 'film'], 0)
        """
        new, texts = list(new_special_tokens or ()), dict(special_tokens_map or {})
        unknown = [text for text in texts if text not in self.all_special_tokens]
        if unknown:
            raise InputError(
                f"special_tokens_map must rename special tokens, which are {', '.join(self.all_special_tokens)}; got "
                f"{', '.join(unknown)}."
            )

        def renamed(token: AddedToken) -> AddedToken:
            return AddedToken(**{**token_fields(token), "content": texts.get(token.content, token.content)})

        kept = [renamed(token) for _, token in sorted(self.added_tokens_decoder.items()) if token.special]
        unk_token = texts.get(self.unk_token, self.unk_token)
        engine = train_engine(
            self.to_json(), text_iterator, vocab_size, length, [*kept, *new], unk_token, options=kwargs
        )
        special: dict[str, Any] = {
            name: list(map(renamed, value)) if isinstance(value, list) else renamed(value)
            for name, value in self.special_tokens_map_extended.items()
        }
        special[ADDITIONAL] = [*special.get(ADDITIONAL, ()), *new]
        return type(self)(**{**self.init_kwargs, **special, "added_tokens_decoder": {}, "tokenizer_object": engine})


refuse_methods(Accessors, NOT_HERE, InputError)
