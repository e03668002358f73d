"""Inference on an exported model by a runtime, without any of the three frameworks.

A graph takes packed rows (the formats 'onnx', 'onnx-int8' ...), or a padded batch (all others).

Shapes: B texts, T tokens, M tokens of all texts, R packed rows, C slots of a packed row, S outputs of a packed row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.boundary import reading
from distilbert_core.files.hub import find_file, resolve_file, split_hub_options
from distilbert_core.model.batching import token_batches
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import CHUNK_TOKENS, PackedInference
from distilbert_core.model.inputs import check_range, check_shapes
from distilbert_core.model.packing import Packing, Ragged, first_tokens
from distilbert_core.model.runtimes import RUNTIMES, Arrays, Program, Runtime

PACKED_INPUTS = ("input_ids", "position_ids", "segment_ids", "output_tokens")  # inputs of a graph for packed rows
GROUP_TOKENS = 512  # tokens of a group of texts of like length, at most; smaller groups would not keep the cores busy


@dataclass(frozen=True)
class ExportedModel:
    """A model that a runtime has loaded.

    Attributes:
        head: The head of the model.
        config: Its configuration.
        program: Its graph.
    """

    head: Head
    config: DistilBertConfig
    program: Program

    @property
    def is_packed(self) -> bool:
        """Whether the graph takes packed rows."""
        return set(self.program.inputs) == set(PACKED_INPUTS)


class ExportedInference(PackedInference):
    """Inference on an exported model: on packed rows, which have no padding.

    A graph that takes a padded batch gets groups of texts of like length, which have little padding.

    Args:
        model: The model.
        backend: Name of the runtime.
        origin: Loads the model again, for a pickle of the object.
    """

    model: ExportedModel

    def __init__(self, model: ExportedModel, backend: str, origin: partial[ExportedInference]):
        self.backend = backend
        super().__init__(model)
        self.origin = origin

    def __reduce__(self) -> Any:
        return self.origin, ()

    @classmethod
    # One class serves all runtimes, so the runtime is an argument.
    def load(  # type: ignore[override]
        cls, backend: str, head: Head, source: str | Path, **kwargs: Any
    ) -> ExportedInference:
        """Load a folder that `distilbert convert` wrote in a format for these runtimes.

        Args:
            backend: 'onnx', 'openvino' or 'litert'.
            head: The head of the model.
            source: The folder, or a Hub id.
            **kwargs: `device`, `dtype`, `config` in place of the folder's, and options of the Hub.

        Raises:
            BackendNotInstalledError: The runtime is not installed.
            CheckpointError: The file does not exist, is damaged, or was exported with another head.
            InputError: The runtime does not have this device or dtype.
        """
        keywords = dict(kwargs)
        device, dtype = cls.find_device(kwargs.pop("device", None)), kwargs.pop("dtype", None)
        config, (hub_options, unknown) = kwargs.pop("config", None), split_hub_options(kwargs)
        if unknown:  # such as fields of a configuration, which do not change the graph
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
        config = config or DistilBertConfig.from_pretrained(source, **hub_options)
        stored = {head.architecture for head in Head} & set(config.architectures or ())
        if stored and head.architecture not in stored:
            raise CheckpointError(f"{source} was exported as {', '.join(stored)}, which has no {head.architecture}.")
        runtime = RUNTIMES[backend]
        model = open_model(runtime, head, config, _find_model(runtime, source, hub_options), device, dtype)
        return cls(model, backend, partial(cls.load, backend, head, source, **{**keywords, "config": config}))

    def _are_texts(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Return True, or raise InputError for arguments that the runtimes would reject with an error of their own."""
        if not {"input_ids"} <= arrays.keys() <= {"input_ids", "attention_mask"}:
            raise InputError(f"An exported model takes input_ids and attention_mask, got {', '.join(arrays)}.")
        ids = np.asarray(arrays["input_ids"])
        if ids.dtype.kind not in "iu":
            raise InputError(f"input_ids must be integers, got {ids.dtype}.")
        mask = np.asarray(arrays.get("attention_mask", np.ones_like(ids))) != 0
        flat = [x.reshape(-1, x.shape[-1]).shape if self.head.has_choices else x.shape for x in (ids, mask)]
        shapes = dict.fromkeys(("inputs_embeds", "position_ids", "head_mask", "segment_ids", "output_tokens"))
        check_shapes(self.config, {**shapes, "input_ids": flat[0], "attention_mask": flat[1]})
        if not ids.size:
            raise InputError(f"input_ids must hold at least one token, got the shape {ids.shape}.")
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        if not self.head.reads_tokens and not first_tokens(mask)[..., 0].all() and not self.model.is_packed:
            raise InputError("attention_mask must not begin with padding: this graph reads the first token.")
        return True

    def run(self, **arrays: np.ndarray) -> Arrays:
        """Return the outputs of the model, called with input_ids and attention_mask.

        A graph that takes packed rows computes no padding, so outputs at padding are 0.
        """
        if self.model.is_packed:
            return self(**arrays)
        computed = self.model.program.run(arrays)
        return {name: computed[name] for name in self.head.outputs}

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> Arrays:
        """Return the model's outputs for texts without padding; see `Inference.run_ragged`."""
        return (super().run_ragged if self.model.is_packed else self._run_groups)(texts, selected)

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing into rows of the cheapest length."""
        return Packing.of_cheapest_length(lengths, config.dim)

    def run_packed(self, rows: Arrays) -> np.ndarray:
        """Return the outputs of packed rows, computed in chunks of about `CHUNK_TOKENS` tokens."""
        ids = rows["input_ids"]
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        all_tokens = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)  # the graph selects the tokens in any case
        arrays = {name: array.astype(np.int64) for name, array in {"output_tokens": all_tokens, **rows}.items()}
        outputs = []
        for some in np.array_split(np.arange(len(ids)), min(max(round(ids.size / CHUNK_TOKENS), 1), len(ids))):
            named = self.model.program.run({name: array[some] for name, array in arrays.items()})
            values = [named[name] for name in self.head.outputs]
            outputs.append(values[0] if len(values) == 1 else np.stack(values, axis=-1))
        return np.concatenate(outputs)

    def _run_groups(self, texts: Ragged, selected: np.ndarray | None = None) -> Arrays:
        """Return the outputs of a graph that takes a padded batch, for texts padded in groups of like length."""
        self._check_length(texts)
        check_range(
            "input_ids",
            int(texts.ids.min(initial=0)),
            int(texts.ids.max(initial=0)),
            self.config.vocab_size,
            "vocab_size",
        )
        padded = {name: array.astype(np.int64) for name, array in texts.padded(pad_id=0).items()}
        columns = padded["attention_mask"].shape[1]
        lengths = np.maximum(columns - padded["attention_mask"][:, ::-1].argmax(axis=1), 1)  # [B], up to the last token
        values: dict[str, list[Any]] = {}  # the outputs of each text
        for group in token_batches(lengths.tolist(), GROUP_TOKENS):
            arrays = {name: array[group, : lengths[group[0]]] for name, array in padded.items()}
            if self.head.has_choices:
                arrays = {name: array[:, None] for name, array in arrays.items()}
            computed = self.model.program.run(arrays)
            for name in self.head.outputs:
                outputs = computed[name]
                of_texts = values.setdefault(name, [None] * len(lengths))
                for text, output in zip(group, outputs, strict=True):
                    of_texts[text] = output
        if not self.head.reads_tokens:
            return {name: np.stack(of_texts) for name, of_texts in values.items()}
        columns_of = texts.split(texts.position_ids)
        joined = {
            name: np.concatenate([output[real] for output, real in zip(of_texts, columns_of, strict=True)])
            for name, of_texts in values.items()
        }
        return joined if selected is None else {name: array[selected] for name, array in joined.items()}


def open_model(
    runtime: Runtime, head: Head, config: DistilBertConfig, path: Path, device: Any = None, dtype: str | None = None
) -> ExportedModel:
    """Load the file of an exported model into a runtime.

    Args:
        runtime: The runtime.
        head: The head of the model.
        config: Its configuration.
        path: The file.
        device: A device as the runtime names it; None or 'cpu': the CPU.
        dtype: Dtype of the computation; None: the default of the runtime.

    Raises:
        BackendNotInstalledError: The runtime is not installed.
        CheckpointError: The file is damaged, or takes other inputs than models of this package.
        InputError: The runtime does not have this device or dtype.
    """
    with reading(path, "an exported model"):
        program = runtime.open(path, None if device == "cpu" else device, dtype)
    if not {"input_ids"} <= set(program.inputs) <= {*PACKED_INPUTS, "attention_mask"}:
        raise CheckpointError(
            f"{path} takes {', '.join(program.inputs)}; a model of this package takes input_ids and "
            f"attention_mask, or {', '.join(PACKED_INPUTS)}. Export it with distilbert convert."
        )
    return ExportedModel(head, config, program)


def _find_model(runtime: Runtime, source: str | Path, hub_options: dict[str, Any]) -> Path:
    """Return the path of the file that a runtime loads."""
    for group in runtime.files:
        found = [find_file(source, name, **hub_options) for name in group]
        if found[0] is not None and None not in found:
            return found[0]
    names = dict.fromkeys(group[0] for group in runtime.files if len(group) == 1)
    return resolve_file(source, next(iter(names)), **hub_options)
