"""The seeded checkpoints of the pipelines, as folders."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from oracle.pipeline_cases import CHECKPOINTS, SIZES, draw

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, Head, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.pipelines import Pipeline, pipeline

VOCAB = EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt"


def write_checkpoint(name: str, root: Path) -> Path:
    """Write one of the oracle's checkpoints into a folder of its own and return that; once for each root."""
    folder = root / name
    if folder.is_dir():
        return folder
    head = Head(CHECKPOINTS[name].head)
    config = DistilBertConfig(**{**SIZES, **CHECKPOINTS[name].config}, architectures=[head.architecture])
    arrays = {p.name: draw(p.name, p.shape) for p in parameter_table(config, head) if p.tied_to is None}
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode(), "vocab.txt": VOCAB.read_bytes()})
    return folder


@cache
def load(task: str, folder: Path, framework: str) -> Pipeline:
    """A pipeline, loaded once."""
    return pipeline(task, folder, framework=framework)
