"""Write distilbert_core/tokenization/character_classes.py: the character classes of the `tokenizers` library.

    python tests/oracle/make_character_classes.py [--out character_classes.py]

The library's Unicode tables have several versions, none of them Python's. So the library is asked about every code
point, and the answers are written as ranges.
"""

import argparse
import textwrap
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

MODULE = Path(__file__).parents[2] / "distilbert_core" / "tokenization" / "character_classes.py"
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
OFF = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}

HEADER = '''"""The character classes of the `tokenizers` library as ranges of code points. A script writes this file.

The library's Unicode tables have several versions, none of them that of Python's `unicodedata`; the tokenizer in Python
needs the same classes. `tests/oracle/make_character_classes.py` is the script.
"""

'''


def normalise(step: str) -> dict[str, str]:
    """What one step of the normaliser makes of each character in the middle of a word."""
    normalizer = BertNormalizer(**{**OFF, step: True})
    return {c: normalizer.normalize_str(f"a{c}b")[1:-1] for c in CHARACTERS}


def is_active(c: str) -> bool:
    """Whether canonical decomposition changes a character, or moves it past a mark or a mark past it."""
    decompose = NFD().normalize_str
    own = decompose(c)
    first, last = "\u0334", "\u0345"  # the marks of the lowest and the highest combining class
    return own != c or decompose(f"a{last}{c}") != f"a{last}{c}" or decompose(f"a{c}{first}") != f"a{c}{first}"


def classes() -> dict[str, tuple[str, Iterable[str]]]:
    """Name of each class, what it says of itself, and its characters."""
    cleaned, stripped = normalise("clean_text"), normalise("strip_accents")
    chinese = normalise("handle_chinese_chars")
    words = {c: [word for word, _ in BertPreTokenizer().pre_tokenize_str(f"a{c}b")] for c in CHARACTERS}
    return {
        "REMOVED": ("removed by `clean_text`", [c for c in CHARACTERS if cleaned[c] == ""]),
        "BLANK": ("replaced by a space by `clean_text`", [c for c in CHARACTERS if cleaned[c] == " "]),
        "CHINESE": (
            "put between spaces by `tokenize_chinese_chars`",
            [c for c in CHARACTERS if chinese[c] == f" {c} "],
        ),
        "MARK": ("removed by `strip_accents` after decomposition", [c for c in CHARACTERS if stripped[c] == ""]),
        "DECOMPOSED": ("changed or moved by canonical decomposition (NFD)", filter(is_active, CHARACTERS)),
        "SPACE": ("between words", [c for c in CHARACTERS if words[c] == ["a", "b"]]),
        "PUNCTUATION": ("a word of its own", [c for c in CHARACTERS if words[c] == ["a", c, "b"]]),
    }


def newer_lower_case() -> dict[str, str]:
    """Letters that were added after Unicode 14, which the oldest supported Python has, with their lower case."""
    return {c: low for c, low in normalise("lowercase").items() if unicodedata.category(c) == "Cn" and low != c}


def as_ranges(characters: Iterable[str]) -> str:
    """Code points as hexadecimal ranges."""
    ranges: list[list[int]] = []
    for code in map(ord, characters):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return " ".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges)


def main() -> None:
    """Read the command line and write the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=MODULE, help="where to write (default: %(default)s)")
    parts = [HEADER]
    for name, (meaning, characters) in classes().items():
        lines = textwrap.fill(as_ranges(characters), width=112, initial_indent="    ", subsequent_indent="    ")
        parts.append(f'# {meaning}\n{name} = """\n{lines}\n"""\n\n')
    pairs = " ".join(f"{ord(c):x}>{ord(low):x}" for c, low in newer_lower_case().items())
    lines = textwrap.fill(pairs, width=112, initial_indent="    ", subsequent_indent="    ")
    parts.append(f'# upper > lower case of letters newer than Unicode 14\nLOWER_CASE = """\n{lines}\n"""\n')
    parser.parse_args().out.write_text("".join(parts), encoding="ascii")


if __name__ == "__main__":
    main()
