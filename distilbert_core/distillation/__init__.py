"""Distillation, the same in every framework: `distill` from files, `load_distiller` step by step."""

from distilbert_core.distillation.distilling import distill
from distilbert_core.distillation.recipe import DistillationRecipe
from distilbert_core.distillation.trainer import Distiller, load_distiller

__all__ = ["DistillationRecipe", "Distiller", "distill", "load_distiller"]
