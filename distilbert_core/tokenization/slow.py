"""`DistilBertTokenizer`: WordPiece in plain Python, to be read and changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

from distilbert_core.errors import CheckpointError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.base import SPACES, BaseTokenizer

if TYPE_CHECKING:
    from distilbert_core.tokenization.wordpiece import WordPieceTokenizer


class DistilBertTokenizer(BaseTokenizer):
    """WordPiece in plain Python: the same tokens, ids and offsets as `DistilBertTokenizerFast`, to be read and changed.

    For the arguments see `BaseTokenizer`, which both share.

    Example:
        >>> from distilbert_core import DistilBertTokenizer
        >>> tokenizer = DistilBertTokenizer.from_pretrained("sst2-tiny")
        >>> tokenizer("I love it!")["input_ids"]
        [101, 1045, 2293, 2009, 999, 102]
    """

    is_fast = False

    def _make_engine(self, specification: files.Specification) -> WordPieceTokenizer:
        # Here, because its large regular expressions take longer than all else that importing the core does.
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
        )

    def _read_engine(self, tokenizer_file: str | Path, normalizer: Mapping[str, bool]) -> WordPieceTokenizer:
        specification, added = _read_tokenizer_file(tokenizer_file)
        engine = self._make_engine(
            files.Specification(**{**vars(specification), "normalizer": {**specification.normalizer, **normalizer}})
        )
        engine.add_tokens(added)
        return engine

    def _set_frame(self) -> None:
        self.backend_tokenizer.frame = (self.cls_token, self.sep_token)

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
        """Return vocabulary and options."""
        return self._specification

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        from distilbert_core.tokenization.fast import make_backend, render_backend, set_frame

        tokenizer = make_backend(self._specification)
        tokenizer.add_tokens(list(self.added_tokens_decoder.values()))
        set_frame(tokenizer, self.cls_token, self.sep_token)
        return render_backend(tokenizer)


def _read_tokenizer_file(path: str | Path) -> tuple[files.Specification, list[AddedToken]]:
    """Read tokenizer.json: what the engine is made from, and the added tokens in the order of their ids."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        model, normalizer = content["model"], content["normalizer"] or {}
        steps = (model["type"], normalizer.get("type"), content["pre_tokenizer"]["type"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path} is no valid tokenizer.json ({type(error).__name__}: {error}).") from error
    if steps not in _KNOWN_STEPS:
        raise CheckpointError(
            f"{path} is not of BERT's kind: its model, normalizer and pre_tokenizer must be {_KNOWN_STEPS[0]}, "
            f"got {steps}; DistilBertTokenizerFast can use it."
        )
    options: dict[str, Any] = {name: normalizer[name] for name in files.NORMALIZER_DEFAULTS if name in normalizer}
    added = [files.added_token(entry) for entry in sorted(content["added_tokens"], key=lambda entry: entry["id"])]
    specification = files.Specification(
        model["vocab"], model["unk_token"], model["continuing_subword_prefix"], normalizer != {}, options
    )
    return specification, added


_KNOWN_STEPS = (("WordPiece", "BertNormalizer", "BertPreTokenizer"), ("WordPiece", None, "WhitespaceSplit"))
