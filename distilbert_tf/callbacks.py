"""Callbacks for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import CARD_FILE
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.model_cards import model_card, table


class ResumeDropout(keras.callbacks.Callback):
    """Restores the state of dropout in a resumed run, which `BackupAndRestore` does not; put it after that callback.

    Each dropout draws from its seed and the number of its draws, one per step of the optimizer. So the model must be
    made after the same `keras.utils.set_random_seed` in both runs, and the data must come in the same order.

    Example:
        >>> import keras
        >>> from distilbert_tf.callbacks import ResumeDropout
        >>> callbacks = [keras.callbacks.BackupAndRestore("backup"), ResumeDropout()]
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Set the number of draws to the number of steps of the optimizer."""
        optimizer = self.model.optimizer
        steps = int(optimizer.iterations) * (optimizer.gradient_accumulation_steps or 1)
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                seed = int(variable.value[0])
                variable.assign([seed, steps])


class KerasMetricCallback(keras.callbacks.Callback):
    """Evaluates a model after every epoch with a function of all predictions, and logs the results.

    Args:
        metric_fn: From (predictions, labels), arrays of all rows, to a dict of numbers. For question answering both are
            dicts by name. Batches of different lengths are filled up with -100.
        eval_dataset: Batches of a `tf.data.Dataset`; or arrays, as `fit` takes them, with `batch_size`.
        output_cols: Names of the outputs to give; the logits if left out.
        label_cols: Names of the labels among the inputs; the labels of the task if left out.
        batch_size: Rows in a batch of arrays.
        predict_with_generate: Must be False, because DistilBERT does not generate.
        use_xla_generation: Must be False.
        generate_kwargs: Ignored.

    Raises:
        InputError: `eval_dataset` is not in batches, or generation is requested.
        TypeError: `metric_fn` does not return a dict.

    Example:
        >>> from distilbert_tf.callbacks import KerasMetricCallback
        >>> accuracy = lambda given: {"accuracy": (given[0].argmax(-1) == given[1]).mean()}
        >>> callback = KerasMetricCallback(accuracy, ({"input_ids": [[5, 6]]}, [1]), batch_size=1)
    """

    def __init__(
        self,
        metric_fn: Callable[[tuple[Any, Any]], Mapping[str, float]],
        eval_dataset: Any,
        output_cols: Sequence[str] | None = None,
        label_cols: Sequence[str] | None = None,
        batch_size: int | None = None,
        predict_with_generate: bool = False,
        use_xla_generation: bool = False,
        generate_kwargs: Any = None,
    ):
        super().__init__()
        if predict_with_generate or use_xla_generation:
            raise InputError("DistilBERT does not generate: leave predict_with_generate and use_xla_generation False.")
        if not isinstance(eval_dataset, tf.data.Dataset):
            if batch_size is None:
                raise InputError("Give batch_size, or a tf.data.Dataset of batches as eval_dataset.")
            eval_dataset = tf.data.Dataset.from_tensor_slices(eval_dataset).batch(batch_size)
        self.metric_fn, self.eval_dataset = metric_fn, eval_dataset
        self.output_cols, self.label_cols = output_cols, label_cols

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the numbers to the logs."""
        predictions: list[dict[str, np.ndarray]] = []
        labels: list[dict[str, np.ndarray]] = []
        outputs = self.output_cols or tuple(getattr(self.model, "logit_names", ("predictions",)))
        for batch in self.eval_dataset:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            names = self.label_cols or tuple(getattr(self.model, "label_names", ("labels",)))
            if self.label_cols is not None or (y is None and isinstance(x, Mapping)):
                y = {name: x[name] for name in names}
                x = {name: value for name, value in x.items() if name not in names}
            if not isinstance(y, Mapping):
                y = dict(zip(names, y if isinstance(y, list | tuple) else [y], strict=True))
            predicted = self.model.predict_on_batch(x)
            if not isinstance(predicted, Mapping):
                predicted = {outputs[0]: predicted}
            predictions.append({name: np.asarray(predicted[name]) for name in outputs})
            labels.append({name: np.asarray(value) for name, value in y.items()})
        measured = self.metric_fn((_joined(predictions), _joined(labels)))
        if not isinstance(measured, Mapping):
            raise TypeError(f"metric_fn must return a dict of numbers by name, got {measured!r}.")
        if logs is not None:
            logs.update(measured)


