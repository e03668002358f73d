"""The outputs of models: one set of types for all frameworks, with the field names of Transformers.

An output is a dict of the fields that are not None, in a fixed order. It can be read as an object (`out.logits`), a
dict (`out["logits"]`) and, by index or slice, a tuple (`out[0]`, `out[:2]`, `out.to_tuple()`). Each backend registers
the types with the tree library of its framework, by `tree_flatten` and `tree_unflatten`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

# Keywords of a call that returns only the predictions of the head, by name, for every configuration.
PLAIN_OUTPUTS = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}


class ModelOutput(dict[str, Any]):
    """Base of all outputs. A field that is None is not in the dict and reads as None.

    Further entries can be set by key, as in any dict; they follow the fields.

    Raises:
        TypeError: A keyword is not a field of this output.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *items: Any, **named: Any):
        values = dict(*items, **named)  # as for any dict: TensorFlow's tf.nest rebuilds an output from pairs
        unknown = sorted(values.keys() - set(self.fields))
        if unknown:
            raise TypeError(self._lacks(", ".join(unknown)))
        super().__init__((name, values[name]) for name in self.fields if values.get(name) is not None)

    def __getattr__(self, name: str) -> Any:
        if name in self.fields or name in self:
            return self.get(name)
        raise AttributeError(self._lacks(name))

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __setitem__(self, name: str, value: Any) -> None:
        values = {**self, name: value}
        further = {name: values.pop(name) for name in list(values) if name not in self.fields}
        fields = type(self)(values)  # puts a new field in its position
        self.clear()
        self.update(fields | further)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(self._lacks(name))
        self[name] = value

    @classmethod
    def _lacks(cls, name: str) -> str:
        return f"{cls.__name__} has no field {name}; it has {', '.join(cls.fields)}."

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self))

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in order."""
        return tuple(self.values())

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Return the values and their names, in the form that tree libraries expect."""
        return self.to_tuple(), tuple(self)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> Self:
        """Return an output with values under their names. A tree library may pass values of any type, None included."""
        output = cls()
        output.update(zip(names, values, strict=True))
        return output


def _rebuild(cls: type[ModelOutput], values: dict[str, Any]) -> ModelOutput:
    return cls.tree_unflatten(tuple(values), values.values())


class BaseModelOutput(ModelOutput):
    """Output of the base model.

    Fields:
        last_hidden_state: [B, T, D].
        hidden_states: Tuple of [B, T, D]: the embeddings, then each block's output.
        attentions: Tuple of [B, N, T, T], one per block.
    """

    fields = ("last_hidden_state", "hidden_states", "attentions")


class _LossAndLogits(ModelOutput):
    fields = ("loss", "logits", "hidden_states", "attentions")


class MaskedLMOutput(_LossAndLogits):
    """Output of the masked-LM model: `loss` [] and `logits` [B, T, V], `hidden_states`, `attentions`."""


class SequenceClassifierOutput(_LossAndLogits):
    """Output of the sequence classifier: `loss` [] and `logits` [B, L], `hidden_states`, `attentions`."""


class MultipleChoiceModelOutput(_LossAndLogits):
    """Output of the multiple-choice model: `loss` [] and `logits` [B, C], `hidden_states`, `attentions`.

    The hidden states and attentions belong to the B * C flattened texts.
    """


class TokenClassifierOutput(_LossAndLogits):
    """Output of the token classifier: `loss` [] and `logits` [B, T, L], `hidden_states`, `attentions`."""


class QuestionAnsweringModelOutput(ModelOutput):
    """Output of the question-answering model.

    Fields: `loss` [], `start_logits` and `end_logits` [B, T], `hidden_states`, `attentions`.
    """

    fields = ("loss", "start_logits", "end_logits", "hidden_states", "attentions")
