"""What Keras' `fit`, `evaluate` and `predict` ask of a model beside its call: labels, weights, losses and metrics."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError
from distilbert_core.inputs import check_interval, problem_type
from distilbert_core.parameters import Head
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel

WEIGHT = "sample_weight"  # an argument of a call too, so that it may be among the inputs


def labels_apart(names: tuple[str, ...], x: Any, y: Any = None, weights: Any = None) -> tuple[Any, Any, Any]:
    """Return inputs without labels, the labels, and their weights, as Keras wants to have them.

    Args:
        names: The labels' names.
        x: Inputs. If they are a dict, labels and `sample_weight` may be among them.
        y: Labels: alone, several in a tuple, or in a dict by name; None if they are among the inputs or there are none.
        weights: Weights of the labels, likewise.

    Raises:
        InputError: Labels or weights are given twice, or have other names.
    """
    if isinstance(x, Mapping):
        x = dict(x)  # Keras takes any other mapping, such as a BatchEncoding, for one array
        for argument, value, among in (("y", y, names), (WEIGHT, weights, (WEIGHT,))):
            if value is not None and not x.keys().isdisjoint(among):
                raise InputError(f"{' and '.join(among)} must be among the inputs or given as {argument}, not both.")
        y = {name: x.pop(name) for name in names if name in x} or y
        weights = x.pop(WEIGHT, weights)
    return x, _in_order("y", y, names), _in_order(WEIGHT, weights, names)


def _in_order(argument: str, values: Any, names: tuple[str, ...]) -> Any:
    """Return the values of a dict: the one of the only name, or a tuple of those of several; others as they are."""
    if not isinstance(values, Mapping):
        return values
    if set(values) != set(names):
        raise InputError(f"{argument} must have {' and '.join(names)}, got {', '.join(values)}.")
    return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)


class LabelsApart(keras.utils.PyDataset):
    """The batches of a data set, with labels as y wherever they were.

    Args:
        data: The data set.
        names: The labels' names.
    """

    def __init__(self, data: keras.utils.PyDataset, names: tuple[str, ...]):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.names = data, names

    def __getitem__(self, index: int) -> tuple:
        """Return a batch: inputs, labels, and weights if there are any."""
        return keras.utils.pack_x_y_sample_weight(*_batch_apart(self.names, self.data[index]))

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if they do not end."""
        return self.data.num_batches

    def on_epoch_begin(self) -> None:
        """Tell the data set."""
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the data set."""
        self.data.on_epoch_end()


def _batch_apart(names: tuple[str, ...], batch: Any) -> tuple[Any, Any, Any]:
    return labels_apart(names, *keras.utils.unpack_x_y_sample_weight(batch))


def _sorted_out(name: str) -> Callable:
    """Return one of Keras' methods, whose data have labels as y, wherever they were."""
    method = getattr(keras.Model, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def sorted_out(self: FittedModel, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs)
        if "y" in signature.parameters:
            self._sort_out(given.arguments)
        else:
            given.arguments["x"], _, _ = labels_apart(self.label_names, given.arguments["x"])
        return method(*given.args, **given.kwargs)

    return sorted_out


class FittedModel(TFDistilBertPreTrainedModel):
    """A model with labels that Keras trains, on its task's own loss or on one given to `compile`."""

    label_names: ClassVar[tuple[str, ...]] = ("labels",)
    logit_names: ClassVar[tuple[str, ...]] = ("logits",)

    fit = _sorted_out("fit")
    evaluate = _sorted_out("evaluate")
    predict = _sorted_out("predict")
    train_on_batch = _sorted_out("train_on_batch")
    test_on_batch = _sorted_out("test_on_batch")
    predict_on_batch = _sorted_out("predict_on_batch")

    def _sort_out(self, given: dict[str, Any]) -> None:
        """Move labels and their weights to where Keras looks for them among the arguments of one of its methods.

        Where it finds no labels it drops `sample_weight`, and `class_weight` is dropped too or ends in an IndexError.
        """
        names = self.label_names
        x, y, weights = labels_apart(names, given.get("x"), given.get("y"), given.get(WEIGHT))
        if given.get("class_weight") is not None:
            x, given["class_weight"] = self._for_class_weight(x, y, given["class_weight"])
        if self.loss is None:  # in a graph their values will not be known
            for array in map(np.asarray, [] if weights is None else keras.tree.flatten(weights)):
                check_interval(WEIGHT, array.min(initial=0), array.max(initial=0))
        given |= {"x": x, "y": y, WEIGHT: weights}
        if given.get("validation_data") is not None:
            given["validation_data"] = _batch_apart(names, given["validation_data"])

    def _for_class_weight(self, x: Any, y: Any, class_weight: Mapping[int, float]) -> tuple[Any, dict[int, float]]:
        """Return inputs in which Keras finds the labels, and the weights of all classes; see `_check_classes`."""
        if isinstance(x, tf.data.Dataset):
            _, y, _ = _batch_apart(self.label_names, x.element_spec)
            x = x.map(
                tf.autograph.experimental.do_not_convert(
                    lambda *batch: keras.utils.pack_x_y_sample_weight(*_batch_apart(self.label_names, batch))
                )
            )
        elif isinstance(x, keras.utils.PyDataset):
            x = LabelsApart(x, self.label_names)
            _, y, _ = keras.utils.unpack_x_y_sample_weight(x[0])
        elif not isinstance(x, Mapping | list | tuple | np.ndarray | tf.Tensor):
            return x, dict(class_weight)  # generators and the like, for which Keras refuses weights of classes
        self._check_classes(y)
        classes = max(self.config.num_labels, 2) if self.head is Head.SEQUENCE_CLASSIFICATION else None
        known = range(classes or np.iinfo(np.int32).max)
        unknown = [key for key in class_weight if isinstance(key, bool) or key not in known]
        if unknown or not class_weight:
            raise InputError(
                f"class_weight must have numbers of classes as keys, below {len(known)}; got {class_weight!r}."
            )
        check_interval("class_weight", *(function([*class_weight.values()]) for function in (np.min, np.max)))
        # Of a class that is not named Keras makes 1 in arrays, but an error or 0 in other data.
        return x, {**dict.fromkeys(range(classes or 0), 1.0), **class_weight}

    def _check_classes(self, y: Any) -> None:
        """Raise InputError if labels, given as arrays or their specs, are not what `class_weight` means: a class a row.

        Of labels [B, T] Keras would take the argmax, as if they were the classes of rows written as vectors.
        """
        if y is None:
            raise self._no_labels()
        of_rows = self.head in (Head.SEQUENCE_CLASSIFICATION, Head.MULTIPLE_CHOICE)
        shape = tuple(y.shape) if of_rows and hasattr(y, "shape") else ()
        if self.loss is not None:  # which may take classes as vectors
            fits = 1 <= len(shape) <= 2 and self.config.problem_type != "multi_label_classification"
        else:
            fits = len(shape) == 1 or shape[1:] == (1,)
            if fits and self.head is Head.SEQUENCE_CLASSIFICATION:
                integers = tf.as_dtype(y.dtype).is_integer
                fits = problem_type(self.config, integers) == "single_label_classification"
        if not fits:
            raise InputError(
                "class_weight is for labels that are one class for each row; for others give sample_weight, of the "
                "shape of the labels, such as weights_of_classes[labels]."
            )

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """Return the loss that the model was compiled with, of the logits; the task's own if it had none.

        Args:
            x: Inputs, which may hold the labels.
            y: Labels: alone, in a tuple where a task has two, or in a dict by name. Those in `x` if None.
            y_pred: What `call` returned for `x`.
            sample_weight: What each row, or each label, counts, as in a call.
            training: For a loss given to `compile`; the task's own is the same in both modes.

        Raises:
            InputError: There are no labels, or weights do not fit them.
        """
        logits = self._logits(y_pred)
        _, labels, weights = labels_apart(self.label_names, x, y, sample_weight)
        if labels is None:
            raise self._no_labels()
        if self.loss is not None:
            return super().compute_loss(x, labels, logits, weights, training)
        # `train_on_batch` leaves arrays as they are; Keras gives a list of weights where labels are a list.
        labels = keras.tree.map_structure(tf.convert_to_tensor, labels)
        if weights is not None:
            weights = keras.tree.lists_to_tuples(keras.tree.map_structure(tf.convert_to_tensor, weights))
        own = self.task_loss(logits, labels, weights) / tf.distribute.get_strategy().num_replicas_in_sync
        # Keras' loss is then only that of `add_loss` and of regularizers.
        return own + super().compute_loss(x, labels, logits) if self.losses else own

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Return the loss so far and the metrics that the model was compiled with, of the logits."""
        _, labels, weights = labels_apart(self.label_names, x, y, sample_weight)
        return super().compute_metrics(x, labels, self._logits(y_pred), weights)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take a step on a batch, which is given as to `fit`."""
        return super().train_step(_batch_apart(self.label_names, data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the loss and metrics of a batch, which is given as to `evaluate`."""
        return super().test_step(_batch_apart(self.label_names, data))

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for a batch, of which labels are left out: losses of batches cannot be put in a row."""
        x, _, _ = _batch_apart(self.label_names, data)
        return super().predict_step((x,))

    def _logits(self, y_pred: Any) -> Any:
        if not isinstance(y_pred, Mapping):
            raise InputError("fit and evaluate need outputs with names: set config.return_dict to True.")
        values = tuple(y_pred[name] for name in self.logit_names)
        return values if len(values) > 1 else values[0]

    def _no_labels(self) -> InputError:
        names = " and ".join(f"'{name}'" for name in self.label_names)
        return InputError(f"fit and evaluate need labels: give {names} among the inputs, or as y.")
