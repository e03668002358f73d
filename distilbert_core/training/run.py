"""A training run: steps, evaluations, the best model so far, and the state from which a stopped run continues."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from distilbert_core.errors import CheckpointError, InputError, TrainingError
from distilbert_core.files.boundary import reading
from distilbert_core.training.batches import batch_order
from distilbert_core.training.engine import Engine
from distilbert_core.training.features import Features
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.reporting import Log, NullLog, draw_curve, training_bar
from distilbert_core.training.states import STATE_FILE, States
from distilbert_core.training.tasks import LOWER_IS_BETTER, Feature, Row, Task

# The files of a run, in a folder beside the files of the best checkpoint.
RUN_FOLDER = "training"
SAVE_EVERY = 500  # steps
LOG_FILE, CURVE_FILE = "metrics.jsonl", "curve.png"


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        step: Number of steps done.
        best: The best value of the metric so far; None before the first evaluation.
        best_step: Number of steps after which the best model was saved.
        worse: Number of evaluations since then.
        metrics: Metrics of the best model.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    metrics: Metrics = field(default_factory=dict)


class Run:
    """A training run. It can be stopped after any step, and continues from its last state.

    Args:
        output: Folder of the best model. Its folder 'training' has the other files of the run.
        engine: The model in training, with the learning rate of each step.
        task: The task.
        features: The features to learn from.
        eval_rows: The rows to evaluate on; None: the last model is the best.
        eval_features: Their features.
        save_every: Steps between two states, beside those after evaluations.
        keep_states: Number of states to keep.

    Attributes:
        progress: The progress so far.
    """

    def __init__(
        self,
        output: Path,
        engine: Engine,
        task: Task,
        features: Sequence[Feature],
        eval_rows: Sequence[Row] | None,
        eval_features: Sequence[Feature],
        save_every: int = SAVE_EVERY,
        keep_states: int = 1,
    ):
        self.output, self.folder = output, output / RUN_FOLDER
        self.engine = engine
        self.task = task
        self.features = Features.of(features)
        self.eval_rows, self.eval_features = eval_rows, eval_features
        self.states = States(self.folder, save_every, keep_states)
        self.progress = Progress()

    def train(self, show_bar: bool | None) -> None:
        """Take the steps that are left.

        Args:
            show_bar: True or False: always or never show a progress bar; None: in a terminal.

        Raises:
            TrainingError: The loss, or a parameter, is not a number any more.
            OSError: The disk is full.
        """
        engine, progress = self.engine, self.progress
        recipe, steps = engine.recipe, len(engine.learning_rates)
        every = recipe.steps_between_evaluations(len(self.features), self.features.tokens)
        order = islice(batch_order(self.features, recipe), progress.step, None)
        writes = engine.division.rank == 0
        log_file = Log(self.folder / LOG_FILE, progress.step) if writes else NullLog()
        with log_file as log, training_bar(steps, progress.step, show_bar if writes else False) as bar:
            while progress.step < steps and not (recipe.patience and progress.worse >= recipe.patience):
                features = self.features.select(next(order))
                batch = self.task.training_batch(features, [recipe.seed, 1 + progress.step])
                losses = engine.step(batch, progress.step)
                progress.step += 1
                if not math.isfinite(losses["loss"]):
                    raise self._error(f"The loss of step {progress.step} is {losses['loss']}")
                pause = progress.step % every == 0 or progress.step == steps
                tokens = int(batch["attention_mask"].sum())
                bar(losses["loss"], tokens)
                learning_rate = float(engine.learning_rates[progress.step - 1])
                save = pause or progress.step % self.states.every == 0
                log.step(progress.step, losses, learning_rate, tokens, flush=save)
                state = self._state() if save else {}
                if pause:
                    self._evaluate(log.evaluation)
                if save and writes:
                    self.states.save(state, asdict(progress))
                if pause and writes:
                    draw_curve(self.folder / LOG_FILE, self.folder / CURVE_FILE, self.task.metric)

    def _state(self) -> Mapping[str, np.ndarray]:
        """Return the state of the engine, or raise TrainingError if a number in it is not finite."""
        state = self.engine.state()
        for name, array in state.items():
            if not np.isfinite(array).all():
                raise self._error(f"After step {self.progress.step} {name} is not finite")
        return state

    def _evaluate(self, report: Callable[[int, Metrics], None]) -> None:
        """Evaluate the model, and save it if it is the best."""
        if self.eval_rows is None or self._is_better(report):
            self.progress.best_step = self.progress.step
            if self.engine.division.rank == 0:
                self.task.tokenizer.save_pretrained(self.output)  # first: a model then always has its tokenizer
                self.engine.model.save_pretrained(self.output)

    def _is_better(self, report: Callable[[int, Metrics], None]) -> bool:
        """Evaluate the model, and return whether it is better than all before."""
        assert self.eval_rows is not None
        metrics = self.task.evaluate(self.engine.inference, self.eval_rows, self.eval_features)
        report(self.progress.step, metrics)
        value = -metrics[self.task.metric] if self.task.metric in LOWER_IS_BETTER else metrics[self.task.metric]
        if self.progress.best is not None and value <= self.progress.best:
            self.progress.worse += 1
            return False
        self.progress.best, self.progress.metrics, self.progress.worse = value, metrics, 0
        return True

    def _error(self, problem: str) -> TrainingError:
        best_step = self.progress.best_step
        kept = f"{self.output} keeps the model of step {best_step}" if best_step else "no model has been saved"
        return TrainingError(
            f"{problem}; {kept}. Try a lower learning_rate, and look for impossible values among the labels."
        )

    def load_state(self) -> None:
        """Continue from the last state; from the start, if there is none.

        Raises:
            CheckpointError: The state is damaged.
        """
        loaded = self.states.load()
        if loaded is None:
            return
        state, progress = loaded
        try:
            with reading(self.folder / STATE_FILE, "the state of a run"):
                self.progress = Progress(**progress)
                self.engine.load_state(state)
        except (CheckpointError, InputError) as error:
            raise self.states.damaged(error) from error
