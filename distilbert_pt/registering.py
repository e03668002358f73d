"""The models of this package as those that Transformers 5 itself opens for a DistilBERT."""

from __future__ import annotations

from distilbert_core.model.config import DistilBertConfig
from distilbert_pt import auto

# The names of Transformers 5 -> the class that they open; it has no AutoModelWithLMHead.
CLASSES = {name: getattr(auto, name).made for name in auto.__all__ if name != "AutoModelWithLMHead"}


def register_with_transformers() -> None:
    """Let Transformers open every DistilBERT with the models of this package.

    Afterwards `transformers.AutoModel`, the other `AutoModelFor...`, `transformers.pipeline` with the name of a
    checkpoint, and programs built on them, use these classes for checkpoints whose `model_type` is distilbert, and
    `transformers.AutoConfig` gives `DistilBertConfig`. Tokenizers stay those of Transformers. It counts for the whole
    process, and a second call has no effect.

    Raises:
        ImportError: Transformers is not installed.

    Example:
        >>> import distilbert_pt, transformers  # doctest: +SKIP
        >>> distilbert_pt.register_with_transformers()  # doctest: +SKIP
        >>> transformers.AutoModel.from_pretrained("distilbert-base-uncased")  # doctest: +SKIP
    """
    import transformers

    transformers.AutoConfig.register(DistilBertConfig.model_type, DistilBertConfig, exist_ok=True)
    for name, own in CLASSES.items():
        getattr(transformers, name).register(DistilBertConfig, own, exist_ok=True)
