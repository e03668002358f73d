"""Hostile config.json and files of a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilbert_core import DistilBertTokenizerFast
from support.mutators.base import (
    HOSTILE,
    Edit,
    Mutator,
    Rng,
    edit_json,
    file_links,
    flip_bytes,
    nested,
    set_json,
    truncate,
    write_bytes,
    write_source,
)

CONFIG, TOKENIZER, OPTIONS = "config.json", "tokenizer.json", "tokenizer_config.json"
VOCAB, SPECIAL, ADDED = "vocab.txt", "special_tokens_map.json", "added_tokens.json"

# Keys by which other libraries run code of a checkpoint, and attributes that Python itself reads.
CODE = {
    "auto_map": {"AutoModel": "modeling_evil.Evil", "AutoConfig": "outside--configuration_evil.Evil"},
    "trust_remote_code": True,
    "custom_pipelines": {"evil": {"impl": "evil.Evil", "pt": ["AutoModel"]}},
    "_attn_implementation_internal": "evil/kernels",
    "quantization_config": {"quant_method": "evil", "modules_to_not_convert": ["x"]},
    "transformers_version": "__import__('os').system('true')",
    "registered_name": "evil>Evil",
    "__class__": "os.system",
    "__reduce__": ["os.system", ["true"]],
}


def _config(**fields: Any) -> Edit:
    return set_json(CONFIG, **fields)


def _text(name: str, change: Callable[[str], str | bytes]) -> Edit:
    """Return an edit of the text of a file."""

    def edit(rng: Rng, folder: Path) -> None:
        text = change((folder / name).read_text())
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))

    return edit


def _long(name: str, size: int) -> Edit:
    """Return an edit that makes a file of many bytes, which take no space on the disk."""

    def edit(rng: Rng, folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(size)

    return edit


def _labels(count: int) -> Edit:
    return _config(
        id2label={str(n): f"label {n}" for n in range(count)}, label2id={f"label {n}": n for n in range(count)}
    )


CONFIG_NAMED: dict[str, Edit] = {
    **{f"the key {key}": _config(**{key: value}) for key, value in CODE.items()},
    "architectures is a number": _config(architectures=5),
    "architectures of numbers": _config(architectures=[5, None]),
    "infinite label": _config(label2id={"a": float("inf")}, num_labels=None, id2label=None),
    "infinite labels": _config(label2id=float("inf")),
    "infinite number of labels": _config(num_labels=float("inf"), id2label=None, label2id=None),
    "a label that is nested": _config(id2label={"0": nested(50)}, label2id=None),
    "the key self": _config(self=1),
    "the key cls": _config(cls=1, kwargs={}, fields={}),
    "an empty key": _config(**{"": 1, " ": 2, "a.b": 3, "\n": 4}),
    "100 levels": _config(extra=nested(100)),
    "900 levels": _config(extra=nested(900, dict)),
    "50 levels": _config(extra=nested(50, dict)),
    "10^9 layers": _config(n_layers=10**9),
    "1,000 layers": _config(n_layers=1000),
    "10^9 heads": _config(n_heads=10**9, dim=10**9),
    "many heads": _config(n_heads=1024, dim=1024, pruned_heads={"0": list(range(1000))}),
    "pruned heads": _config(pruned_heads={str(n): list(range(1000)) for n in range(1000)}),
    "infinite pruned heads": _config(pruned_heads={"0": [float("inf")]}),
    "10^18 positions": _config(max_position_embeddings=10**18),
    "10^6 computed positions": _config(max_position_embeddings=10**6, sinusoidal_pos_embds=True),
    "10^7 labels": _config(num_labels=10**7, id2label=None, label2id=None),
    "a label of 10^9": _config(id2label={str(10**9): "a"}, label2id=None),
    "the same label twice": _text(CONFIG, lambda text: text[:-2] + ', "id2label": {"0": "a", "00": "b", " 0": "c"}}'),
    "fields twice": _text(CONFIG, lambda text: text[:-2] + ', "n_layers": 1, "n_layers": 3}'),
    "half a character": _config(id2label={"0": "\ud800", "1": "b"}, label2id=None),
    "half a character in a key": _config(**{"\udfff": 1}),
    "NUL": _config(problem_type="\0", activation="\0"),
    "a name of a folder": _config(name_or_path="../outside", _name_or_path="/etc", _commit_hash="x"),
    "attention from elsewhere": _config(_attn_implementation="evil/kernels", attn_implementation="evil/kernels"),
    "odd dtype": _config(torch_dtype="os.system", dtype={"a": 1}),
    "4,000 digits": _text(CONFIG, lambda text: text.replace("12", "1" * 4000, 1)),
    "5,000 digits": _text(CONFIG, lambda text: text.replace("12", "1" * 5000, 1)),
    "a huge exponent": _text(CONFIG, lambda text: text.replace("0.1", "1e99999", 1)),
    "a long text as activation": _config(activation="x" * 100_000),
    "65 MB of NUL": _long(CONFIG, 65 << 20),
    "20 MB of blanks": _text(CONFIG, lambda text: text + " " * 20_000_000),
    "another model": _config(model_type="x" * 5000),
    "a BERT": _config(model_type="bert", num_hidden_layers=10**9),
    "UTF-16": _text(CONFIG, lambda text: text.encode("utf-16")),
    "UTF-32": _text(CONFIG, lambda text: text.encode("utf-32")),
    "Latin-1": _text(CONFIG, lambda text: text.replace("LABEL_0", "é").encode("latin-1")),
    "BOM": _text(CONFIG, lambda text: "\ufeff" + text),
    **file_links(CONFIG),
}
CONFIG_LARGE: dict[str, Edit] = {  # these take a second or more
    "130,000 labels without names": _config(num_labels=130_000, id2label=None, label2id=None),
    "130,000 labels": _labels(130_000),
    "140,000 labels": _labels(140_000),
    "190,000 empty lists": _config(extra=[[] for _ in range(190_000)]),
    "390,000 numbers": _config(extra=[0.5] * 390_000),
}


def _write_config(folder: Path) -> None:
    write_source(folder, "pt")


def _one_field(rng: Rng, folder: Path) -> None:
    """Set a random field of the configuration, also one that it does not have, to a hostile value."""
    file = folder / CONFIG
    fields = json.loads(file.read_text())
    names = [*fields, "id2label", "label2id", "num_labels", "pruned_heads", "problem_type", "hidden_size", "dtype"]
    for _ in range(rng.integers(1, 3)):
        fields[names[rng.integers(len(names))]] = HOSTILE[rng.integers(len(HOSTILE))]
    file.write_text(json.dumps(fields))


CONFIGS = Mutator(
    "config",
    _write_config,
    CONFIG_NAMED,
    {"json": edit_json(CONFIG), "field": _one_field, "cut": truncate(CONFIG), "bytes": flip_bytes(CONFIG)},
)


# -- tokenizers -------------------------------------------------------------------------------------------------


def _content(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Return an edit of the content of tokenizer.json."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / TOKENIZER).read_text())
        change(content)
        (folder / TOKENIZER).write_text(json.dumps(content))

    return edit


def _token(**fields: Any) -> Edit:
    """Return an edit that adds a token to tokenizer.json."""
    token = {"id": 47, "content": "new", "single_word": False, "lstrip": False, "rstrip": False}
    token |= {"normalized": True, "special": False}
    return _content(lambda content: content["added_tokens"].append({**token, **fields}))


def _model(**fields: Any) -> Edit:
    return _content(lambda content: content["model"].update(fields))


def _vocab(**tokens: Any) -> Edit:
    return _content(lambda content: content["model"]["vocab"].update(tokens))


JSON_NAMED: dict[str, Edit] = {
    "the key auto_map": set_json(OPTIONS, auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]}),
    "the key trust_remote_code": set_json(OPTIONS, trust_remote_code=True),
    "another class": set_json(OPTIONS, tokenizer_class="evil.Evil", processor_class="evil.Evil"),
    "a template that runs code": set_json(OPTIONS, chat_template="{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "files elsewhere": set_json(OPTIONS, vocab_file="/etc/passwd", tokenizer_file="../outside/decoy.json"),
    "a name": set_json(OPTIONS, name_or_path="/etc/passwd", special_tokens_map_file="/etc/passwd"),
    "the key self in options": set_json(OPTIONS, self=1, source="/etc"),
    "an id of 2^31": _vocab(x=2**31),
    "an id of 2^63": _vocab(x=2**63),
    "an id of 2,000,000": _vocab(x=2_000_000),
    "a negative id": _vocab(x=-1),
    "a fraction as id": _vocab(x=1.5),
    "true as id": _vocab(x=True),
    "two tokens with one id": _vocab(x=0, y=0),
    "half a character": _vocab(**{"\ud800": 47}),
    "an empty token": _vocab(**{"": 47}),
    "a long token": _vocab(**{"x" * 20_000: 47}),
    "a vocabulary that is a list": _model(vocab=[["a", 0.0]]),
    "no vocabulary": _model(vocab={}),
    "vocabulary of null": _model(vocab=None),
    "words of 2^62 characters": _model(max_input_chars_per_word=2**62),
    "words of -1 characters": _model(max_input_chars_per_word=-1),
    "an empty prefix": _model(continuing_subword_prefix=""),
    "a prefix of a list": _model(continuing_subword_prefix=["##"]),
    "unk of null": _model(unk_token=None),
    "unk elsewhere": _model(unk_token="x"),
    "BPE": _model(type="BPE", merges=[["a", "b"]]),
    "Unigram": _model(type="Unigram", vocab=[["a", 0.5]], unk_id=5),
    "an added token of 2^31": _token(id=2**31),
    "an added token of 2^63": _token(id=2**63),
    "a nested added token": _token(content={"a": nested(40)}),
    "an empty added token": _token(content=""),
    "a blank added token": _token(content=" ", lstrip=True, rstrip=True),
    "a NUL as added token": _token(content="\0"),
    "half a character as added token": _token(content="\udc00"),
    "an added token with another key": _token(evil="x", __type="os.system"),
    "an added token of numbers": _token(lstrip=5),
    "added tokens of numbers": _content(lambda content: content.update(added_tokens=[1, 2])),
    "the same added token": _content(lambda content: content.update(added_tokens=content["added_tokens"] * 200)),
    "a bad expression": _content(
        lambda content: content.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
        )
    ),
    "an invalid expression": _content(
        lambda content: content.update(normalizer={"type": "Replace", "pattern": {"Regex": "("}, "content": "x"})
    ),
    "a precompiled map": _content(
        lambda content: content.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    ),
    "a normaliser in itself": _content(
        lambda content: content.update(normalizer={"type": "Sequence", "normalizers": nested(50, list)})
    ),
    "a template with other tokens": _content(
        lambda content: content["post_processor"].update(single=[{"SpecialToken": {"id": "x", "type_id": 0}}])
    ),
    "padding of 2^40": _content(
        lambda content: content.update(
            padding={
                "strategy": {"Fixed": 2**40},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            }
        )
    ),
    "truncation to 0": _content(
        lambda content: content.update(
            truncation={"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 2**40}
        )
    ),
    "lowercase is a text": _content(lambda content: content["normalizer"].update(lowercase="false")),
    "a long version": _content(lambda content: content.update(version="9" * 100_000)),
    "500 levels": _content(lambda content: content.update(extra=nested(500))),
    "65 MB": _long(TOKENIZER, 65 << 20),
    "BOM": _text(TOKENIZER, lambda text: "\ufeff" + text),
    "UTF-16": _text(TOKENIZER, lambda text: text.encode("utf-16")),
    **file_links(TOKENIZER),
}
JSON_LARGE: dict[str, Edit] = {
    "500,000 tokens": _content(
        lambda content: content["model"]["vocab"].update({f"x{n}": n for n in range(47, 5 * 10**5)})
    ),
    "700,000 tokens": _content(
        lambda content: content["model"]["vocab"].update({f"x{n}": n for n in range(47, 7 * 10**5)})
    ),
    "39,000 added tokens": _content(
        lambda content: content["added_tokens"].extend(
            {**content["added_tokens"][0], "id": n, "content": f"<{n}>"} for n in range(47, 39_000)
        )
    ),
}
OPTION_VALUES: dict[str, Any] = {
    "model_max_length": (1e30, 10**30, -1, 0.5, float("inf"), float("nan"), "512", True, [512]),
    "padding_side": ("up", None, 5, ["right"]),
    "do_lower_case": ("false", 5, [True], {}),
    "strip_accents": ("true", 0, []),
    "never_split": ("a", 5, [5], {"a": 1}, ["a"]),
    "model_input_names": ("input_ids", [5], ["evil"], {"a": 1}, [["input_ids"]]),
    "cls_token": (5, [], {}, {"content": 5}, {"content": "x", "lstrip": "no"}, "\ud800", "", ["[CLS]"], "missing"),
    "unk_token": (None, "missing", {"content": "[UNK]", "__type": "os.system"}),
    "additional_special_tokens": (5, "x", [5], [{}], {"a": "b"}, [None], ["", "a"], [{"content": "new"}]),
    "extra_special_tokens": (5, "x", {"a": 5}, [[]]),
    "added_tokens_decoder": (5, [], {"a": {}}, {"-1": {"content": "x"}}, {str(2**31): {"content": "x"}}, {"0": 5}),
    "split_special_tokens": ("yes", None, 2),
    "clean_up_tokenization_spaces": ("yes", 2),
    "wordpieces_prefix": (5, "", ["##"]),
    "do_basic_tokenize": ("no", 5),
}


def _one_option(rng: Rng, folder: Path) -> None:
    """Set random options to values of other types."""
    file = folder / (OPTIONS, SPECIAL)[rng.integers(2)]
    options = json.loads(file.read_text())
    names = list(OPTION_VALUES)
    for _ in range(rng.integers(1, 3)):
        name = names[rng.integers(len(names))]
        values = (*OPTION_VALUES[name], *HOSTILE)
        options[name] = values[rng.integers(len(values))]
    file.write_text(json.dumps(options))


def _write_json(folder: Path) -> None:
    write_source(folder, "pt")
    DistilBertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    (folder / VOCAB).unlink()


def _write_vocab(folder: Path) -> None:
    write_source(folder, "pt")
    DistilBertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    (folder / TOKENIZER).unlink()
    (folder / ADDED).write_text('{"new": 47}')


def _lines(change: Callable[[list[str]], list[str]]) -> Edit:
    return _text(VOCAB, lambda text: "\n".join(change(text.splitlines())) + "\n")


VOCAB_NAMED: dict[str, Edit] = {
    "BOM": _text(VOCAB, lambda text: "\ufeff" + text),
    "UTF-16": _text(VOCAB, lambda text: text.encode("utf-16")),
    "Latin-1": _text(VOCAB, lambda text: (text + "é\n").encode("latin-1")),
    "half a character": _text(VOCAB, lambda text: text + "\ud800\n"),
    "NUL": _text(VOCAB, lambda text: text.replace("w1", "\0", 1)),
    "only NUL": write_bytes(VOCAB, b"\0" * 100_000),
    "a line of 2 MB": _text(VOCAB, lambda text: text + "x" * 2_000_000),
    "the same line": _lines(lambda lines: lines * 50),
    "only blank lines": write_bytes(VOCAB, b"\n" * 300_000),
    "CRLF": _text(VOCAB, lambda text: text.replace("\n", "\r\n")),
    "CR": _text(VOCAB, lambda text: text.replace("\n", "\r")),
    "other line ends": _text(VOCAB, lambda text: text.replace("\n", "\u2028")),
    "reversed": _lines(lambda lines: lines[::-1]),
    "without special tokens": _lines(lambda lines: lines[5:]),
    "65 MB": _long(VOCAB, 65 << 20),
    "an added token of 2^31": set_json(ADDED, new=2**31),
    "an added token of a text": set_json(ADDED, new="47"),
    "an added token of an object": set_json(ADDED, new={"id": 47}),
    "infinite added token": set_json(ADDED, new=float("inf")),
    "half of an added token": set_json(ADDED, **{"\ud800": 48}),
    "a list of added tokens": write_bytes(ADDED, b"[]"),
    "two added tokens of one id": set_json(ADDED, other=47),
    **file_links(VOCAB),
    **file_links(OPTIONS),
    **file_links(ADDED),
}
VOCAB_LARGE: dict[str, Edit] = {
    "700,000 lines": _text(VOCAB, lambda text: text + "".join(f"{n}\n" for n in range(7 * 10**5))),
    "500,000 lines": _text(VOCAB, lambda text: text + "".join(f"{n}\n" for n in range(5 * 10**5))),
    "60 MB of line ends": _text(VOCAB, lambda text: "\n" * (60 << 20)),
}
TOKENIZERS = Mutator(
    "tokenizer.json",
    _write_json,
    JSON_NAMED,
    {
        "json": edit_json(TOKENIZER),
        "options": edit_json(OPTIONS),
        "special": edit_json(SPECIAL),
        "option": _one_option,
        "cut": truncate(TOKENIZER),
        "bytes": flip_bytes(TOKENIZER),
    },
)
VOCABULARIES = Mutator(
    "vocab.txt",
    _write_vocab,
    VOCAB_NAMED,
    {
        "options": edit_json(OPTIONS),
        "special": edit_json(SPECIAL),
        "added": edit_json(ADDED),
        "option": _one_option,
        "cut": truncate(VOCAB),
        "bytes": flip_bytes(VOCAB),
    },
)
MUTATORS = (CONFIGS, TOKENIZERS, VOCABULARIES)
LARGE = tuple(
    Mutator(mutator.name, mutator.write, large, {})
    for mutator, large in zip(MUTATORS, (CONFIG_LARGE, JSON_LARGE, VOCAB_LARGE), strict=True)
)
