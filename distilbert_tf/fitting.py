"""Labels, weights, losses and metrics for `fit`, `evaluate` and `predict` of Keras."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_interval
from distilbert_core.model.packed_batches import WEIGHT
from distilbert_tf.attention import blocks_at_any_length
from distilbert_tf.keras_private import loss_counted_by
from distilbert_tf.labels import Takes, batch_apart, by_order, labels_apart
from distilbert_tf.losses import check_labels, labels_mean
from distilbert_tf.packing import PackedModel, in_order, refuse_packed_arrays, text_count


class LabelsApart(keras.utils.PyDataset):
    """The batches of a data set, with labels as y even if the inputs contain them.

    Args:
        data: The data set.
        takes: Names and form of the inputs of the model.
    """

    def __init__(self, data: keras.utils.PyDataset, takes: Takes):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.takes = data, takes

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return a batch: inputs, labels, and weights if given."""
        return keras.utils.pack_x_y_sample_weight(*batch_apart(self.takes, self.data[index]))

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if the data set is infinite."""
        return self.data.num_batches

    def on_epoch_begin(self) -> None:
        """Call the hook of the data set."""
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Call the hook of the data set."""
        self.data.on_epoch_end()


OWN_LOSS = ("auto", "auto_with_warning", "passthrough")  # names of the task's own loss in Transformers
_COMPILE = inspect.signature(keras.Model.compile)
_OF_OUTPUTS = {"loss", "loss_weights", "metrics", "weighted_metrics"}  # arguments of `compile`


def _refuse_probabilities(losses: Any) -> None:
    """Raise InputError if a loss given to `compile` takes probabilities: the outputs are logits."""
    for loss in keras.tree.flatten(losses):
        resolved = loss
        if isinstance(loss, str):
            ambiguous = loss.lower() in ("crossentropy", "ce")  # Keras chooses by the labels
            resolved = keras.losses.categorical_crossentropy if ambiguous else keras.losses.get(loss)
        of_logits = getattr(resolved, "from_logits", None)
        if inspect.isfunction(resolved) and "from_logits" in inspect.signature(resolved).parameters:
            of_logits = inspect.signature(resolved).parameters["from_logits"].default
        if of_logits is False:
            name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
            raise InputError(
                f"loss {name} takes probabilities, but the outputs are logits: give one with from_logits=True, "
                "such as keras.losses.SparseCategoricalCrossentropy(from_logits=True), or none for the task's own loss."
            )


