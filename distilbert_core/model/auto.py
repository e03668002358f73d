"""The `Auto*` names of Transformers: from a checkpoint to an object, for scripts that do not name the architecture.

Every checkpoint that they open is a DistilBERT; another one is an error that says what it is.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from distilbert_core.model.config import DistilBertConfig

Made = TypeVar("Made")


class Auto(Generic[Made]):
    """The base of all `Auto*` names. They have class methods only; the objects are of the class `made`.

    Raises:
        TypeError: The class is called.
    """

    made: ClassVar[Any]

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Raise TypeError: there are no objects of this class."""
        raise TypeError(f"{cls.__name__} is not called: use {cls.__name__}.from_pretrained, which gives the object.")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Made:
        """Load a checkpoint; the arguments are those of `from_pretrained` of the class `made`.

        Args:
            pretrained_model_name_or_path: A folder, an embedded model or a Hub id.
            *args: Further positional arguments.
            **kwargs: Keyword arguments.

        Raises:
            CheckpointError: The checkpoint is missing or damaged, or it is not a DistilBERT.
        """
        made: Made = cls.made.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        return made


class AutoModelOf(Auto[Made]):
    """The base of all names of models."""

    @classmethod
    def from_config(cls, config: DistilBertConfig, **kwargs: Any) -> Made:
        """Make a model with new weights.

        Args:
            config: Its configuration.
            **kwargs: Keyword arguments of the class.

        Raises:
            ConfigError: `config` is of another class, such as a configuration of Transformers.
        """
        made: Made = cls.made(config, **kwargs)
        return made


def auto_model(name: str, made: type[Made]) -> type[AutoModelOf[Made]]:
    """Return the class of a name in Transformers for a class of models.

    Args:
        name: The name, such as 'AutoModelForMaskedLM'.
        made: The class, such as `DistilBertForMaskedLM`.
    """
    doc = f"`{name}` of Transformers: `from_pretrained` and `from_config` give a `{made.__name__}`."
    return type(name, (AutoModelOf,), {"made": made, "__doc__": doc, "__module__": made.__module__.partition(".")[0]})


class AutoConfig(Auto[DistilBertConfig]):
    """`AutoConfig` of Transformers: `from_pretrained` gives a `DistilBertConfig`."""

    made = DistilBertConfig

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> DistilBertConfig:
        """Return a configuration.

        Args:
            model_type: 'distilbert'.
            **kwargs: Its fields.

        Raises:
            ConfigError: Another type of model is named.
        """
        return DistilBertConfig(model_type=model_type, **kwargs)
