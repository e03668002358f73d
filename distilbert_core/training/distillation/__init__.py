"""Distillation, the same in all backends: `distill` from files, `load_distiller` step by step."""

from distilbert_core.training.distillation.distilling import distill
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.distillation.trainer import load_distiller

__all__ = ["DistillationRecipe", "distill", "load_distiller"]