class FittedModel(PackedModel):
    """A model with labels that Keras can train, with the task's own loss or a loss given to `compile`."""

    _by_name = False  # whether Keras gets the outputs by name, because losses or metrics are given by name

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure training, as `keras.Model.compile` does; the arguments are the same.

        `loss=None`, Transformers' 'auto' and 'passthrough', and the model's own `compute_loss` or `hf_compute_loss`
        mean the task's own loss. Losses, metrics and loss weights may be dicts by the names of the outputs. A single
        metric of question answering applies to both outputs.

        Raises:
            InputError: An output is unknown, or a loss takes probabilities, while the outputs are logits.

        Example:
            >>> import keras
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertForQuestionAnswering
            >>> model = TFDistilBertForQuestionAnswering(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
            >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            >>> model.compile("adam", loss={"start_logits": loss, "end_logits": loss}, metrics=["accuracy"])
        """
        bound = _COMPILE.bind(self, *args, **kwargs)
        given = bound.arguments
        loss = given.get("loss")
        if (isinstance(loss, str) and loss in OWN_LOSS) or loss in (self.compute_loss, self.hf_compute_loss):
            given["loss"] = None
        if not self._is_derived():  # a user's class may return probabilities
            _refuse_probabilities(given.get("loss"))
        for name in _OF_OUTPUTS & given.keys():
            given[name] = self._of_outputs(name, given[name])
        self._by_name = any(isinstance(given.get(name), Mapping) for name in _OF_OUTPUTS)
        if self._by_name:
            for name in _OF_OUTPUTS & given.keys():
                if isinstance(given[name], list | tuple) and len(given[name]) == len(self.logit_names):
                    given[name] = dict(zip(self.logit_names, given[name], strict=True))
        super().compile(*bound.args[1:], **bound.kwargs)

    compile.__signature__ = _COMPILE  # type: ignore[attr-defined]

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model with the settings that it was saved with."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def _of_outputs(self, argument: str, value: Any) -> Any:
        """Return an argument of `compile`: a value for a single output, a dict or a list for several."""
        names = self.logit_names
        if isinstance(value, Mapping):
            if set(value) <= set(names):
                if len(names) > 1:
                    return dict(value)
                alone = value.get(names[0])
                one_metric = "metrics" in argument and alone is not None and not isinstance(alone, list | tuple)
                return [alone] if one_metric else alone  # Keras takes metrics in a list
            if not self._is_derived():
                raise InputError(f"{argument} must be for {' and '.join(names)}, got {', '.join(value)}.")
        elif "metrics" in argument and len(names) > 1 and isinstance(value, list | tuple) and len(value) == 1:
            [metric] = value
            if isinstance(metric, keras.metrics.Metric):  # a metric for each output
                return {name: [type(metric).from_config(metric.get_config())] for name in names}
            return {name: [metric] for name in names}
        return value

    def _prepare_data(self, given: dict[str, Any], method: str) -> None:
        """Move labels and their weights to the arguments in which Keras expects them.

        Without labels there Keras drops `sample_weight`, and drops `class_weight` or raises IndexError.
        """
        takes = self._takes()
        if not method.endswith("on_batch"):
            refuse_packed_arrays(given.get("x"))
        ordered = in_order(given.get("x"))
        if ordered is not given.get("x"):  # Keras warns of `shuffle` of a data set, True if left out
            given |= {"x": given["x"] if method == "fit" and given.get("shuffle", True) else ordered}
            given |= {"shuffle": False} if method == "fit" else {}
        if method.startswith("predict"):
            given["x"], _, _ = labels_apart(takes, given["x"])
            return
        x, y, weights = labels_apart(takes, given.get("x"), given.get("y"), given.get(WEIGHT))
        if given.get("class_weight") is not None:
            x, given["class_weight"] = self._for_class_weight(x, y, given["class_weight"])
        if self.loss is None:  # a graph does not know their values
            y = self._own_labels(y)
            for array in map(np.asarray, [] if weights is None else keras.tree.flatten(weights)):
                check_interval(WEIGHT, array.min(initial=0), array.max(initial=0))
        given |= {"x": x, "y": y, WEIGHT: weights}
        if given.get("validation_data") is not None:
            given["validation_data"] = batch_apart(takes, in_order(given["validation_data"]))

    def _own_labels(self, y: Any) -> Any:
        """Return labels for the task's own loss: [B, 1] as [B]. Labels of a sequence classifier are checked."""
        if not hasattr(y, "dtype") or self.head.labels_tokens or self._is_derived():
            return y
        y = np.asarray(y)
        if self.head is Head.SEQUENCE_CLASSIFICATION:
            check_labels(self.config, y)
        return y[:, 0] if y.shape[1:] == (1,) else y

    def _for_class_weight(self, x: Any, y: Any, class_weight: Mapping[int, float]) -> tuple[Any, dict[int, float]]:
        """Return inputs with labels as Keras expects them, and the weights of all classes."""
        if isinstance(x, tf.data.Dataset):
            _, y, _ = batch_apart(self._takes(), x.element_spec)
            x = x.map(
                tf.autograph.experimental.do_not_convert(
                    lambda *batch: keras.utils.pack_x_y_sample_weight(*batch_apart(self._takes(), batch))
                )
            )
        elif isinstance(x, keras.utils.PyDataset):
            x = LabelsApart(x, self._takes())
            _, y, _ = keras.utils.unpack_x_y_sample_weight(x[0])
        elif not isinstance(x, Mapping | list | tuple | np.ndarray | tf.Tensor):
            return x, dict(class_weight)  # such as generators, for which Keras refuses class_weight
        self._check_classes(y)
        classes = max(self.config.num_labels, 2) if self.head is Head.SEQUENCE_CLASSIFICATION else None
        known = range(classes or np.iinfo(np.int32).max)
        unknown = [key for key in class_weight if isinstance(key, bool) or key not in known]
        if unknown or not class_weight:
            raise InputError(
                f"class_weight must have indices of classes as keys, below {len(known)}; got {class_weight!r}."
            )
        check_interval("class_weight", *(function([*class_weight.values()]) for function in (np.min, np.max)))
        # For a missing class Keras uses 1 in arrays, but 0 or an error in other data.
        return x, {**dict.fromkeys(range(classes or 0), 1.0), **class_weight}

    def _check_classes(self, y: Any) -> None:
        """Raise InputError if labels, arrays or their specs, are not one class per row, which `class_weight` needs.

        Keras would take the argmax of labels [B, T], as if each row were the one-hot vector of a class.
        """
        if y is None:
            raise self._no_labels()
        of_rows = not self.head.reads_tokens
        shape = tuple(y.shape) if of_rows and hasattr(y, "shape") else ()
        if self.loss is not None:  # a given loss may take one-hot vectors
            fits = 1 <= len(shape) <= 2 and self.config.problem_type != "multi_label_classification"
        else:
            fits = len(shape) == 1 or shape[1:] == (1,)
            if fits and self.head is Head.SEQUENCE_CLASSIFICATION:
                meaning = labels_mean(self.config, y, (shape[0], self.config.num_labels))
                fits = meaning == "single_label_classification"
        if not fits:
            raise InputError(
                "class_weight is for labels that are one class for each row; for others give sample_weight, of the "
                "shape of the labels, such as weights_of_classes[labels]."
            )

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """Return the loss that the model was compiled with, or the task's own loss if there was none.

        Args:
            x: Inputs, which may contain the labels.
            y: Labels: one array, a tuple if a task has two, or a dict by name. The labels in `x` if None.
            y_pred: Output of `call` for `x`.
            sample_weight: Weight of each row, or of each label, as in a call.
            training: Mode of a loss given to `compile`; the task's own loss is the same in both modes.

        Raises:
            InputError: Labels are missing, or weights do not match them.
        """
        if y_pred is None:
            raise InputError(
                "compute_loss takes what Keras gives it, (x, y, y_pred). For labels and logits call hf_compute_loss, "
                "or the model with its labels: model(**inputs, labels=labels).loss."
            )
        logits = self._logits(y_pred)
        _, labels, weights = labels_apart(self._takes(), x, y, sample_weight)
        if labels is None:
            raise self._no_labels()
        if self.loss is not None:
            return super().compute_loss(x, *map(self._named_outputs, (labels, logits, weights)), training)
        # `train_on_batch` does not convert arrays; Keras gives a list of weights if labels are a list.
        labels = keras.tree.map_structure(tf.convert_to_tensor, labels)
        if weights is not None:
            weights = keras.tree.lists_to_tuples(keras.tree.map_structure(tf.convert_to_tensor, weights))
        if tf.is_tensor(labels) and labels.shape.rank is None:  # one graph got both [B] and [B, 1]
            labels = tf.reshape(labels, tf.shape(logits)[:-1])
        own = self.task_loss(logits, labels, weights) / tf.distribute.get_strategy().num_replicas_in_sync
        # The loss of Keras is then the sum of `add_loss` and the regularizers.
        return own + super().compute_loss(x, labels, logits) if self.losses else own

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Return the mean loss so far and the metrics that the model was compiled with."""
        _, labels, weights = labels_apart(self._takes(), x, y, sample_weight)
        logits = self._logits(y_pred)
        if self.head.labels_tokens and text_count(x) is not None:
            # Keras takes the mean over the second axis first, whose size differs between batches.
            logits = tf.reshape(logits, (-1, logits.shape[-1]))
            labels, weights = (None if value is None else tf.reshape(value, (-1,)) for value in (labels, weights))
        return super().compute_metrics(x, *map(self._named_outputs, (labels, logits, weights)))

    def hf_compute_loss(self, labels: Any, logits: Any) -> tf.Tensor:
        """Return the task's own loss [] of labels and logits; for question answering each is a pair or a dict.

        Example:
            >>> import tensorflow as tf
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertForSequenceClassification
            >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
            >>> model = TFDistilBertForSequenceClassification(config)
            >>> print(f"{model.hf_compute_loss(tf.constant([1]), tf.zeros((1, 2))):.4f}")
            0.6931
        """
        if isinstance(labels, Mapping):  # Transformers names them start_position and end_position
            labels = {name if name in self.label_names else f"{name}s": value for name, value in labels.items()}
        labels = keras.tree.map_structure(tf.convert_to_tensor, by_order("labels", labels, self._takes()))
        logits = self._logits(logits) if isinstance(logits, Mapping) else logits
        return self.task_loss(logits, labels)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take a step on a batch in a form that `fit` takes."""
        x, y, weights = batch_apart(self._takes(), data)
        with loss_counted_by(self, text_count(x)):
            return super().train_step((x, y, weights))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the loss and metrics of a batch in a form that `evaluate` takes."""
        x, y, weights = batch_apart(self._takes(), data)
        with blocks_at_any_length(), loss_counted_by(self, text_count(x)):
            return super().test_step((x, y, weights))

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for a batch without its labels: Keras cannot concatenate the losses of batches."""
        x, _, _ = batch_apart(self._takes(), data)
        if text_count(x) is not None and self.head.labels_tokens:
            raise InputError("predict cannot order the tokens of packed rows: give padded batches, or use a pipeline.")
        with blocks_at_any_length():
            return super().predict_step((x,))

    def _named_outputs(self, values: Any) -> Any:
        """Return labels, logits or weights by name if losses or metrics are given by name."""
        if self._by_name and isinstance(values, list | tuple):
            return dict(zip(self.logit_names, values, strict=True))
        return values

    def _logits(self, y_pred: Any) -> Any:
        """Return the logits of an output, or the output itself if a user's class has other outputs."""
        if isinstance(y_pred, Mapping) and y_pred.keys() >= set(self.logit_names):
            values = tuple(y_pred[name] for name in self.logit_names)
            return values if len(values) > 1 else values[0]
        alone = len(self.logit_names) == 1 and not isinstance(y_pred, Mapping | list | tuple)
        if alone or (self._is_derived() and self.loss is not None):
            return y_pred
        raise InputError("fit and evaluate need outputs with names: set config.return_dict to True.")

    def _no_labels(self) -> InputError:
        names = " and ".join(f"'{name}'" for name in self.label_names)
        return InputError(f"fit and evaluate need labels: give {names} among the inputs, or as y.")
