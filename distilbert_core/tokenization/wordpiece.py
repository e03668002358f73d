"""WordPiece in plain Python: the engine of `DistilBertTokenizer`.

It follows the `tokenizers` library step by step: added tokens are cut out of the text, the rest is normalised and split
into words, and each word is split into the longest pieces in the vocabulary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tokenizers import AddedToken

from distilbert_core.tokenization.encodings import Encoding, Truncation, combinations
from distilbert_core.tokenization.files import LONGEST_WORD
from distilbert_core.tokenization.normalization import WHITE_SPACE, WORDS_AND_PUNCTUATION, Normalizer

CACHED_WORDS = 1 << 16

Segment = tuple[int, int, int | None]  # start and end in a text, and the id of an added token
Piece = tuple[int, str, int, int]  # id, token, start and end in the word


class WordPieceTokenizer:
    """Turns texts into encodings. It has the methods of `tokenizers.Tokenizer`.

    Args:
        vocabulary: Id of each token.
        unk_token: Stands for a word that the vocabulary cannot spell.
        prefix: Prefix of tokens that continue a word.
        normalizer: Normalises a text before it is split; None: texts are not normalised.
        words: Matches a word.
        never_split: Tokens that are not split where they stand between white space.
        longest_word: Largest number of characters of a word; a longer one is unknown.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        unk_token: str,
        prefix: str = "##",
        normalizer: Normalizer | None = None,
        words: re.Pattern[str] = WORDS_AND_PUNCTUATION,
        never_split: Iterable[str] = (),
        longest_word: int = LONGEST_WORD,
    ):
        self.vocabulary = dict(vocabulary)
        self.unk_token, self.prefix, self.normalizer, self.words = unk_token, prefix, normalizer, words
        self.never_split, self.longest_word = tuple(never_split), longest_word
        self.added_tokens: dict[int, AddedToken] = {}
        self.special: dict[str, None] = {}  # tokens that were added as special ones at least once
        self.frame: tuple[str, str] = ("", "")  # [CLS] and [SEP]
        self.truncation: Truncation | None = None
        self.encode_special_tokens = False  # split special tokens like other words
        self._prepare()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        """Set the attributes with an underscore, which follow from the others."""
        added = {token.content: (index, token) for index, token in self.added_tokens.items()}
        self._ids = self.vocabulary | {content: index for content, (index, _) in added.items()}
        self._tokens = {index: token for token, index in self._ids.items()}
        unknown = self._ids.get(self.unk_token)
        in_text: dict[str, Any] = {token: (self.vocabulary.get(token, unknown), None) for token in self.never_split}
        in_normalized_text: dict[str, Any] = {}
        for content, (index, token) in added.items():
            if token.normalized:
                in_normalized_text[self.normalize(content)[0]] = (index, token)
            else:
                in_text[content] = (index, token)
        self._added = {  # by `encode_special_tokens`: those matched in the text, those in the normalised text
            False: (_AddedTokens(in_text), _AddedTokens(in_normalized_text)),
            True: (_AddedTokens(self._not_special(in_text)), _AddedTokens(self._not_special(in_normalized_text))),
        }
        self._pieces = lru_cache(CACHED_WORDS)(self._split_word)

    def _not_special(self, tokens: Mapping[str, tuple[Any, AddedToken | None]]) -> dict[str, Any]:
        return {text: entry for text, entry in tokens.items() if not (entry[1] and entry[1].content in self.special)}

    # -- vocabulary ---------------------------------------------------------------------------------------------

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token; None for an unknown one."""
        return self._ids.get(token)

    def id_to_token(self, index: int) -> str | None:
        """Return the token of an id; None for an unknown one."""
        return self._tokens.get(index)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Return the id of every token."""
        return dict(self._ids if with_added_tokens else self.vocabulary)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Return the number of tokens."""
        return len(self._ids if with_added_tokens else self.vocabulary)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Return the added tokens by id."""
        return dict(sorted(self.added_tokens.items()))

    def add_tokens(self, tokens: Sequence[AddedToken]) -> None:
        """Add tokens; tokens that the vocabulary lacks get the next free ids. Empty tokens are ignored."""
        following = max([len(self.vocabulary), *(index + 1 for index in self.added_tokens)])
        for token in (token for token in tokens if token.content):
            index = self._ids.setdefault(token.content, following)
            self.added_tokens[index] = token
            self.special |= {token.content: None} if token.special else {}
            following += index == following
        self._prepare()

    def set_special_tokens(self, unk_token: str, cls_token: str, sep_token: str) -> None:
        """Set the token of unknown words and the two tokens around a text."""
        self.unk_token, self.frame = unk_token, (cls_token, sep_token)
        self._prepare()

    # -- truncation of the next calls ------------------------------------------------------------------------------

    def enable_truncation(self, max_length: int, stride: int, strategy: str, direction: str) -> None:
        """Truncate the texts of the following calls."""
        self.truncation = Truncation(max_length, stride, strategy, direction)

    def no_truncation(self) -> None:
        """Do not truncate the texts of the following calls."""
        self.truncation = None

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Return how many special tokens surround one text, or a pair."""
        return 3 if is_pair else 2

    # -- texts to encodings -------------------------------------------------------------------------------------

    def encode_batch(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Return the encodings of texts and of pairs, which are tuples; a text may be a list of words."""
        pairs = (item if isinstance(item, tuple) else (item, None) for item in inputs)
        return [self._encode(text, pair, is_pretokenized, add_special_tokens) for text, pair in pairs]

    def _encode(self, text: Any, pair: Any, is_pretokenized: bool, add_special_tokens: bool) -> Encoding:
        first = self._encode_text(text, 0, is_pretokenized)
        second = None if pair is None else self._encode_text(pair, 1, is_pretokenized)
        special = self.num_special_tokens_to_add(pair is not None) if add_special_tokens else 0
        if self.truncation:
            firsts, seconds = self.truncation(first, second, special)
        else:
            firsts, seconds = [first], [] if second is None else [second]
        cls, sep, end = (
            Encoding.without_text(token, self._ids[token], type_id=type_id) if special else Encoding()
            for token, type_id in zip((*self.frame, self.frame[1]), (0, 0, 1), strict=True)
        )
        if second is None:
            windows = [cls + a + sep for a in firsts]
        else:
            windows = [cls + a + sep + b + end for a, b in combinations(firsts, seconds)]
        windows = [replace(window, n_sequences=1 if second is None else 2) for window in windows]
        return replace(windows[0], overflowing=windows[1:])

    def _encode_text(self, text: Any, sequence: int, is_pretokenized: bool) -> Encoding:
        encoding = Encoding()
        if is_pretokenized:
            for index, word in enumerate(text):
                self._append(encoding, word, index)
        else:
            self._append(encoding, text, None)
        encoding.sequence_ids = [sequence] * len(encoding)
        encoding.special_tokens_mask = [0] * len(encoding)
        encoding.attention_mask = [1] * len(encoding)
        encoding.type_ids = [sequence] * len(encoding)
        return encoding

    def split(self, text: str) -> list[str]:
        """Return the words of a normalised text, and the added tokens in it."""
        segments = ((added is not None, part) for added, part, _ in self._segments(text))
        return [word for whole, part in segments for word in ([part] if whole else self.words.findall(part))]

    def _append(self, encoding: Encoding, text: str, word: int | None) -> None:
        """Append the tokens of a text. `word` is the index of its only word; None: its words are counted."""
        count = 0
        for index, part, origins in self._segments(text):
            if index is not None:
                pieces: list[tuple[int, Sequence[Piece]]] = [(0, [(index, part, 0, len(part))])]
            else:
                pieces = [(match.start(), self._pieces(match[0])) for match in self.words.finditer(part)]
            for shift, tokens in pieces:
                for token_id, token, start, end in tokens:
                    encoding.ids.append(token_id)
                    encoding.tokens.append(token)
                    encoding.offsets.append((origins[shift + start], origins[shift + end - 1] + 1))
                    encoding.word_ids.append(count if word is None else word)
                count += 1

    def _segments(self, text: str) -> Iterator[tuple[int | None, str, Sequence[int]]]:
        """Yield the added tokens with their ids, and the normalised texts between them, all with their origins."""
        in_text, in_normalized_text = self._added[self.encode_special_tokens]
        for start, end, index in in_text.split(text):
            if index is not None:
                yield index, text[start:end], range(start, end)
                continue
            part, origins = self.normalize(text[start:end])
            for inner_start, inner_end, inner_index in in_normalized_text.split(part):
                absolute = [start + origin for origin in origins[inner_start:inner_end]]
                yield inner_index, part[inner_start:inner_end], absolute

    def normalize(self, text: str) -> tuple[str, Sequence[int]]:
        """Return the normalised text, and the index in `text` that each of its characters comes from."""
        text.encode()  # raises UnicodeEncodeError for lone surrogates
        return self.normalizer(text) if self.normalizer else (text, range(len(text)))

    def _split_word(self, word: str) -> Sequence[Piece]:
        """Split a word into the longest pieces from the left; an unknown piece makes the whole word unknown."""
        pieces: list[Piece] = []
        start = 0 if len(word) <= self.longest_word else len(word)
        while start < len(word):
            prefix = self.prefix if start else ""
            for end in range(len(word), start, -1):
                token = prefix + word[start:end]
                if token in self.vocabulary:
                    pieces.append((self.vocabulary[token], token, start, end))
                    start = end
                    break
            else:
                pieces.clear()
                break
        return pieces or [(self._ids[self.unk_token], self.unk_token, 0, len(word))]


