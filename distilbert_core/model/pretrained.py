"""`PretrainedModel`: loading, saving, resizing and pruning, written once for the three backends.

A backend's models inherit it and define the hooks of `distilbert_core.model.hooks`.
"""

from __future__ import annotations

from distilbert_core.model.checkpoint_loading import CheckpointLoading
from distilbert_core.model.checkpoint_saving import CheckpointSaving
from distilbert_core.model.resizing import Resizing


class PretrainedModel(CheckpointLoading, CheckpointSaving, Resizing):
    """A model that can be loaded, saved, resized and pruned: the base of all models of all backends."""
