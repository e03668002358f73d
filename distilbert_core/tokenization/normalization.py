"""BERT's normaliser and its definition of a word, in plain Python.

The results are those of the `tokenizers` library. For each character of a normalised text, the index of its origin is
kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from distilbert_core.tokenization import character_classes as classes

Origins = Sequence[int]  # for each character of a normalised text, the index of its origin
Rewritten = Iterable[tuple[str, int]]  # new characters, each with the index of its origin


def _ends(ranges: str) -> list[tuple[int, int]]:
    """Return the first and the last code point of each range."""
    spans = [[int(end, 16) for end in span.split("-")] for span in ranges.split()]
    return [(span[0], span[-1]) for span in spans]


def _character_set(*classes: str) -> str:
    """Return the content of a regular expression's brackets that match classes of characters."""
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for ranges in classes for first, last in _ends(ranges))


WHITE_SPACE = "".join(chr(code) for first, last in _ends(classes.SPACE) for code in range(first, last + 1))
_SPACE = _character_set(classes.SPACE)
_PUNCTUATION = _character_set(classes.PUNCTUATION)
WORDS = re.compile(f"[^{_SPACE}]+")
WORDS_AND_PUNCTUATION = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION}{_SPACE}]+")

_CLEANED = re.compile(f"[{_character_set(classes.REMOVED, classes.BLANK)}]+")
_BLANK = re.compile(f"[{_character_set(classes.BLANK)}]")
_CHINESE = re.compile(f"[{_character_set(classes.CHINESE)}]+")
_ACCENTED = re.compile(f"[{_character_set(classes.DECOMPOSED, classes.MARK)}]+")
_MARK = re.compile(f"[{_character_set(classes.MARK)}]")
_ANY = re.compile(".+", re.DOTALL)
_NEWER_LOWER_CASE = {
    chr(int(upper, 16)): chr(int(lower, 16))
    for upper, lower in (pair.split(">") for pair in classes.LOWER_CASE.split())
}


@dataclass(frozen=True)
class Normalizer:
    """BERT's normaliser. Its options are applied in this order.

    Example:
        >>> from distilbert_core.tokenization.normalization import Normalizer
        >>> text, origins = Normalizer()("Café 好")
        >>> text, list(origins)
        ('cafe  好 ', [0, 1, 2, 3, 4, 5, 5, 5])
    """

    clean_text: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool = True
    do_lower_case: bool = True

    def __call__(self, text: str) -> tuple[str, Origins]:
        """Return the normalised text, and the index in `text` that each of its characters comes from."""
        origins: Origins = range(len(text))
        if self.clean_text:
            text, origins = _rewrite(text, origins, _CLEANED, _clean)
        if self.tokenize_chinese_chars:
            text, origins = _rewrite(text, origins, _CHINESE, _set_apart)
        if self.strip_accents:
            text, origins = _rewrite(text, origins, _ACCENTED, _strip_accents)
        if self.do_lower_case:
            text, origins = (text.lower(), origins) if text.isascii() else _rewrite(text, origins, _ANY, _lower)
        return text, origins


def _rewrite(
    text: str, origins: Origins, pattern: re.Pattern[str], rewrite: Callable[[str], Rewritten]
) -> tuple[str, Origins]:
    """Rewrite each run that `pattern` matches."""
    parts: list[str] = []
    indices: list[int] = []
    end = 0
    for match in pattern.finditer(text):
        start = match.start()
        parts.append(text[end:start])
        indices += origins[end:start]
        for character, index in rewrite(match[0]):
            parts.append(character)
            indices.append(origins[start + index])
        end = match.end()
    if end == 0:
        return text, origins
    return "".join((*parts, text[end:])), [*indices, *origins[end:]]


def _clean(run: str) -> Rewritten:
    """Turn white space into spaces and remove control characters."""
    return ((" ", index) for index, character in enumerate(run) if _BLANK.match(character))


def _set_apart(run: str) -> Rewritten:
    """Put each character between spaces."""
    return ((new, index) for index, character in enumerate(run) for new in f" {character} ")


def _strip_accents(run: str) -> Rewritten:
    """Decompose (NFD) and remove the marks.

    In the final order, the first character of each decomposition consumes one character of the run; the characters
    that decomposition adds have the last consumed one as their origin. The library counts in this way when canonical
    ordering moves marks.
    """
    used = -1
    decomposed = ((new, i > 0) for c in run for i, new in enumerate(unicodedata.normalize("NFD", c)))
    for new, added in _in_canonical_order(decomposed):
        used += not added
        if not _MARK.match(new):
            yield new, max(used, 0)


def _in_canonical_order(characters: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Sort each run of marks by combining class, keeping the order of those in one class."""
    marks: list[tuple[str, bool]] = []
    for character in characters:
        if unicodedata.combining(character[0]):
            marks.append(character)
        else:
            yield from sorted(marks, key=_combining_class)
            marks.clear()
            yield character
    yield from sorted(marks, key=_combining_class)


def _combining_class(character: tuple[str, bool]) -> int:
    return unicodedata.combining(character[0])


def _lower(run: str) -> Rewritten:
    """Lower each character alone: in a whole text, Python would lower a last capital sigma to a final sigma."""
    return ((low, index) for index, c in enumerate(run) for low in _NEWER_LOWER_CASE.get(c) or c.lower())