class _AddedTokens:
    """Finds added tokens in a text.

    Args:
        tokens: Id and options of each token; without options, it is matched only between white space.
    """

    def __init__(self, tokens: Mapping[str, tuple[Any, AddedToken | None]]):
        self._tokens = {content: entry for content, entry in tokens.items() if content}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def split(self, text: str) -> Iterator[Segment]:
        """Yield the added tokens in a text and the segments between them."""
        end = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            index, token = self._tokens[match[0]]
            start, stop = match.span()
            if not _stands_alone(text, start, stop, token):
                continue
            if token is not None and token.lstrip:
                start = max(len(text[:start].rstrip(WHITE_SPACE)), end)
            if token is not None and token.rstrip:
                stop = len(text) - len(text[stop:].lstrip(WHITE_SPACE))
            if end < start:
                yield end, start, None
            yield start, stop, index
            end = stop
        if end < len(text):
            yield end, len(text), None


def _stands_alone(text: str, start: int, stop: int, token: AddedToken | None) -> bool:
    """Return whether the characters around a match allow it."""
    around = text[max(start - 1, 0) : start] + text[stop : stop + 1]
    if token is None:
        return not around.strip(WHITE_SPACE)
    return not token.single_word or not any(map(_is_in_word, around))


def _is_in_word(character: str) -> bool:
    r"""Return whether a character matches \w as in Unicode's technical standard 18."""
    category = unicodedata.category(character)
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or character in "\u200c\u200d"
