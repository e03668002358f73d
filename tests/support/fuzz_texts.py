"""Random Unicode texts, the same for every Python and Unicode version, and digests of what a tokenizer makes of them.

Nothing here asks what a code point is: all choices are from fixed tables, with `random.Random.random` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeVar

ROWS_PER_DIGEST = 100
SWEEP_EVERY = 9  # one text in nine is a part of the sweep; 200,000 texts are more than one whole sweep
SWEEP_WIDTH = 16

T = TypeVar("T")
Range = tuple[int, int]  # first and last code point

PLANES: tuple[Range, ...] = (
    (0x0000, 0xD7FF),  # no surrogates
    (0xE000, 0xFFFF),
    *((plane << 16, (plane << 16) + 0xFFFF) for plane in range(1, 17)),
)
# Planes 0 to 3 and 14: all that is assigned, but for private use.
SWEPT = (*PLANES[:5], PLANES[15])

RANGES: tuple[Range, ...] = (
    # Controls, white space and format characters
    (0x0000, 0x0020),
    (0x007F, 0x00AD),
    (0x180B, 0x180F),
    (0x2000, 0x200F),
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF0, 0xFFFF),
    (0xE0001, 0xE007F),
    # Letters, precomposed, odd in case, or compatible with others
    (0x0041, 0x007A),
    (0x00C0, 0x024F),
    (0x0250, 0x02FF),
    (0x0370, 0x052F),
    (0x10A0, 0x10FF),
    (0x13A0, 0x13FF),
    (0x1C80, 0x1CBF),
    (0x1D00, 0x1DBF),
    (0x1E00, 0x1FFF),
    (0x2070, 0x209F),
    (0x2100, 0x218F),
    (0x2C00, 0x2D2F),
    (0xA640, 0xA69F),
    (0xA720, 0xA7FF),
    (0xAB30, 0xABBF),
    (0xFB00, 0xFB06),
    (0xFF00, 0xFFEF),
    (0x10400, 0x104FF),
    (0x10C80, 0x10CFF),
    (0x118A0, 0x118DF),
    (0x16E40, 0x16E7F),
    (0x1D400, 0x1D7FF),
    (0x1E900, 0x1E95F),
    # From right to left
    (0x0590, 0x07BF),
    (0x0860, 0x08FF),
    (0xFB1D, 0xFDFF),
    (0xFE70, 0xFEFC),
    # South and south-east Asia: signs of many classes
    (0x0900, 0x0DFF),
    (0x0E00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x1AFF),
    (0x1B00, 0x1C7F),
    (0xA800, 0xAAFF),
    (0x11000, 0x1172F),
    # Hangul and kana
    (0x1100, 0x11FF),
    (0xA960, 0xA97F),
    (0xAC00, 0xAC40),
    (0xD788, 0xD7FF),
    (0x3040, 0x318F),
    # Ideographs: the edges of their blocks, and the compatible ones
    (0x2E80, 0x303F),
    (0x3190, 0x3200),
    (0x33F0, 0x3410),
    (0x4DB0, 0x4E10),
    (0x9FE0, 0xA010),
    (0xF8F0, 0xFB00),
    (0x1FFF0, 0x20010),
    (0x2A6D0, 0x2A710),
    (0x2B730, 0x2B750),
    (0x2B810, 0x2B930),
    (0x2CEA0, 0x2CEC0),
    (0x2F7F0, 0x2FA2F),
    (0x2FFF0, 0x30010),
    # Symbols, enclosed letters, emoji
    (0x2190, 0x27FF),
    (0x2900, 0x2BFF),
    (0x1F000, 0x1F2FF),
    (0x1F300, 0x1FAFF),
    # Private use, noncharacters, unassigned
    (0xE000, 0xE00F),
    (0x1FFFE, 0x1FFFF),
    (0x2FFFE, 0x2FFFF),
    (0x0378, 0x0379),
    (0x0530, 0x0590),
    (0x10FFF0, 0x10FFFF),
)
MARKS: tuple[Range, ...] = (
    (0x0300, 0x036F),
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x0591, 0x05C7),
    (0x0610, 0x061A),
    (0x064B, 0x0670),
    (0x0711, 0x0711),
    (0x0900, 0x0903),
    (0x093C, 0x094D),
    (0x0E34, 0x0E3A),
    (0x0F71, 0x0F84),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20F0),
    (0x302A, 0x302F),
    (0x3099, 0x309A),
    (0xA8E0, 0xA8F1),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
    (0x101FD, 0x101FD),
    (0x1D165, 0x1D172),
    (0x1E000, 0x1E02A),
    (0x1E8D0, 0x1E8D6),
    (0x1E944, 0x1E94A),
    (0xE0100, 0xE01EF),
)
PUNCTUATION: tuple[Range, ...] = (
    (0x0021, 0x002F),
    (0x003A, 0x0040),
    (0x005B, 0x0060),
    (0x007B, 0x007E),
    (0x00A1, 0x00BF),
    (0x037E, 0x0387),
    (0x055A, 0x058A),
    (0x05BE, 0x05F4),
    (0x0609, 0x061F),
    (0x066A, 0x066D),
    (0x0700, 0x070D),
    (0x07F7, 0x085E),
    (0x0964, 0x0970),
    (0x09FD, 0x0AF0),
    (0x0C77, 0x0DF4),
    (0x0E4F, 0x0F14),
    (0x0F3A, 0x0FDA),
    (0x104A, 0x10FB),
    (0x1360, 0x1400),
    (0x166D, 0x16ED),
    (0x1735, 0x17DA),
    (0x1800, 0x180A),
    (0x1944, 0x1AAD),
    (0x1B4E, 0x1CD3),
    (0x2010, 0x205E),
    (0x207D, 0x208E),
    (0x2308, 0x232A),
    (0x2768, 0x27EF),
    (0x2983, 0x29FD),
    (0x2CF9, 0x2D70),
    (0x2E00, 0x2E5D),
    (0x3001, 0x303D),
    (0x30A0, 0x30FB),
    (0xA4FE, 0xA4FF),
    (0xA60D, 0xA6F7),
    (0xA874, 0xABEB),
    (0xFD3E, 0xFD3F),
    (0xFE10, 0xFE6B),
    (0xFF01, 0xFF65),
    (0x10100, 0x1056F),
    (0x10857, 0x10A58),
    (0x10F55, 0x11145),
    (0x1144B, 0x11A9F),
    (0x11C41, 0x12474),
    (0x16A6E, 0x16E9A),
    (0x1BC9F, 0x1BC9F),
    (0x1DA87, 0x1DA8B),
    (0x1E95E, 0x1E95F),
)
INVISIBLE = (
    "\x00",
    "\x01",
    "\x7f",
    "\x85",
    "\xad",
    "\u200b",
    "\u200d",
    "\u200e",
    "\u2028",
    "\u2060",
    "\ufeff",
    "\ufffd",
)
SPACES = ("", "", "", " ", " ", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x1c", "\xa0", "\u2003", "\u2028", "\u3000")

WORDS = (
    *(
        "the",
        "The",
        "an",
        "of",
        "and",
        "is",
        "I",
        "wasn't",
        "we'd've",
        "don\u2019t",
        "embeddings",
        "unaffable",
        "tokenization",
    ),
    *("antidisestablishmentarianism", "iPhone", "IPv6", "DistilBERT", "e-mail", "U.S.A.", "Mr.", "state-of-the-art"),
    *("it 's a charming and often affecting journey .", "How many people live in Berlin?", 'She said: "No..."'),
    *(
        "0",
        "42",
        "3.14159",
        "1,234.56",
        "1e-12",
        "0xFF",
        "10:30",
        "2021-12-31",
        "50%",
        "$5",
        "\u00bd",
        "x\u00b2",
        "\u0661\u0662",
    ),
    *("https://example.com/a_b?x=1&y=2#z", "www.example.co.uk", "a.b+c@example.org", "C:\\temp\\x.txt", "f(x[0])**2"),
    *("##ing", "##", "#", "play##ing", "##a ##b", "[unused1]", "[unused98]", "[", "]", "[[", "]]"),
    *(
        "caf\u00e9",
        "cafe\u0301",
        "nai\u0308ve",
        "\u00c5ngstr\u00f6m",
        "A\u030angstro\u0308m",
        "Ti\u1ebfng Vi\u1ec7t",
        "\u1e9b\u0323",
    ),
    *(
        "Stra\u00dfe",
        "\u1e9e",
        "\u0130stanbul",
        "\u0131",
        "i\u0307",
        "\u01c4\u01c5\u01c6",
        "\ufb01n",
        "\ufb03",
        "\u0149",
        "\u01f0",
    ),
    *(
        "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
        "\u039f\u0394\u039f\u03a3",
        "\u03a3",
        "\u1fb3",
        "\u1fbc",
        "\u1f80",
        "\u03d2",
        "\u2126\u212b\u212a",
    ),
    *(
        "\u041f\u0440\u0438\u0432\u0435\u0442",
        "\u0439\u0451",
        "\u0645\u0631\u062d\u0628\u0627",
        "\u202e\u05e9\u05dc\u05d5\u05dd\u202c",
        "\u06cc\u200c\u06a9",
    ),
    *(
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
        "BERT\u6a21\u578b",
        "\u6771\u4eac\u3067\u3059",
        "\u304b\u3099",
        "\ud55c\uad6d\uc5b4",
        "\u1112\u1161\u11ab",
    ),
    *(
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u0e44\u0e17\u0e22",
        "\u13a0\uab70",
        "\u10d0\u1c90",
        "\U00010400\U00010428",
    ),
    *(
        "\U0001f600",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f44d\U0001f3fd",
        "\U0001f1e9\U0001f1ea",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
    ),
    *(
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "\u2190\ufe0e",
    ),
)
SPECIAL = ("[MASK]", "[CLS]", "[SEP]", "[UNK]", "[PAD]")
LONG_PARTS = ("x", "end", "\u00e9", "e\u0301", "\u4e00", "\u0430", "\U0001d51e", "\U0001f600", ".", "\u200b", "a\u00ad")
LONG_LENGTHS = (99, 100, 101, 200)


def below(random: Random, limit: int) -> int:
    """A number in [0, limit); `Random.randrange` and `choice` may differ between versions of Python."""
    return int(random.random() * limit)


def choose(random: Random, items: Sequence[T]) -> T:
    return items[below(random, len(items))]


def from_range(random: Random, limits: Range) -> str:
    first, last = limits
    return chr(first + below(random, last - first + 1))


def word(random: Random) -> str:
    return choose(random, WORDS)


def anything(random: Random) -> str:
    return "".join(from_range(random, choose(random, PLANES)) for _ in range(1 + below(random, 4)))


def script(random: Random) -> str:
    limits = choose(random, RANGES)
    return "".join(from_range(random, limits) for _ in range(1 + below(random, 8)))


def punctuation(random: Random) -> str:
    return "".join(from_range(random, choose(random, PUNCTUATION)) for _ in range(1 + below(random, 3)))


def marks(random: Random) -> str:
    """A letter, or none, under some marks; seldom under very many."""
    base = choose(
        random, ("", "a", "E", "o", "\u00e9", "\u03b1", "\u0418", "\u0627", "\u304b", "\uac00", "\u1100", ".")
    )
    count = 40 if below(random, 40) == 0 else 1 + below(random, 5)
    return base + "".join(from_range(random, choose(random, MARKS)) for _ in range(count))


def special_token(random: Random) -> str:
    """A special token, whole or spoiled by its case, or by something put into it."""
    token = choose(random, SPECIAL)
    cut = 1 + below(random, len(token) - 1)
    return choose(
        random,
        (
            token,
            token,
            token.lower(),
            token.title(),
            token[:cut] + " " + token[cut:],
            token[:cut] + choose(random, INVISIBLE) + token[cut:],
            token[:cut] + from_range(random, choose(random, MARKS)) + token[cut:],
            token[cut:],
            token[:cut],
        ),
    )


def invisible(random: Random) -> str:
    return choose(random, INVISIBLE) + choose(random, SPACES)


def long_word(random: Random) -> str:
    """A word about as long as the longest that is split into pieces, or longer."""
    part = choose(random, LONG_PARTS)
    length = choose(random, LONG_LENGTHS)
    return (part * length)[:length]


PIECES: tuple[Callable[[Random], str], ...] = (
    *(word,) * 20,
    *(script,) * 12,
    *(punctuation,) * 6,
    *(marks,) * 5,
    *(special_token,) * 4,
    *(anything,) * 4,
    *(invisible,) * 3,
)


def mixture(random: Random) -> str:
    """Pieces of all kinds, joined by white space or nothing."""
    kind = below(random, 400)
    if kind == 0:
        return choose(random, SPACES)
    if kind == 1:
        return "".join(choose(random, PIECES)(random) + choose(random, SPACES) for _ in range(80))
    if kind < 6:
        return word(random) + choose(random, SPACES) + long_word(random) + choose(random, SPACES) + word(random)
    return "".join(choose(random, PIECES)(random) + choose(random, SPACES) for _ in range(1 + below(random, 6)))


def sweep() -> Iterator[str]:
    """Every code point of the planes that are in use, in order, between two letters; over and over."""
    while True:
        code_points = (code for first, last in SWEPT for code in range(first, last + 1))
        while part := tuple(islice(code_points, SWEEP_WIDTH)):
            yield " ".join(f"a{chr(code)}b" for code in part)


def fuzz_texts(count: int, seed: int = 0) -> Iterator[str]:
    """Yield random texts of all planes of Unicode, mostly of 0 to 60 characters; none has lone surrogates.

    The first texts of a longer run are those of a shorter one with the same seed.

    Args:
        count: How many.
        seed: Another seed gives other texts; the sweep through all code points is the same.
    """
    random = Random(seed)
    swept = sweep()
    for index in range(count):
        yield next(swept) if index % SWEEP_EVERY == 0 else mixture(random)


def digest(rows: Iterable[object]) -> str:
    """The beginning of the SHA-256 of rows [ids, tokens, offsets], one for each text, as JSON."""
    text = json.dumps(list(rows), separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def digests(rows: Iterable[object]) -> Iterator[str]:
    """Yield one digest for every `ROWS_PER_DIGEST` rows, and one for the rest."""
    remaining = iter(rows)
    while part := list(islice(remaining, ROWS_PER_DIGEST)):
        yield digest(part)
