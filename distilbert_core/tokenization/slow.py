"""`DistilBertTokenizer`: WordPiece in plain Python, to be read and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.tokenization import files
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.decoding import SPACES
from distilbert_core.tokenization.library_engine import make_engine, render_engine, set_template

if TYPE_CHECKING:
    from distilbert_core.tokenization.wordpiece import WordPieceTokenizer
    from distilbert_core.tokenization.words import BasicTokenizer, WordpieceTokenizer


class DistilBertTokenizer(BaseTokenizer):
    """WordPiece in plain Python: the same tokens, ids and offsets as `DistilBertTokenizerFast`, to be read and changed.

    `BaseTokenizer` describes the arguments.

    Example:
        >>> from distilbert_core import DistilBertTokenizer
        >>> tokenizer = DistilBertTokenizer.from_pretrained("sst2-tiny")
        >>> tokenizer("I love it!")["input_ids"]
        [101, 1045, 2293, 2009, 999, 102]
    """

    is_fast = False
    backend_tokenizer: WordPieceTokenizer

    def _make_engine(self, specification: files.Specification) -> WordPieceTokenizer:
        # Imported here: its large regular expressions take longer than the rest of importing the core.
        from distilbert_core.tokenization.normalization import WORDS, WORDS_AND_PUNCTUATION, Normalizer
        from distilbert_core.tokenization.wordpiece import WordPieceTokenizer

        self._specification = specification
        options = files.NORMALIZER_DEFAULTS | dict(specification.normalizer)
        if options["strip_accents"] is None:
            options["strip_accents"] = options["lowercase"]
        normalizer = Normalizer(**{files.NORMALIZER_OPTIONS[name]: bool(value) for name, value in options.items()})
        return WordPieceTokenizer(
            specification.vocabulary,
            specification.unk_token,
            specification.prefix,
            normalizer if specification.basic else None,
            WORDS_AND_PUNCTUATION if specification.basic else WORDS,
            self.never_split,
            specification.longest_word,
        )

    def _read_engine(
        self, name: str | Path, text: str, content: dict[str, Any], normalizer: Mapping[str, bool]
    ) -> WordPieceTokenizer:
        specification = _specification_of(name, content)
        engine = self._make_engine(replace(specification, normalizer={**specification.normalizer, **normalizer}))
        engine.add_tokens([token for _, token in files.added_tokens_of(content)])
        return engine

    def _update_special_tokens(self) -> None:
        self.backend_tokenizer.set_special_tokens(self.unk_token, self.cls_token, self.sep_token)

    def _normalize(self, text: str) -> str:
        return self.backend_tokenizer.normalize(text)[0]

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        prefix = self.backend_tokenizer.prefix
        parts = list(tokens[:1])
        for token in tokens[1:]:
            part = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
            for spaced, joined in SPACES if clean_up else ():
                part = part.replace(spaced, joined)
            parts.append(part)
        return "".join(parts)

    def specification(self) -> files.Specification:
        """Return the vocabulary and the options of the engine."""
        return replace(self._specification, unk_token=self.unk_token)

    def normalizer_options(self) -> dict[str, bool | None]:
        """Return the options of BERT's normaliser; none without `do_basic_tokenize`."""
        specification = self._specification
        return files.NORMALIZER_DEFAULTS | dict(specification.normalizer) if specification.basic else {}

    def _is_in_vocabulary(self, token: str) -> bool:
        return token in self._specification.vocabulary

    def _prefix(self) -> str:
        return self._specification.prefix

    @property
    def basic_tokenizer(self) -> BasicTokenizer:
        """The first step, which normalises a text and splits it into words; for scripts that call it."""
        from distilbert_core.tokenization.words import BasicTokenizer

        return BasicTokenizer.from_engine(self.backend_tokenizer)

    @property
    def wordpiece_tokenizer(self) -> WordpieceTokenizer:
        """The second step, which splits words into tokens; for scripts that call it."""
        from distilbert_core.tokenization.words import WordpieceTokenizer

        return WordpieceTokenizer.from_engine(self.backend_tokenizer)

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        engine = make_engine(self.specification())
        engine.add_tokens(list(self.added_tokens_decoder.values()))
        set_template(engine, self.cls_token, self.sep_token)
        return render_engine(engine)


def _specification_of(path: str | Path, content: Mapping[str, Any]) -> files.Specification:
    """Return the specification in tokenizer.json."""
    try:
        model, normalizer, decoder = content["model"], content["normalizer"] or {}, content.get("decoder") or {}
        steps = (model["type"], normalizer.get("type"), content["pre_tokenizer"]["type"], decoder.get("type"))
        if steps not in _KNOWN_STEPS:
            raise CheckpointError(
                f"{path} is not of BERT's kind: its model, normalizer, pre_tokenizer and decoder must be "
                f"{_KNOWN_STEPS[0]}, got {shortened(steps)}; DistilBertTokenizerFast can use it."
            )
        longest_word = model.get("max_input_chars_per_word", files.LONGEST_WORD)
        options = {name: normalizer[name] for name in files.NORMALIZER_DEFAULTS if name in normalizer}
        prefix = model["continuing_subword_prefix"]
        files.check_type("model.vocab", model["vocab"], dict)
        files.check_type("model.unk_token", model["unk_token"], str)
        files.check_type("model.continuing_subword_prefix", prefix, str)
        for name, value in options.items():
            if value is not None or name != "strip_accents":
                files.check_type(f"normalizer.{name}", value, bool)
        if decoder["prefix"] != prefix:
            raise CheckpointError(
                f"{path} is not of BERT's kind: the prefix of its decoder must be that of its model, "
                f"{shortened(prefix)}, got {shortened(decoder['prefix'])}; DistilBertTokenizerFast can use it."
            )
    except (LookupError, TypeError, AttributeError) as error:
        raise files.not_tokenizer_json(path, error) from error
    return files.Specification(model["vocab"], model["unk_token"], prefix, normalizer != {}, options, longest_word)


_KNOWN_STEPS = (
    ("WordPiece", "BertNormalizer", "BertPreTokenizer", "WordPiece"),
    ("WordPiece", None, "WhitespaceSplit", "WordPiece"),
)
