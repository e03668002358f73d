"""A probe for associations of a masked language model: the same words in two prompts that differ in a group.

The log ratio of a word w in a pair of prompts is ln P(w | first) - ln P(w | second), where P is the model's probability
of w in place of [MASK], over its whole vocabulary. docs/bias.md says what follows from it, and what does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError, shortened
from distilbert_core.files.records import column_names, parse_records, quoted
from distilbert_core.pipelines.fill_mask import FillMaskPipeline
from distilbert_core.pipelines.options import warn

BUILT_IN = Path(__file__).with_name("bias_prompts.tsv")
MASK = "[MASK]"  # in prompts, for a tokenizer with any mask token
COLUMNS = ("topic", "first", "second", "fillers")


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ in a group, and the words to compare in them.

    Attributes:
        topic: What differs, such as 'gender'; 'control' if the difference is not about people.
        first: A text with one [MASK].
        second: Another one.
        fillers: The words, each one token of the model.

    Raises:
        InputError: A prompt has no [MASK] or several, or there are no fillers, or one is given twice.

    Example:
        >>> from distilbert_core.pipelines.bias import PromptPair
        >>> PromptPair("gender", "He is a [MASK].", "She is a mask.", ("nurse", "pilot"))
        Traceback (most recent call last):
        distilbert_core.errors.InputError: second must have one [MASK], got 'She is a mask.'.
    """

    topic: str
    first: str
    second: str
    fillers: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if getattr(self, name).count(MASK) != 1:
                raise InputError(f"{name} must have one {MASK}, got {shortened(getattr(self, name))}.")
        if isinstance(self.fillers, str) or not self.fillers or len(set(self.fillers)) < len(self.fillers):
            raise InputError(f"fillers must be different words, got {shortened(self.fillers)}.")


def read_pairs(path: Path = BUILT_IN) -> list[PromptPair]:
    """Return the pairs of a file.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file with the columns first, second, fillers (words with commas between,
            or in .jsonl a list) and perhaps topic; the pairs of this package if left out.

    Raises:
        InputError: The file cannot be read, lacks a column, or has an impossible pair.

    Example:
        >>> from distilbert_core.pipelines.bias import read_pairs
        >>> read_pairs()[0].first
        'The person on the left worked as a [MASK].'
    """
    present = column_names(path)
    names = [name for name in COLUMNS if name != "topic" or name in present]
    pairs = []
    for record, values in enumerate(parse_records(path, names), 1):
        row = dict(zip(names, values, strict=True))
        words = row["fillers"].split(",") if isinstance(row["fillers"], str) else row["fillers"]
        texts = {name: row.get(name, "") for name in COLUMNS[:3]}
        if not isinstance(words, list) or not all(isinstance(text, str) for text in (*words, *texts.values())):
            raise InputError(
                f"{path}: record {record} must have texts, and fillers a list of them, got {shortened(row)}."
            )
        try:
            pairs.append(PromptPair(**texts, fillers=tuple(word.strip() for word in words if word.strip())))
        except InputError as error:
            raise InputError(f"{path}: record {record}: {error}") from error
    return pairs


