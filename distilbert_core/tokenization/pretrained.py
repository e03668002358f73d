"""Loading and saving of tokenizers."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from distilbert_core.checks import check_choice
from distilbert_core.compatibility import TOKENIZER_SAVING, accept_only, renames
from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reading
from distilbert_core.files.conversion import load_conversion
from distilbert_core.files.hub import (
    ADAPTER_CONFIG,
    PUSHING,
    WEIGHT_SUFFIXES,
    PushToHub,
    find_file,
    offline_note,
    split_hub_options,
)
from distilbert_core.files.journal import settled_source
from distilbert_core.files.json_files import read_content
from distilbert_core.files.limits import check_limit
from distilbert_core.files.names import (
    ADDED_TOKENS_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCAB_FILE,
)
from distilbert_core.tokenization.files import (
    NORMALIZER_DEFAULTS,
    NORMALIZER_OPTIONS,
    PREFIX,
    Specification,
    check_ids,
    check_type,
    prefixed,
    read_options,
    render_json,
    render_vocabulary,
)
from distilbert_core.tokenization.options import COLUMNS, NO_MAX_LENGTH, SIDES, token_count
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    MAY_BE_UNSET,
    SPECIAL_TOKENS,
    TOKEN_NAMES,
    Token,
    added_token,
    token_fields,
    tokens_of,
)
from distilbert_core.tokenization.vocabulary import Vocabulary

OPTION_FILES = (SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE, ADDED_TOKENS_FILE)  # a later one has precedence
OMITTED_FILES = {True: (TOKENIZER_FILE,), False: (VOCAB_FILE, ADDED_TOKENS_FILE)}  # by the argument `legacy_format`
STORED_OPTIONS = (  # arguments that tokenizer_config.json or special_tokens_map.json may hold
    *TOKEN_NAMES,
    ADDITIONAL,
    "do_lower_case",
    "do_basic_tokenize",
    "never_split",
    "clean_text",
    "strip_accents",
    "tokenize_chinese_chars",
    "wordpieces_prefix",
    "clean_up_tokenization_spaces",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "split_special_tokens",
    "model_input_names",
)
FITTING = {"never_split", "wordpieces_prefix"}  # options that must fit the class, or the other file
OPTION_TYPES = {
    **dict.fromkeys(
        (
            "do_lower_case",
            "do_basic_tokenize",
            "clean_text",
            "strip_accents",
            "tokenize_chinese_chars",
            "clean_up_tokenization_spaces",
            "split_special_tokens",
        ),
        bool,
    ),
    **dict.fromkeys(("never_split", "model_input_names"), list),
    "wordpieces_prefix": str,
}


class PretrainedTokenizer(Vocabulary, PushToHub):
    """Loads and saves a tokenizer."""

    model_max_length: int
    padding_side: Literal["right", "left"]
    truncation_side: Literal["right", "left"]
    clean_up_tokenization_spaces: bool
    never_split: tuple[str, ...]
    split_special_tokens: bool
    model_input_names: Sequence[str]

    def specification(self) -> Specification:
        """Return the vocabulary and the options of the engine."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        raise NotImplementedError

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Self:
        """Load the tokenizer of a folder, a file, an embedded model or a Hub id.

        It is read from tokenizer.json or vocab.txt, with the options in tokenizer_config.json and
        special_tokens_map.json and the tokens in added_tokens.json.

        Args:
            source: A folder, an embedded model or a Hub id; a weight file, for the tokenizer in its folder; or the path
                of vocab.txt or tokenizer.json, which are read alone. An adapter without a tokenizer has the tokenizer
                of its base; a preset of KerasHub has one that equals KerasHub's.
            **kwargs: Options of the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`), and arguments of this class, which override the stored ones.

        Raises:
            CheckpointError: The checkpoint does not exist or has no tokenizer, or a file is damaged.
        """
        hub_options, arguments = split_hub_options(kwargs)
        return _load(cls, source, {k: v for k, v in hub_options.items() if v is not None}, arguments)

    @renames(save_directory="folder", use_auth_token="token")
    def save_pretrained(
        self,
        folder: str | Path,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write the tokenizer's files into a folder; return their paths.

        Args:
            folder: Destination; it is created if needed.
            legacy_format: True: vocab.txt and added_tokens.json but not tokenizer.json; False: the other way round;
                None: all of them. The files with options are always written.
            filename_prefix: Prefix of the files' names, before a '-'; `from_pretrained` reads files without a prefix.
            push_to_hub: Also upload the files by the method `push_to_hub`, to the repository `repo_id` or, without
                one, the folder's name.
            **kwargs: Arguments of `push_to_hub`. `distilbert_core.compatibility.TOKENIZER_SAVING` lists further
                arguments of Transformers.

        Raises:
            OSError: The disk is full, or the folder is not writable.
            TypeError: A keyword is unknown.
        """
        hub_options = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        accept_only(kwargs, TOKENIZER_SAVING, "save_pretrained")
        omitted = () if legacy_format is None else OMITTED_FILES[legacy_format]
        content = {prefixed(name, filename_prefix): data for name, data in self.files().items() if name not in omitted}
        replace_files(folder, content)
        if push_to_hub:
            options = {"legacy_format": legacy_format, "filename_prefix": filename_prefix}
            self.push_to_hub(**{"repo_id": Path(folder).expanduser().absolute().name, **hub_options, **options})
        return tuple(str(Path(folder) / name) for name in content)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str]:
        """Write vocab.txt, without the added tokens, into a folder; return its path."""
        name = prefixed(VOCAB_FILE, filename_prefix)
        replace_files(save_directory, {name: render_vocabulary(self.specification().vocabulary)})
        return (str(Path(save_directory) / name),)

    def files(self) -> dict[str, bytes]:
        """Return the content of the tokenizer's files by name."""
        specification, added = self.specification(), self.added_tokens_decoder
        new = {token.content: index for index, token in added.items() if token.content not in specification.vocabulary}
        return {
            TOKENIZER_CONFIG_FILE: render_json(self._stored_options(specification)),
            SPECIAL_TOKENS_FILE: render_json(self.special_tokens_map),
            VOCAB_FILE: render_vocabulary(specification.vocabulary),
            **({ADDED_TOKENS_FILE: render_json(new)} if new else {}),
            TOKENIZER_FILE: self.to_json(),
        }

    def _stored_options(self, specification: Specification) -> dict[str, Any]:
        """Return the content of tokenizer_config.json."""
        options: dict[str, Any] = {
            "tokenizer_class": "DistilBertTokenizer",
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "added_tokens_decoder": {
                str(index): token_fields(token) for index, token in self.added_tokens_decoder.items()
            },
            **{name: None for name in MAY_BE_UNSET if name in SPECIAL_TOKENS},
            **self.special_tokens_map,
        }
        if specification.basic:
            normalizer = NORMALIZER_DEFAULTS | dict(specification.normalizer)
            options |= {NORMALIZER_OPTIONS[name]: value for name, value in normalizer.items()}
        else:
            options["do_basic_tokenize"] = False
        if specification.prefix != PREFIX:
            options["wordpieces_prefix"] = specification.prefix
        if self.never_split:
            options["never_split"] = list(self.never_split)
        if self.split_special_tokens:
            options["split_special_tokens"] = True
        if tuple(self.model_input_names) != type(self).model_input_names:
            options["model_input_names"] = list(self.model_input_names)
        return options


Tokenizer = TypeVar("Tokenizer", bound=PretrainedTokenizer)


def _load(
    cls: type[Tokenizer], source: str | Path, hub_options: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Tokenizer:
    """Load the tokenizer of a source; `arguments` override the stored ones."""
    file = Path(settled_source(Path(source).expanduser()))
    beside = ""
    if file.is_file() and file.name.endswith((*WEIGHT_SUFFIXES, ADAPTER_CONFIG)):
        source, beside = file.parent, f" beside {file.name}"
    elif file.is_file():
        argument = "tokenizer_file" if file.suffix == ".json" else "vocab_file"
        return cls(**{"name_or_path": source, argument: file, **arguments})
    tokenizer_file = find_file(source, TOKENIZER_FILE, **hub_options)
    vocab_file = None if tokenizer_file else find_file(source, VOCAB_FILE, **hub_options)
    lacking = tokenizer_file is None and vocab_file is None
    if _is_kerashub(tokenizer_file) or (lacking and find_file(source, ADAPTER_CONFIG, **hub_options) is not None):
        return load_conversion().open_tokenizer(cls, source, hub_options, arguments)
    if lacking:
        note = offline_note(source, hub_options)
        raise CheckpointError(f"{source} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}{beside}{note}.")
    stored = _read_options(source, hub_options, has_tokenizer_file=tokenizer_file is not None)
    files = {"name_or_path": source, "vocab_file": vocab_file, "tokenizer_file": tokenizer_file}
    with reading(source, "a tokenizer") if stored.keys() & FITTING - arguments.keys() else nullcontext():
        return cls(**{**files, **stored, **arguments})


def _read_options(source: str | Path, hub_options: Mapping[str, Any], has_tokenizer_file: bool) -> dict[str, Any]:
    """Return the arguments that are stored beside tokenizer.json or vocab.txt."""
    files = {name: find_file(source, name, **hub_options) for name in OPTION_FILES}
    contents = {name: read_options(path) for name, path in files.items()}
    added_ids = contents.pop(ADDED_TOKENS_FILE)
    stored = {name: value for content in contents.values() for name, value in content.items()}
    with reading(files[TOKENIZER_CONFIG_FILE] or files[SPECIAL_TOKENS_FILE] or source, "the options of a tokenizer"):
        options = _checked_options(stored, has_tokenizer_file)
        described = stored.get("added_tokens_decoder") or {}
        check_limit("added_tokens", len(described), "added_tokens_decoder")
        added: dict[int, Token] = {int(index): added_token(token) for index, token in described.items()}
        check_ids(added, "added_tokens_decoder")
        names = None if has_tokenizer_file else {str(token) for token in added.values()}
        for name in options.keys() & {*TOKEN_NAMES, ADDITIONAL}:
            options[name] = _special_token(options[name], names)
            tokens_of(name, options[name])
    with reading(files[ADDED_TOKENS_FILE] or source, "added tokens"):
        check_limit("added_tokens", len(added_ids), "It")
        check_ids(added_ids.values(), "It")
    for content, index in added_ids.items():
        token = added.setdefault(index, content)
        if str(token) != content:
            raise CheckpointError(
                f"{source}: the added token of id {index} is {shortened(str(token))} in {TOKENIZER_CONFIG_FILE}, but "
                f"{shortened(content)} in {ADDED_TOKENS_FILE}."
            )
    return {"added_tokens_decoder": added, **options}


def _checked_options(stored: dict[str, Any], has_tokenizer_file: bool) -> dict[str, Any]:
    """Return the stored arguments, or raise an error for one of another type."""
    if extra := stored.get("extra_special_tokens"):  # the name in Transformers 5, where each token may have a name
        stored[ADDITIONAL] = stored.get(ADDITIONAL) or list(extra.values() if isinstance(extra, dict) else extra)
    if has_tokenizer_file:
        stored.pop("do_basic_tokenize", None)  # Transformers stores it, but uses tokenizer.json
    options = {name: stored[name] for name in STORED_OPTIONS if stored.get(name) is not None}
    options |= {name: None for name in MAY_BE_UNSET if name in stored and stored[name] is None}
    for name in options.keys() & OPTION_TYPES.keys():
        check_type(name, options[name], OPTION_TYPES[name])
    for name in ("padding_side", "truncation_side"):
        check_choice(name, options.get(name, SIDES[0]), SIDES)
    if "model_max_length" in options:
        length = options["model_max_length"]
        token_count("model_max_length", int(length) if length == NO_MAX_LENGTH else length)
    if "model_input_names" in options:  # some files list BERT's inputs, with token types
        options["model_input_names"] = [
            check_choice("model_input_names", name, COLUMNS)
            for name in options["model_input_names"]
            if name != "token_type_ids"
        ]
    return options


def _is_kerashub(path: Path | None) -> bool:
    """Return whether a tokenizer.json is of a preset of KerasHub, which has its vocabulary in another file."""
    return path is not None and (
        path.stat().st_size < 1 << 16 and b'"registered_name": "keras_hub>' in read_content(path)
    )


def _special_token(stored: Any, described: Container[str] | None) -> Any:
    """Return a stored special token, or a list of them.

    Args:
        stored: A text, an object with the options of the token, or a list of these.
        described: The tokens whose options another file holds, which has precedence; None: all.
    """
    if isinstance(stored, list):
        return [_special_token(entry, described) for entry in stored]
    if not isinstance(stored, dict):
        return stored
    content = stored.get("content")
    return content if described is None or content in described else added_token({**stored, "special": True})
