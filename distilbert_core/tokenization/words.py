"""The two steps of WordPiece as classes of their own, for scripts of Transformers: words, and pieces of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from distilbert_core.tokenization.files import LONGEST_WORD
from distilbert_core.tokenization.normalization import WORDS, WORDS_AND_PUNCTUATION, Normalizer
from distilbert_core.tokenization.wordpiece import WordPieceTokenizer


class BasicTokenizer:
    """Normalises a text and splits it into words.

    Args:
        do_lower_case: Lower-case the text.
        never_split: Tokens that are not split where they stand between white space.
        tokenize_chinese_chars: Put spaces around Chinese characters.
        strip_accents: Remove accents; None: the same as lower-casing.
        do_split_on_punc: Split at punctuation, not only at white space.

    Example:
        >>> from distilbert_core.tokenization.words import BasicTokenizer
        >>> BasicTokenizer().tokenize("Déjà vu?")
        ['deja', 'vu', '?']
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        do_split_on_punc: bool = True,
    ):
        self.do_lower_case, self.tokenize_chinese_chars = do_lower_case, tokenize_chinese_chars
        self.strip_accents, self.do_split_on_punc = strip_accents, do_split_on_punc
        self.never_split = set(never_split or ())
        accents = do_lower_case if strip_accents is None else strip_accents
        self._normalizer = Normalizer(True, tokenize_chinese_chars, accents, do_lower_case)

    @classmethod
    def from_engine(cls, engine: WordPieceTokenizer) -> Self:
        """Return the first step of an engine."""
        normalizer = engine.normalizer
        if normalizer is None:
            raise AttributeError("This tokenizer has no basic_tokenizer: it was made with do_basic_tokenize=False.")
        basic = cls(
            normalizer.do_lower_case,
            engine.never_split,
            normalizer.tokenize_chinese_chars,
            normalizer.strip_accents,
        )
        basic._normalizer = normalizer
        return basic

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        """Return the words of a text; `never_split` has further tokens that are not split."""
        whole = self.never_split.union(never_split or ())
        words = WORDS_AND_PUNCTUATION if self.do_split_on_punc else WORDS
        vocabulary = dict.fromkeys(whole, 0)  # only its tokens count, not their ids
        engine = WordPieceTokenizer(vocabulary, "", normalizer=self._normalizer, words=words, never_split=whole)
        return engine.split(text)


class WordpieceTokenizer:
    """Splits words into the longest pieces in a vocabulary.

    Args:
        vocab: Id of each token.
        unk_token: Stands for a word that the vocabulary cannot spell.
        max_input_chars_per_word: A longer word is unknown.

    Example:
        >>> from distilbert_core.tokenization.words import WordpieceTokenizer
        >>> WordpieceTokenizer({"em": 0, "##bed": 1, "[UNK]": 2}, "[UNK]").tokenize("embed x")
        ['em', '##bed', '[UNK]']
    """

    def __init__(self, vocab: Mapping[str, int], unk_token: str, max_input_chars_per_word: int = LONGEST_WORD):
        self.vocab, self.unk_token, self.max_input_chars_per_word = vocab, unk_token, max_input_chars_per_word
        self._engine = WordPieceTokenizer(
            {unk_token: len(vocab), **vocab}, unk_token, words=WORDS, longest_word=max_input_chars_per_word
        )

    @classmethod
    def from_engine(cls, engine: WordPieceTokenizer) -> Self:
        """Return the second step of an engine."""
        pieces = cls(engine.vocabulary, engine.unk_token, engine.longest_word)
        pieces._engine.prefix = engine.prefix
        return pieces

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of the words of a text; words are separated by white space."""
        (encoding,) = self._engine.encode_batch([text], add_special_tokens=False)
        return encoding.tokens