def measure_bias(
    unmask: FillMaskPipeline, pairs: Iterable[PromptPair] | None = None, top_k: int = 5
) -> list[dict[str, Any]]:
    """Return how differently a model fills the two prompts of each pair.

    Args:
        unmask: The model, as the pipeline 'fill-mask' of any backend.
        pairs: The pairs; those of this package if left out.
        top_k: Number of the most probable tokens to list for each prompt.

    Returns:
        A record for each pair: 'topic'; 'difference', the mean of the absolute log ratios of its fillers; 'prompts',
        for the first and the second: 'prompt' and 'top', the `top_k` most probable tokens with their probabilities;
        'fillers', from those that the first prompt prefers most to those that the second does: 'filler', the
        probabilities 'first' and 'second', and 'log_ratio', ln(first / second); 'left_out', the fillers that are not
        one token of the model.

    Raises:
        InputError: There are no pairs; a pair has no filler that is one token of the model; a probability is 0.
        TypeError: The pipeline is another one.

    Warns:
        InputWarning: Some fillers are left out.

    Example:
        >>> from distilbert_core import DistilBertConfig, DistilBertTokenizerFast
        >>> from distilbert_core.pipelines import FillMaskPipeline
        >>> from distilbert_core.pipelines.bias import PromptPair, measure_bias
        >>> from distilbert_pt import DistilBertForMaskedLM
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> model = DistilBertForMaskedLM(DistilBertConfig(dim=32, hidden_dim=64, n_layers=1, n_heads=2))  # untrained
        >>> pair = PromptPair("gender", "He is a [MASK].", "She is a [MASK].", ("nurse", "pilot"))
        >>> (record,) = measure_bias(FillMaskPipeline(model, tokenizer), [pair])
        >>> sorted(filler["filler"] for filler in record["fillers"])
        ['nurse', 'pilot']
    """
    if not isinstance(unmask, FillMaskPipeline):
        raise TypeError(f"unmask must be a pipeline('fill-mask', ...), got {type(unmask).__name__}.")
    positive_integer("top_k", top_k)
    pairs = read_pairs() if pairs is None else list(pairs)
    if not pairs or not all(isinstance(pair, PromptPair) for pair in pairs):
        raise InputError(f"pairs must be a list of PromptPair, with one at least; got {shortened(pairs)}.")
    known = [_known_fillers(unmask, pair) for pair in pairs]
    left_out = {filler for pair, ids in zip(pairs, known, strict=True) for filler in pair.fillers if filler not in ids}
    if left_out:
        warn(f"Fillers that are not one token of the model are left out: {quoted(sorted(left_out))}.")
    mask = unmask.tokenizer.mask_token or MASK
    prompts = [prompt.replace(MASK, mask) for pair in pairs for prompt in (pair.first, pair.second)]
    top = list(unmask.stream(prompts, top_k=top_k))
    tokens = unmask.tokenizer.convert_ids_to_tokens(sorted({index for ids in known for index in ids.values()}))
    of_fillers = [
        {candidate["token"]: candidate["score"] for candidate in candidates}
        for candidates in unmask.stream(prompts, targets=tokens, top_k=len(tokens))
    ]
    return [
        _record(pair, ids, of_fillers[index : index + 2], top[index : index + 2])
        for index, pair, ids in zip(range(0, len(prompts), 2), pairs, known, strict=True)
    ]


def _known_fillers(unmask: FillMaskPipeline, pair: PromptPair) -> dict[str, int]:
    """Return the fillers of a pair that are one token of the model, with its id; raise InputError if none is."""
    tokenizer = unmask.tokenizer
    tokens = {filler: tokenizer.tokenize(filler) for filler in pair.fillers}
    known = {
        filler: cast(int, tokenizer.convert_tokens_to_ids(found[0]))
        for filler, found in tokens.items()
        if len(found) == 1 and found[0] != tokenizer.unk_token
    }
    if not known:
        raise InputError(
            f"{shortened(pair.first)}: none of the fillers {quoted(pair.fillers)} is one token of the model."
        )
    return known


def _record(
    pair: PromptPair,
    ids: Mapping[str, int],
    scores: Sequence[Mapping[int, float]],
    top: Sequence[Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Return the record of a pair, given the ids of its fillers, and the scores and best tokens of both prompts."""
    fillers: list[dict[str, Any]] = []
    for filler, index in ids.items():
        first, second = (of_prompt[index] for of_prompt in scores)
        if not (first > 0 and second > 0):
            raise InputError(f"{shortened(pair.first)}: the probability of {filler!r} is 0 in float64.")
        fillers.append({"filler": filler, "first": first, "second": second, "log_ratio": math.log(first / second)})
    ratios: list[float] = [filler["log_ratio"] for filler in fillers]
    return {
        "topic": pair.topic,
        "difference": math.fsum(map(abs, ratios)) / len(ratios),
        "prompts": [
            {
                "prompt": prompt,
                "top": [{name: candidate[name] for name in ("token_str", "score")} for candidate in candidates],
            }
            for prompt, candidates in zip((pair.first, pair.second), top, strict=True)
        ],
        "fillers": sorted(fillers, key=lambda filler: -filler["log_ratio"]),
        "left_out": [filler for filler in pair.fillers if filler not in ids],
    }
