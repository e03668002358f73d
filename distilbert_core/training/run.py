"""A training run: steps, evaluations, the best model so far, and the state from which a stopped run continues."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from distilbert_core.errors import CheckpointError, InputError, TrainingError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reading
from distilbert_core.training.batches import training_order
from distilbert_core.training.engine import Engine
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.reporting import Log, NullLog, draw_curve, training_bar
from distilbert_core.training.tasks import LOWER_IS_BETTER, Feature, Row, Task

# The files of a run, in a folder beside the files of the best checkpoint.
RUN_FOLDER = "training"
LOG_FILE, CURVE_FILE, STATE_FILE = "metrics.jsonl", "curve.png", "state.safetensors"


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
    """A training run. It can be stopped after any step, and continues from its last evaluation.

    Args:
        output: Folder of the best model. Its folder 'training' has the other files of the run.
        engine: The model in training, with the learning rate of each step.
        task: The task.
        features: The features to learn from.
        eval_rows: The rows to evaluate on; None: the last model is the best.
        eval_features: Their features.

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
    ):
        self.output, self.folder = output, output / RUN_FOLDER
        self.engine = engine
        self.task = task
        self.features = features
        self.eval_rows, self.eval_features = eval_rows, eval_features
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
        every = recipe.steps_between_evaluations(len(self.features))
        order = training_order([feature.size for feature in self.features], recipe.batch_size, recipe.seed)
        order = islice(order, progress.step, None)
        writes = engine.division.rank == 0
        log_file = Log(self.folder / LOG_FILE, progress.step) if writes else NullLog()
        with log_file as log, training_bar(steps, progress.step, show_bar if writes else False) as bar:
            while progress.step < steps and not (recipe.patience and progress.worse >= recipe.patience):
                features = [self.features[i] for i in next(order)]
                batch = self.task.training_batch(features, [recipe.seed, 1 + progress.step])
                losses = engine.step(batch, progress.step)
                progress.step += 1
                if not math.isfinite(losses["loss"]):
                    raise self._error(f"The loss of step {progress.step} is {losses['loss']}")
                pause = progress.step % every == 0 or progress.step == steps
                tokens = int(batch["attention_mask"].sum())
                bar(losses["loss"], tokens)
                learning_rate = float(engine.learning_rates[progress.step - 1])
                log.step(progress.step, losses, learning_rate, tokens, flush=pause)
                if pause:
                    self._pause(log.evaluation)
                    if writes:
                        draw_curve(self.folder / LOG_FILE, self.folder / CURVE_FILE, self.task.metric)

    def _pause(self, report: Callable[[int, Metrics], None]) -> None:
        """Evaluate the model, keep it if it is the best, and save the state of the run."""
        state = self.engine.state()
        for name, array in state.items():
            if not np.isfinite(array).all():
                raise self._error(f"After step {self.progress.step} {name} is not finite")
        writes = self.engine.division.rank == 0
        if self.eval_rows is None or self._is_better(report):
            self.progress.best_step = self.progress.step
            if writes:
                self.task.tokenizer.save_pretrained(self.output)  # first: a model then always has its tokenizer
                self.engine.model.save_pretrained(self.output)
        if writes:
            self._save_state(state)

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

    def _save_state(self, state: Mapping[str, np.ndarray]) -> None:
        from safetensors.numpy import save_file

        arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
        metadata = {"progress": json.dumps(asdict(self.progress))}
        replace_files(self.folder, {STATE_FILE: lambda path: save_file(arrays, path, metadata=metadata)})

    def load_state(self) -> None:
        """Continue from the last evaluation; from the start, if there was none.

        Raises:
            CheckpointError: The state is damaged.
        """
        from safetensors import safe_open

        path = self.folder / STATE_FILE
        if not path.exists():
            return
        try:
            with reading(path, "the state of a run"), safe_open(path, "np") as file:
                self.progress = Progress(**json.loads(file.metadata()["progress"]))
                self.engine.load_state({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (CheckpointError, InputError) as error:
            raise CheckpointError(f"{path} is damaged, or of another version: {error!r}.") from error
