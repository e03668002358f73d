"""Presets of KerasHub's DistilBERT: a folder with the backbone, and the text classifier or the masked LM on it.

The classifier's head computes the same as here. The layer norm of the masked-LM head has another epsilon; a note says
so. Configuration fields that KerasHub lacks (label names, the problem type, ...) are kept in metadata.json, which
KerasHub ignores. Parts of a tokenizer that a preset cannot hold, and settings of a preset that have no counterpart
here, are dropped, with a note for each.
"""

from __future__ import annotations

from distilbert_core.model.config import CONFIG_FILE
from distilbert_core.model.layouts import LAYOUTS
from weight_conversion.formats.base import Format
from weight_conversion.formats.keras_files import WEIGHTS, keras_name
from weight_conversion.formats.kerashub.preset import (
    METADATA,
    PREPROCESSOR,
    TASK,
    TASK_WEIGHTS,
    TOKENIZER,
    VOCABULARY,
)
from weight_conversion.formats.kerashub.reading import is_preset, open_preset, read_config, unread
from weight_conversion.formats.kerashub.tokenizer import sidecars
from weight_conversion.formats.kerashub.writing import layout_files, unwritten

FORMAT = Format(
    name="kerashub",
    title="preset of KerasHub",
    file=WEIGHTS,
    layout=LAYOUTS["keras"],
    stored_name=keras_name,
    open=open_preset,
    split=False,
    optional_files=(CONFIG_FILE, METADATA, TASK, TASK_WEIGHTS, PREPROCESSOR, TOKENIZER, VOCABULARY),
    before=("keras-weights",),  # which matches every file of this name
    matches=is_preset,
    read_config=read_config,
    sidecars=sidecars,
    unread=unread,
    unwritten=unwritten,
    layout_files=layout_files,
)
