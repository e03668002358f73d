"""Fine-tuning, the same in every framework."""

from distilbert_core.training.recipe import Recipe
from distilbert_core.training.trainer import Trainer, load_trainer

__all__ = ["Recipe", "Trainer", "load_trainer"]
