"""The tasks of fine-tuning: each reads rows, makes batches of them, and measures the outputs of a model."""

from distilbert_core.training.features import Feature
from distilbert_core.training.tasks.base import TASKS, Row, Task
from distilbert_core.training.tasks.glue import GLUE_TASKS
from distilbert_core.training.tasks.masked_lm import MaskedLM
from distilbert_core.training.tasks.multiple_choice import MultipleChoice
from distilbert_core.training.tasks.question_answering import QuestionAnswering
from distilbert_core.training.tasks.sequence_classification import MultiLabel, Regression, SequenceClassification
from distilbert_core.training.tasks.token_classification import TokenClassification

__all__ = ["GLUE_TASKS", "LOWER_IS_BETTER", "TASKS", "Feature", "Row", "Task"]

LOWER_IS_BETTER = frozenset({"loss"})
TASKS |= {
    task.name: task
    for task in (
        SequenceClassification,
        Regression,
        MultiLabel,
        TokenClassification,
        QuestionAnswering,
        MultipleChoice,
        MaskedLM,
    )
}
