"""The check of an exported model: its own runtime computes what the checkpoint computes in float64."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.model.backends import BACKENDS, default_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.exported import ExportedInference, open_model
from distilbert_core.model.heads import Head
from weight_conversion.formats.base import Format, Graph, Tensors
from weight_conversion.formats.graphs import checkpoint_folder
from weight_conversion.sentences import SENTENCE_EMBEDDING, Pooling
from weight_conversion.verification.comparing import relative_to
from weight_conversion.verification.computing import compute
from weight_conversion.verification.inputs import make_inputs
from weight_conversion.weights import Weights

# Largest difference of an output, relative to the largest magnitude of that output in float64. Beside each stands the
# largest one measured, on sst2-tiny in all formats, and on small random weights with several heads.
BOUNDS = {
    "float64": 1e-9,  # the bound of `verify`
    "float32": 1e-4,  # 1.1e-6
    "float16": 2e-2,  # 2.7e-4
    "bfloat16": 2e-1,  # not measured: its rounding is eight times that of float16
    "int8": 0.5,  # 3.2e-2; what it costs is a question for --eval
    "static int8": 0.5,  # 4.2e-2
}


def load_graph(graph: Graph, folder: Path, head: Head, config: DistilBertConfig) -> ExportedInference:
    """Load a graph of an exported folder into its runtime.

    Args:
        graph: The graph.
        folder: The folder.
        head: The head of the model.
        config: Its configuration.

    Raises:
        BackendNotInstalledError: The runtime is not installed.
        CheckpointError: The runtime cannot load the file.
    """
    load = partial(load_graph, graph, folder, head, config)
    return ExportedInference(open_model(graph.runtime, head, config, folder / graph.file), graph.runtime.name, load)


def check_export(
    folder: Path, format: Format, weights: Weights, tensors: Tensors, dtype: str, pooling: Pooling | None = None
) -> list[str]:
    """Compare the outputs of exported graphs with those of the checkpoint in float64.

    The inputs are the texts of `verify`, or random ids if the folder has no tokenizer.

    Args:
        folder: The exported folder.
        format: Its format.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        dtype: Dtype of the graphs whose precision is that of the weights.
        pooling: How a graph for padded batches computes `SENTENCE_EMBEDDING`, if it does.

    Returns:
        A sentence for each graph.

    Raises:
        CheckpointError: A runtime cannot run a graph, or an output differs by more than `BOUNDS`.
    """
    head, config = weights.head, weights.config
    inputs, description = make_inputs([folder], config, head)
    backend = default_backend()
    with checkpoint_folder(weights, tensors) as source:
        computed = compute(backend, head, source, "float64", inputs)
    reference = {name: computed[name] for name in head.outputs}
    mask = inputs["attention_mask"] != 0
    if pooling is not None and format.pools:
        hidden = np.zeros((*mask.shape, config.dim))  # [B, T, D]
        hidden[mask] = reference["last_hidden_state"]
        reference[SENTENCE_EMBEDDING] = pooling(np, hidden, mask.astype(np.float64))
    notes = []
    for graph in format.graphs:
        title = f"{graph.file} in {graph.runtime.title}"
        try:
            model = load_graph(graph, folder, head, config)
            outputs = dict(model(**inputs))
            if SENTENCE_EMBEDDING in reference:
                outputs[SENTENCE_EMBEDDING] = model.model.program.run(inputs)[SENTENCE_EMBEDDING]
        except CheckpointError:
            raise
        except Exception as error:  # the runtimes have their own errors
            raise CheckpointError(
                f"{title} cannot run ({type(error).__name__}: {error}), so nothing was written."
            ) from error
        if head.reads_tokens:
            outputs |= {name: outputs[name][mask] for name in head.outputs}
        difference, name = _largest_difference(outputs, reference)
        bound = BOUNDS[graph.precision or dtype]
        measured = f"largest difference {difference:.1e} of the largest value of {name}, at most {bound:.0e} is allowed"
        if not difference <= bound:
            raise CheckpointError(
                f"{title}: {measured}, compared with {BACKENDS[backend].title} in float64 on {description}. Nothing "
                "was written."
            )
        notes.append(f"Checked {title} on {description}: {measured}.")
    return notes


def _largest_difference(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Return the largest relative difference, and the name of its output; NaN is the largest."""
    found = {}
    for name, expected in reference.items():
        with np.errstate(invalid="ignore"):  # infinity minus itself
            absolute = float(np.abs(outputs[name].astype(np.float64) - expected).max())
        found[name] = relative_to(float(np.abs(expected).max()), absolute)
    name = max(found, key=lambda name: (np.isnan(found[name]), found[name]))
    return found[name], name
