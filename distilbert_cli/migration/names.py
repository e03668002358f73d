"""The names of Transformers that have a home here, as a table."""

from __future__ import annotations

import re
from pathlib import Path

from distilbert_core.errors import DistilBertError
from distilbert_core.files.json_files import read_json
from distilbert_core.model.config import CONFIG_FILE
from distilbert_core.pipelines import PIPELINE_CLASSES

LIBRARY = "transformers"
PACKAGES = {"": "distilbert_pt", "TF": "distilbert_tf", "Flax": "distilbert_flax"}  # by the prefix of a name
HEADS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")

# Names of DistilBERT -> the module here that has them.
MODELS = {
    f"{prefix}DistilBert{name}": package
    for prefix, package in PACKAGES.items()
    for name in ("Model", "PreTrainedModel", *(f"For{head}" for head in HEADS))
}
MODELS["TFDistilBertMainLayer"] = PACKAGES["TF"]
# Names of Transformers' module of the PyTorch models only.
PARTS = dict.fromkeys(("Embeddings", "FFN", "MultiHeadSelfAttention", "Transformer", "TransformerBlock"), PACKAGES[""])
MODULE_OF_PARTS = "modeling_distilbert"
CORE = dict.fromkeys(("DistilBertConfig", "DistilBertTokenizer", "DistilBertTokenizerFast"), "distilbert_core")
# What Transformers had beside its Keras models, for training.
KERAS = dict.fromkeys(
    ("create_optimizer", "AdamWeightDecay", "WarmUp", "KerasMetricCallback", "PushToHubCallback"), PACKAGES["TF"]
)
# Names that open a checkpoint of any architecture: they move if every checkpoint in the program is a DistilBERT.
AUTO = {
    f"{prefix}AutoModel{name}": package
    for prefix, package in PACKAGES.items()
    for name in ("", "ForPreTraining", "WithLMHead", *(f"For{head}" for head in HEADS))
} | dict.fromkeys(("AutoTokenizer", "AutoConfig"), "distilbert_core")
PIPELINE = "pipeline"
PIPELINES = "distilbert_core.pipelines"
_KINDS = (
    "BaseModel",
    "MaskedLM",
    "SequenceClassifier",
    "MultipleChoiceModel",
    "TokenClassifier",
    "QuestionAnsweringModel",
)
# Output types of the other frameworks -> the one type for all frameworks here.
OUTPUTS = {f"{prefix}{name}Output": f"{name}Output" for prefix in ("TF", "Flax") for name in _KINDS}
# Names that other architectures have too, so that they stay -> the module here with the type that models here need.
SHARED = dict.fromkeys((*OUTPUTS.values(), "ModelOutput", "BatchEncoding"), "distilbert_core") | {
    cls.__name__: PIPELINES for cls in PIPELINE_CLASSES.values()
}
ALWAYS = {**MODELS, **CORE, **KERAS, **dict.fromkeys(OUTPUTS, "distilbert_core")}
HOMES = {**ALWAYS, **AUTO, PIPELINE: PIPELINES}

# Names that have no home here -> what to do.
GONE = {
    "AdamW": "removed from Transformers: use torch.optim.AdamW",
    "TFTrainer": "removed from Transformers long ago: use model.compile and model.fit (docs/keras.md)",
    "TFTrainingArguments": "removed from Transformers long ago: its numbers are arguments of compile and fit",
    "DistilBertOnnxConfig": "use distilbert convert --to onnx",
}
OF_OTHER_FRAMEWORK = re.compile(r"(TF|Flax)[A-Z]\w+")  # Transformers 5 has none of these
# Arguments of from_pretrained that name the framework of the weights: every format is opened without them.
FORMATS = ("from_pt", "from_tf", "from_flax")


def home_of(name: str) -> str | None:
    """Return the module here for the full name of an object in Transformers; None if there is none.

    Example:
        >>> from distilbert_cli.migration.names import home_of
        >>> home_of("transformers.models.distilbert.modeling_tf_distilbert.TFDistilBertModel")
        'distilbert_tf'
    """
    *modules, last = name.split(".")
    if modules[:1] != [LIBRARY]:
        return None
    return PARTS.get(last) if modules[-1] == MODULE_OF_PARTS and last in PARTS else HOMES.get(last)


def advice(name: str) -> str | None:
    """Return what to do instead of an object that has no home here, by its full name; None for other objects.

    Example:
        >>> from distilbert_cli.migration.names import advice
        >>> advice("transformers.AdamW")
        'removed from Transformers: use torch.optim.AdamW'
    """
    library, _, path = name.partition(".")
    last = path.rpartition(".")[2]
    if library != LIBRARY or home_of(name):
        return None
    if OF_OTHER_FRAMEWORK.fullmatch(last):
        return GONE.get(last, "Transformers 5 has no models and tools of this framework, and here is DistilBERT only")
    return GONE.get(last)


def is_distilbert(checkpoint: str, folder: Path) -> bool:
    """Return whether a checkpoint is a DistilBERT: by its name on the Hub, or by config.json in its folder.

    Args:
        checkpoint: Name or path in a program.
        folder: Folder of the program.
    """
    path = folder / checkpoint / CONFIG_FILE
    if path.is_file():
        try:
            return read_json(path, "a configuration", "config").get("model_type") == "distilbert"
        except DistilBertError:
            return False
    return "distilbert" in checkpoint.lower()
