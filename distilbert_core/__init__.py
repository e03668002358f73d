"""The framework-neutral core: files, model tables, tokenizers, pipelines and training.

Importing it does not import a deep-learning framework.
"""

from distilbert_core.errors import (
    BackendNotInstalledError,
    CheckpointError,
    CheckpointWarning,
    ConfigError,
    ConfigWarning,
    DistilBertError,
    InputError,
    InputWarning,
    TrainingError,
)
from distilbert_core.files.hub import DEFAULT_MODEL
from distilbert_core.model.auto import AutoConfig
from distilbert_core.model.backends import BACKENDS, available_backends, backend_class, get_backend, load_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.contract import Backend
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from distilbert_core.model.parameters import Kind, Parameter
from distilbert_core.moved import install
from distilbert_core.tokenization import AutoTokenizer, BatchEncoding, DistilBertTokenizer, DistilBertTokenizerFast

__version__ = "0.1.0"
install()  # the import paths of earlier versions

__all__ = [
    "BACKENDS",
    "DEFAULT_MODEL",
    "IGNORE_INDEX",
    "AutoConfig",
    "AutoTokenizer",
    "Backend",
    "BackendNotInstalledError",
    "BaseModelOutput",
    "BatchEncoding",
    "CheckpointError",
    "CheckpointWarning",
    "ConfigError",
    "ConfigWarning",
    "DistilBertConfig",
    "DistilBertError",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "Head",
    "InputError",
    "InputWarning",
    "Kind",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "Parameter",
    "QuestionAnsweringModelOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
    "TrainingError",
    "available_backends",
    "backend_class",
    "get_backend",
    "load_backend",
    "parameter_table",
]
