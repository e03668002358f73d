"""Distillation without any framework: the texts that a student learns from, and what its teacher said about them."""

from distilbert_core.distillation.recipe import DistillationRecipe
from distilbert_core.distillation.trainer import Distiller, load_distiller

__all__ = ["DistillationRecipe", "Distiller", "load_distiller"]
