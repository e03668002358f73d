"""Adapters of peft: LoRA updates, added to the weights of the base when they are read.

Formulas: W + alpha / r * B A (Hu et al. 2021), with alpha / sqrt(r) for rsLoRA (Kalajdzievski 2023).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, listed, shortened
from distilbert_core.files.boundary import found
from distilbert_core.files.hub import ADAPTER_CONFIG, find_file
from distilbert_core.files.json_files import read_json
from distilbert_core.files.limits import check_limit
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.report import entry_names
from weight_conversion.formats import safetensors, torch_bin
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

OPENERS = {"adapter_model.safetensors": safetensors.PT.open, "adapter_model.bin": torch_bin.FORMAT.open}

MERGE = (
    "Merge it with peft, where it can: AutoPeftModelForSequenceClassification.from_pretrained(FOLDER)"
    ".merge_and_unload().save_pretrained(OUTPUT)."
)
# Settings that can change the formula, and their values that leave it unchanged.
PLAIN: dict[str, Sequence[Any]] = {
    **dict.fromkeys(("use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out"), (False, None)),
    **dict.fromkeys(("layer_replication", "trainable_token_indices", "alora_invocation_tokens"), (None,)),
    "kasa_config": (None,),
    "target_parameters": (None, []),
    # Other initialisations change the base before training. The saved adapter does not hold that change.
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
PREFIX = "base_model.model."
PEFT_WRAPPER = re.compile(r"\b(?:modules_to_save|base_layer)\.")
ORIGINAL = ".original_module."  # values before training, of a layer that was trained as a whole
LOW_RANK = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
BIAS = re.compile(r"(.+)\.lora_B\.bias")
PLAIN_NAME = re.compile(r"[\w.]+")  # a key of alpha_pattern without operators; its points match points
SET = re.compile(r"\\.|\[[^\]]*\]")  # a part of a regular expression that matches one character
REPEATED, MOST_REPEATED = re.compile(r"[*+{]"), 4
REPETITION = re.compile(r"\)\s*[*+{]|\{\d{3,}|\}\s*[*+{]")  # a repeated group, a repetition of a repetition, many
LABELLED = ("SEQ_CLS", "TOKEN_CLS")  # tasks whose classifier has one row per label


@dataclass(frozen=True)
class Adapter:
    """An adapter whose arrays have not been read.

    Attributes:
        path: Its adapter_config.json.
        weights: Its weight file.
        settings: Content of adapter_config.json.
        tensors: Its arrays by their names in the base.
    """

    path: Path
    weights: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, LazyTensor]

    @classmethod
    def open(cls, path: Path, source: str | Path, hub_options: Mapping[str, Any]) -> Adapter:
        """Open an adapter.

        Args:
            path: Its adapter_config.json.
            source: Folder or Hub id of the adapter.
            hub_options: Options for the Hub.

        Raises:
            CheckpointError: The adapter is damaged, does not use LoRA, or does more than the formula.
        """
        settings = read_json(path, "the configuration of an adapter")
        lacking = [name for name in ("peft_type", "base_model_name_or_path") if name not in settings]
        if lacking:
            raise CheckpointError(f"{path} is not a valid configuration of an adapter: it lacks {', '.join(lacking)}.")
        kind, base = settings["peft_type"], settings["base_model_name_or_path"]
        if kind != "LORA":
            raise CheckpointError(f"{path} must be of peft_type 'LORA', got {shortened(kind)}. {MERGE}")
        more = [
            f"{name}={shortened(settings[name])}" for name, plain in PLAIN.items() if settings.get(name) not in plain
        ]
        if more:
            raise CheckpointError(f"{path} asks for more than low-rank updates: {listed(more)}. {MERGE}")
        if not isinstance(base, str) or not base.isprintable() or not base or _is_file_or_missing(base):
            got = shortened(base)
            raise CheckpointError(
                f"{path} must name its base, a folder or a Hub id, in base_model_name_or_path: {got}."
            )
        for name, opener in OPENERS.items():
            weights = find_file(source, name, **hub_options)
            if weights is not None:
                stored = {
                    PEFT_WRAPPER.sub("", key.removeprefix(PREFIX)): value
                    for key, value in opener(weights).items()
                    if ORIGINAL not in key
                }
                return cls(path, weights, settings, stored)
        raise CheckpointError(f"{source} has {ADAPTER_CONFIG}, and none of {', '.join(OPENERS)}.")

    @property
    def base(self) -> str:
        """Name of the checkpoint that the adapter was trained on."""
        return str(self.settings["base_model_name_or_path"])

    def fields(self, config: DistilBertConfig) -> dict[str, Any]:
        """Return the fields of the configuration that differ from the base, because whole layers were trained."""
        rows = {name: x.shape[0] for name, x in self.tensors.items() if len(x.shape) == 2 and "lora_" not in name}
        fields: dict[str, Any] = {"architectures": None} if rows else {}  # its head may differ from that of the base
        for name, count in rows.items():
            if name == "classifier.weight" and self.settings.get("task_type") in LABELLED:
                fields["num_labels"] = count
            elif name.endswith("embeddings.word_embeddings.weight"):
                fields["vocab_size"] = count
        return {name: value for name, value in fields.items() if value != getattr(config, name)}

    def merge(self, base: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
        """Return the tensors of the base by canonical name, with the updates of the adapter added.

        Raises:
            CheckpointError: The adapter does not fit the base, or has an unknown entry.
        """
        merged = dict(base)
        updates: dict[str, dict[str, LazyTensor]] = {}
        for name, tensor in self.tensors.items():
            low_rank, bias = LOW_RANK.fullmatch(name), BIAS.fullmatch(name)
            if low_rank:
                updates.setdefault(low_rank[1], {})[low_rank[2]] = tensor
            elif bias:
                updates.setdefault(bias[1], {})["bias"] = tensor
            elif "lora_" in name or "." not in name:
                raise CheckpointError(f"{self.weights} holds {name}, which is not of a low-rank update. {MERGE}")
            else:
                merged[_entry(name, base) or name] = tensor
        for module, update in updates.items():
            kernel, shift = (_entry(f"{module}.{leaf}", merged) for leaf in ("weight", "bias"))
            if kernel is None or not {"A", "B"} <= update.keys() or ("bias" in update and shift is None):
                raise CheckpointError(f"{self.weights} does not fit {self.base}: nothing to update at {module}.")
            scale = self._scale(module, next(iter(update["A"].shape), 0))
            swapped = f"{module}.lora_embedding_A" in self.tensors
            merged[kernel] = self._updated(kernel, merged[kernel], update, scale, swapped)
            if shift is not None and "bias" in update:
                if merged[shift].shape != update["bias"].shape:
                    raise CheckpointError(f"{self.weights} does not fit {self.base}: the bias of {module}.")
                merged[shift] = _sum(merged[shift], update["bias"], scale)
        return merged

    def _scale(self, module: str, rank: int) -> float:
        """Return the scale of a low-rank update."""
        patterns = self.settings.get("alpha_pattern") or {}
        try:
            check_limit("patterns", len(patterns), "alpha_pattern", ValueError)
            matching = [alpha for key, alpha in patterns.items() if _matches(key, module)]
            alpha = float(matching[0] if matching else self.settings.get("lora_alpha"))  # type: ignore[arg-type]
            if not math.isfinite(alpha) or not rank:
                raise ValueError(f"alpha is {alpha}, the rank of {module} {rank}")
        except (re.error, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = found(error)
            raise CheckpointError(f"{self.path} has an invalid lora_alpha or alpha_pattern ({reason}).") from error
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)

    def _updated(
        self, name: str, base: LazyTensor, update: Mapping[str, LazyTensor], scale: float, swapped: bool
    ) -> LazyTensor:
        a, b = update["A"], update["B"]
        shape = (*b.shape[:1], *a.shape[-1:])
        if (
            len(a.shape) != 2
            or len(b.shape) != 2
            or b.shape[1:] != a.shape[:1]
            or base.shape != (shape[::-1] if swapped else shape)
        ):
            raise CheckpointError(
                f"{self.weights} does not fit {self.base}: an update of shapes {b.shape} and {a.shape} for {name}, "
                f"which is {base.shape}."
            )

        def read() -> np.ndarray:
            product = _wide(b.read()) @ _wide(a.read())
            array = base.read()
            return (_wide(array) + scale * (product.T if swapped else product)).astype(array.dtype)

        return replace(base, read=read)


def _is_file_or_missing(base: str) -> bool:
    """Return whether a base is a file, which peft never names, or a full path of nothing."""
    try:
        return Path(base).is_file() or (Path(base).is_absolute() and not Path(base).is_dir())
    except OSError:  # the name is too long
        return True


def _matches(pattern: str, module: str) -> bool:
    """Return whether a key of alpha_pattern, the end of a module's name, names a module.

    The key may be a regular expression. One in which a repeated part has repeated or alternative parts is refused, as
    it can take longer than the universe exists.
    """
    if PLAIN_NAME.fullmatch(pattern):
        return f".{module}".endswith(f".{pattern}")
    check_limit("pattern_characters", len(pattern), "a key of alpha_pattern", ValueError)
    plain = SET.sub("x", pattern)
    if REPETITION.search(plain) or len(REPEATED.findall(plain)) > MOST_REPEATED:
        raise ValueError(f"{shortened(pattern)} is too complex")
    return re.match(rf"(.*\.)?({pattern})$", module) is not None


def _sum(base: LazyTensor, change: LazyTensor, scale: float) -> LazyTensor:
    def read() -> np.ndarray:
        array = base.read()
        return (_wide(array) + scale * _wide(change.read())).astype(array.dtype)

    return replace(base, read=read)


def _wide(array: np.ndarray) -> np.ndarray:
    """Return an array in float32, or in float64 if it has this dtype."""
    return array.astype(np.result_type(array.dtype, NUMPY_DTYPES["float32"]))


def _entry(name: str, tensors: Mapping[str, LazyTensor]) -> str | None:
    """Return the name of a parameter in a checkpoint, with or without the prefix of the base model, or None."""
    return next((entry for entry in entry_names(name) if entry in tensors), None)
