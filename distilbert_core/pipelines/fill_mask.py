"""The most likely tokens in place of [MASK]."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.packing import Ragged
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import RUNNING, TOKENIZING, Older, Option, Options, unpack, warn
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import best, softmax
from distilbert_core.tokenization.engine import Encoding


def _check_targets(name: str, value: Any) -> None:
    is_list = isinstance(value, Collection) and all(isinstance(target, str) for target in value)
    if not is_list or isinstance(value, Mapping):
        raise InputError(f"{name} must be a text or a list of texts, got {value!r}.")


class FillMaskPipeline(Pipeline):
    """Candidates for the masks of a text: a list of {'score', 'token', 'token_str', 'sequence'}, the best first.

    An input is a text with [MASK] in it. For several masks the result is a list of such lists, one for each mask. Each
    mask is filled by itself, and the others stay in 'sequence'. As in Transformers, a list of one text has the result
    of that text; `stream` yields a result for each input.

    Options:
        top_k: Number of candidates.
        targets: Candidates to choose from, a text or a list of texts. A target that is not a single token of the
            vocabulary counts as its first token, with a warning.
        truncation, max_length, add_special_tokens: As in `Pipeline`.
        tokenizer_kwargs: A dict of these three.
    """

    task = "fill-mask"
    head = Head.MASKED_LM
    option_table: ClassVar[Mapping[str, Option]] = {
        "top_k": Option(5, positive_integer),
        "targets": Option(None, _check_targets),
        **TOKENIZING,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = {"tokenizer_kwargs": unpack("tokenizer_kwargs", (*TOKENIZING, "padding"))}

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the candidates of one input, of a list of them, or lazily of any other iterable."""
        result = super().__call__(inputs, **options)
        return result[0] if isinstance(inputs, list) and len(inputs) == 1 else result

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options with targets as token ids."""
        prepared = super().prepare_options(options)
        if prepared["targets"] is None:
            return prepared
        return {**prepared, "targets": self._target_ids(prepared["targets"])}

    def _target_ids(self, targets: str | Iterable[str]) -> np.ndarray:
        ids = set()
        for target in [targets] if isinstance(targets, str) else targets:
            index = self.tokenizer.convert_tokens_to_ids(target)
            if index != self.tokenizer.unk_token_id or target == self.tokenizer.unk_token:
                ids.add(index)
            elif tokens := self.tokenizer.tokenize(target):
                ids.add(self.tokenizer.convert_tokens_to_ids(tokens[0]))
                warn(f"The target {target!r} is not a token; {tokens[0]!r} stands for it.")
            else:
                warn(f"The target {target!r} has no tokens; it is left out.")
        if not ids:
            raise InputError(f"targets must name at least one token, got {targets!r}.")
        return np.array(sorted(ids))

    def tokenize(self, texts: Sequence[Sequence[Text]], options: Options) -> list[list[Encoding]]:
        """Return the tokens of each text, or raise InputError for a text without a mask."""
        windows = super().tokenize(texts, options)
        mask_id = self.tokenizer.special_id("mask_token")
        for (text,), (window,) in zip(texts, windows, strict=True):
            if mask_id not in window.ids:
                cut = f" in its first {self.max_length} tokens" if window.overflowing else ""
                raise InputError(f"{reprlib.repr(text)} has no {self.tokenizer.mask_token}{cut}.")
        return windows

    def selected_tokens(self, texts: Ragged) -> np.ndarray:
        """Return the indices [K] of the masks."""
        return np.flatnonzero(texts.ids == self.tokenizer.mask_token_id)

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> list[list[dict[str, Any]]]:
        """Logits of the masks [K, V] -> the candidates for each."""
        ids = np.array(window.ids)
        masks = np.flatnonzero(ids == self.tokenizer.mask_token_id)
        scores = softmax(outputs["logits"])
        tokens = np.arange(scores.shape[-1]) if options["targets"] is None else options["targets"]
        scores = scores[:, tokens]
        return [
            [
                self._candidate(ids, mask, int(tokens[i]), float(row[i]), skip_special=len(masks) == 1)
                for i in best(row, options["top_k"])
            ]
            for mask, row in zip(masks.tolist(), scores, strict=True)
        ]

    def _candidate(self, ids: np.ndarray, mask: int, token: int, score: float, skip_special: bool) -> dict[str, Any]:
        filled = np.where(np.arange(ids.size) == mask, token, ids)
        filled = filled[filled != self.tokenizer.pad_token_id]
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            "sequence": self.tokenizer.decode(filled, skip_special_tokens=skip_special),
        }

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[Any], options: Options) -> Any:
        """Return the candidates, by mask if there are several."""
        (candidates,) = kept
        return candidates[0] if len(candidates) == 1 else candidates
