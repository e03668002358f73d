"""A run of fine-tuning: steps, evaluations, the best model kept, and a state from which it goes on after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from distilbert_core.errors import CheckpointError, TrainingError
from distilbert_core.files.atomic import replace_files
from distilbert_core.training.batches import training_order
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.reporting import Log, Silence, draw_curve, training_bar
from distilbert_core.training.tasks import LOWER_IS_BETTER, Feature, Row, Task
from distilbert_core.training.trainer import Trainer

# What is in a run's folder beside the best checkpoint.
RUN_FOLDER = "training"
LOG_FILE, CURVE_FILE, STATE_FILE = "metrics.jsonl", "curve.png", "state.safetensors"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Steps done.
        best: The best value of the metric so far; None before the first evaluation.
        best_step: After how many steps that was.
        worse: Evaluations since then.
        metrics: Metrics of the best model.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    metrics: Metrics = field(default_factory=dict)


class Run:
    """A run that can be stopped after any step and goes on from its last evaluation.

    Args:
        output: Folder of the best model and, in its folder 'training', of all else.
        trainer: The model in training, with the learning rate of each step.
        data: The task.
        features: What to learn from.
        eval_rows: Rows to measure the model on; None: the last model is the best.
        eval_features: What the model is given for them.
    """

    def __init__(
        self,
        output: Path,
        trainer: Trainer,
        data: Task,
        features: Sequence[Feature],
        eval_rows: Sequence[Row] | None,
        eval_features: Sequence[Feature],
    ):
        self.output, self.folder = output, output / RUN_FOLDER
        self.trainer = trainer
        self.data = data
        self.features = features
        self.eval_rows, self.eval_features = eval_rows, eval_features
        self.done = Progress()

    def train(self, progress: bool | None) -> None:
        """Take the steps that are left.

        Args:
            progress: True or False: always or never show a progress bar; None: in a terminal.

        Raises:
            TrainingError: The loss, or a weight, is no number any more.
            OSError: The disk is full.
        """
        recipe, done, steps = self.trainer.recipe, self.done, len(self.trainer.rates)
        every = recipe.steps_between_evaluations(len(self.features))
        order = training_order([feature.size for feature in self.features], recipe.batch_size, recipe.seed)
        order = islice(order, done.step, None)
        writes = self.trainer.rank == 0
        log_file = Log(self.folder / LOG_FILE, done.step) if writes else Silence()
        with log_file as log, training_bar(steps, done.step, progress if writes else False) as bar:
            while done.step < steps and not (recipe.patience and done.worse >= recipe.patience):
                rows = [self.features[i] for i in next(order)]
                batch = self.data.training_batch(rows, [recipe.seed, 1 + done.step])
                losses = self.trainer.take_step(batch, done.step)
                done.step += 1
                if not math.isfinite(losses["loss"]):
                    raise self._error(f"The loss of step {done.step} is {losses['loss']}")
                pause = done.step % every == 0 or done.step == steps
                tokens = int(batch["attention_mask"].sum())
                bar(losses["loss"], tokens)
                log.step(done.step, losses, float(self.trainer.rates[done.step - 1]), tokens, flush=pause)
                if pause:
                    self._pause(log.evaluation)
                    if writes:
                        draw_curve(self.folder / LOG_FILE, self.folder / CURVE_FILE, self.data.metric)

    def _pause(self, report: Callable[[int, Metrics], None]) -> None:
        """Measure the model, keep it if it is the best, and save the state of the run."""
        state = self.trainer.state()
        for name, array in state.items():
            if not np.isfinite(array).all():
                raise self._error(f"After step {self.done.step} {name} is not finite")
        if self.eval_rows is None or self._is_better(report):
            self.done.best_step = self.done.step
            if self.trainer.rank == 0:
                self.trainer.model.save_pretrained(self.output)
                self.data.tokenizer.save_pretrained(self.output)
        if self.trainer.rank == 0:
            self._save_state(state)

    def _is_better(self, report: Callable[[int, Metrics], None]) -> bool:
        """Measure the model, and return whether it is better than all before."""
        assert self.eval_rows is not None
        metrics, done = self.data.evaluate(self.trainer.inference, self.eval_rows, self.eval_features), self.done
        report(done.step, metrics)
        value = -metrics[self.data.metric] if self.data.metric in LOWER_IS_BETTER else metrics[self.data.metric]
        if done.best is not None and value <= done.best:
            done.worse += 1
            return False
        done.best, done.metrics, done.worse = value, metrics, 0
        return True

    def _error(self, problem: str) -> TrainingError:
        kept = f"{self.output} keeps the model of step {self.done.best_step}" if self.done.best_step else "none is kept"
        return TrainingError(
            f"{problem}; {kept}. Try a lower learning_rate, and look for impossible values among the labels."
        )

    def _save_state(self, state: Mapping[str, np.ndarray]) -> None:
        from safetensors.numpy import save_file

        arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
        metadata = {"progress": json.dumps(asdict(self.done))}
        replace_files(self.folder, {STATE_FILE: lambda path: save_file(arrays, path, metadata=metadata)})

    def load_state(self) -> None:
        """Go on from the last evaluation; from the start, if there was none.

        Raises:
            CheckpointError: The state is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE_FILE
        if not path.exists():
            return
        try:
            with safe_open(path, "np") as file:
                self.done = Progress(**json.loads(file.metadata()["progress"]))
                self.trainer.load_state({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged, or of another version: {error!r}.") from error
