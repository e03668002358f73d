"""Training, the same in all backends: `finetune` and `evaluate` from files, `load_trainer` step by step."""

from distilbert_core.training.finetuning import evaluate, finetune
from distilbert_core.training.preparing import prepare
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.run import Progress
from distilbert_core.training.tasks import TASKS
from distilbert_core.training.trainer import Trainer, load_trainer

__all__ = ["TASKS", "Progress", "Recipe", "Trainer", "evaluate", "finetune", "load_trainer", "prepare"]
