"""Count, by cause, the random texts of which Transformers' own two tokenizers give different ids.

    python tests/oracle/slow_against_fast.py [--texts 20000] [--vocab vocab.txt]

It runs in the environment `oracle` (Transformers 4.53.3) and takes about a minute. The slow tokenizer asks Python which
kind of character it sees, so the counts are those of one Python: 3.11 knows Unicode 14.
"""

import argparse
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import transformers
from fuzz_cases import SETTINGS, fuzz_texts
from tokenizer_cases import find_vocab, load_tokenizer

NFC = "NFC: the slow tokenizer composes first"
SPECIAL = "a special token that is one only without the invisible characters in it"
UNKNOWN = "not explained"
CATEGORIES = {  # category of a character that is read differently alone -> what the reason is
    "C": "format character newer than the tables of the fast tokenizer",
    "L": "ideograph U+2B820 to U+2B91F: outside the range of the fast tokenizer",
    "M": "combining mark newer than the tables of the fast tokenizer, or of another category since",
    "P": "punctuation newer than the tables of the fast tokenizer",
    "S": "symbol U+166D: punctuation in the tables of the fast tokenizer",
    "Cn": "unassigned code point or noncharacter: only the slow tokenizer removes it",
}
CAUSES = (*CATEGORIES.values(), NFC, SPECIAL, UNKNOWN)


class Comparison:
    """The two tokenizers with the same settings."""

    def __init__(self, vocab: Path, settings: dict[str, Any]):
        self.slow = transformers.DistilBertTokenizer(str(vocab), **settings)
        self.fast = load_tokenizer(vocab, settings)
        self.basic = self.slow.basic_tokenizer
        self.differs_in = cache(self._differs_in)

    def differs(self, text: str) -> bool:
        """Whether the ids differ."""
        return self.slow.encode(text) != self.fast.encode(text)

    def _differs_in(self, character: str) -> bool:
        composed = unicodedata.normalize("NFC", character)
        return composed == character and self.differs(f"a{character}b")

    def causes(self, text: str) -> set[str]:
        """Every reason for which this text, whose ids differ, may be read differently."""
        found = set()
        for category in {unicodedata.category(c) for c in set(text) if self.differs_in(c)}:
            found.add(CATEGORIES.get(category) or CATEGORIES[category[0]])
        if self.fast.encode(unicodedata.normalize("NFC", text)) != self.fast.encode(text):
            found.add(NFC)
        if not self.basic.do_lower_case and self._hidden_special_tokens(text):
            found.add(SPECIAL)
        return found or {UNKNOWN}

    def _hidden_special_tokens(self, text: str) -> set[str]:
        """Special tokens that are words of the cleaned text, but none of the text."""
        special = set(self.slow.all_special_tokens)
        parts = [part for part in self.slow.tokens_trie.split(text) if part not in special]
        cleaned = [self.basic._tokenize_chinese_chars(self.basic._clean_text(part)) for part in parts]
        return special & {word for part in cleaned for word in part.split()}


def print_table(vocab: Path, texts: int) -> None:
    """Print the number of texts by setting and cause; a text with several causes counts for each."""
    columns = []
    for settings, _ in SETTINGS:
        comparison = Comparison(vocab, settings)
        different = [text for text in fuzz_texts(texts) if comparison.differs(text)]
        counts = Counter(cause for text in different for cause in comparison.causes(text))
        columns.append({"any": len(different), **counts})
    print(*(settings or "default" for settings, _ in SETTINGS), sep=" | ")
    for row in ("any", *CAUSES):
        print(*(f"{column.get(row, 0):6}" for column in columns), row)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=20_000, help="how many random texts (default: %(default)s)")
    parser.add_argument("--vocab", type=Path, help="vocabulary file (default: that of the installed package)")
    arguments = parser.parse_args()
    print_table(arguments.vocab or find_vocab(), arguments.texts)


if __name__ == "__main__":
    main()
