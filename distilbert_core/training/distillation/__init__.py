"""Distillation, the same in every framework: `distill` from files, `load_distiller` step by step."""

from distilbert_core.training.distillation.distilling import distill
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.distillation.trainer import Distiller, load_distiller

__all__ = ["DistillationRecipe", "Distiller", "distill", "load_distiller"]