def _joined(batches: list[dict[str, np.ndarray]]) -> Any:
    """Return arrays of all batches by name, or the only array; rows of different lengths are padded."""
    joined = {}
    for name in batches[0]:
        arrays = [batch[name] for batch in batches]
        if arrays[0].ndim > 1:
            length = max(array.shape[1] for array in arrays)
            arrays = [
                np.pad(
                    array,
                    [(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)],
                    constant_values=IGNORE_INDEX,
                )
                for array in arrays
            ]
        joined[name] = np.concatenate(arrays)
    return joined if len(joined) > 1 else next(iter(joined.values()))


class PushToHubCallback(keras.callbacks.Callback):
    """Saves a model after every epoch, or after every `save_steps` steps, and uploads it to the Hub.

    A model card is saved too, with the losses and metrics of the epochs, unless `output_dir` has one already.

    Args:
        output_dir: Folder to save to.
        save_strategy: 'epoch', 'steps', or 'no' for the end of training only.
        save_steps: Number of steps between two uploads.
        tokenizer: Saved beside the model.
        hub_model_id: Repository; the name of the folder if left out.
        hub_token: Token of the Hub; the token of `hf auth login` if left out.
        checkpoint: Must be False: `keras.callbacks.BackupAndRestore` saves the state of a run.

    Raises:
        InputError: `save_strategy`, `save_steps` or `checkpoint` has another value.
    """

    def __init__(
        self,
        output_dir: str | Path,
        save_strategy: str = "epoch",
        save_steps: int | None = None,
        tokenizer: Any = None,
        hub_model_id: str | None = None,
        hub_token: str | None = None,
        checkpoint: bool = False,
    ):
        super().__init__()
        if save_strategy not in ("epoch", "steps", "no"):
            raise InputError(f"save_strategy must be 'epoch', 'steps' or 'no', got {save_strategy!r}.")
        if save_strategy == "steps" and (not isinstance(save_steps, int) or save_steps < 1):
            raise InputError(f"save_steps must be a positive integer with save_strategy='steps', got {save_steps!r}.")
        if checkpoint:
            raise InputError("checkpoint must be False: use keras.callbacks.BackupAndRestore to resume a run.")
        self.output_dir, self.tokenizer = Path(output_dir), tokenizer
        self.save_strategy, self.save_steps = save_strategy, save_steps or 1
        self.hub_model_id = hub_model_id or self.output_dir.absolute().name
        self.hub_token = hub_token
        self.step = 0
        self.epochs: list[dict[str, float]] = []
        self.writes_card = not (self.output_dir / CARD_FILE).exists()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start counting steps; an epoch may have fewer than `save_steps`."""
        self.step = 0
        self.epochs = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Upload after every `save_steps` steps."""
        self.step += 1
        if self.save_strategy == "steps" and self.step % self.save_steps == 0:
            self._push(f"Training in progress, step {self.step}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Upload after an epoch."""
        self.epochs.append({"epoch": epoch + 1, **(logs or {})})
        if self.save_strategy == "epoch":
            self._push(f"Training in progress, epoch {epoch}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Upload the trained model."""
        self._push("End of training")

    def _push(self, message: str) -> None:
        for part in (self.model, self.tokenizer):
            if part is not None:
                part.save_pretrained(self.output_dir)
        if self.writes_card:
            replace_files(self.output_dir, {CARD_FILE: self._card().encode()})
        from huggingface_hub import HfApi

        api = HfApi(token=self.hub_token)
        repository = api.create_repo(self.hub_model_id, exist_ok=True).repo_id
        api.upload_folder(repo_id=repository, folder_path=self.output_dir, commit_message=message)

    def _card(self) -> str:
        """Return the model card, with a row for each epoch."""
        columns = list(dict.fromkeys(name for epoch in self.epochs for name in epoch))
        rows = [[f"{epoch[name]:.4g}" if name in epoch else "" for name in columns] for epoch in self.epochs]
        sections = {"Training": table(columns, rows)} if rows else {}
        model, config = self.model, self.model.config
        return model_card(self.hub_model_id, model.head, config, base_model=config.name_or_path, sections=sections)
