"""How a model is called: by arguments, a dict or a list, with Python's lists and ragged tensors among them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from distilbert_core.compatibility import accept
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_tf.arguments import as_inputs, as_tensor, dense, depth, refuse_texts
from distilbert_tf.compatibility import KERAS_2


def _with_prepared_data(name: str) -> Callable[..., Any]:
    """Return a method of `keras.Model` whose data are first prepared by `_prepare_data` of the model."""
    method = getattr(keras.Model, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def with_prepared_data(self: KerasCalls, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **accept(kwargs, KERAS_2))
        self._prepare_data(given.arguments, name)
        return method(*given.args, **given.kwargs)

    return with_prepared_data


class KerasCalls(keras.Model):
    """The calls of a model and of Keras' methods that call it."""

    config: DistilBertConfig
    head: ClassVar[Head | None]

    fit = _with_prepared_data("fit")
    evaluate = _with_prepared_data("evaluate")
    predict = _with_prepared_data("predict")
    train_on_batch = _with_prepared_data("train_on_batch")
    test_on_batch = _with_prepared_data("test_on_batch")
    predict_on_batch = _with_prepared_data("predict_on_batch")

    def _prepare_data(self, given: dict[str, Any], method: str) -> None:
        """Replace lists and ragged tensors among the arguments of a method of Keras.

        Args:
            given: The arguments; changed in place.
            method: The name of the method.
        """
        given["x"] = as_inputs(given.get("x"), self.config.pad_token_id, self._depth)
        if given.get("y") is not None:
            given["y"] = as_tensor("y", given["y"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with its arguments, a dict of them, or a list of them in order.

        Lists of numbers become arrays. Ragged tensors are padded, and `attention_mask` is made unless it is given.

        Raises:
            InputError: The ids are texts.
            TypeError: An argument has another name than those of `call`.
        """
        if args:
            refuse_texts(args[0])
        if args and isinstance(args[0], Mapping) and self._takes_a_dict():
            return super().__call__(dense(args[0], self.config.pad_token_id), *args[1:], **kwargs)
        if args and isinstance(args[0], Mapping):
            args, kwargs = args[1:], {**args[0], **kwargs}
            args = (kwargs.pop("input_ids", None), *args)
        elif args and isinstance(args[0], list | tuple) and not 0 < (depth(args[0]) or 0) <= self._depth:
            args = (*args[0], *args[1:])
        self._refuse_unknown(kwargs)
        if any(isinstance(value, list | tuple | tf.RaggedTensor) for value in (*args, *kwargs.values())):
            args, kwargs = (), dense(self._named(*args) | kwargs, self.config.pad_token_id)
        if not args:
            args = (kwargs.pop("input_ids", None),)
        return super().__call__(*args, **kwargs)

    def _takes_a_dict(self) -> bool:
        """Return whether `call`, of a user's class, takes all inputs as one argument."""
        return "input_ids" not in self._call_arguments() and not self._takes_any_name()

    def _takes_any_name(self) -> bool:
        parameters = inspect.signature(self.call).parameters.values()
        return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise TypeError if an argument, or a column of a data set, is not an argument of `call`."""
        parameters = self._call_arguments()
        unknown = [name for name in names if name not in parameters]
        if unknown and not self._takes_any_name():
            raise TypeError(
                f"{type(self).__name__} got an unexpected keyword argument {', '.join(map(repr, unknown))}: leave it "
                f"out of the inputs, or give it one of the names {', '.join(parameters)}."
            )

    @property
    def _depth(self) -> int:
        """Number of axes of `input_ids`."""
        return 3 if self.head is not None and self.head.has_choices else 2

    def _named(self, *args: Any) -> dict[str, Any]:
        """Return arguments of a call, given in order, by name."""
        return dict(zip(self._call_arguments(), args, strict=False))

    def _call_arguments(self) -> list[str]:
        return list(inspect.signature(self.call).parameters)

    def _open_signature(self, dtype: tf.DType = tf.int64) -> dict[str, tf.TensorSpec]:
        """Return the inputs of an exported graph, of any size: ids, and the mask if `call` takes it."""
        names = [name for name in ("input_ids", "attention_mask") if name in self._call_arguments()]
        return {name: tf.TensorSpec([None] * self._depth, dtype, name=name) for name in names}
