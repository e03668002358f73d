"""The public names of Transformers' DistilBERT: classes, attributes, methods and arguments.

`signatures.json` says for each class of `CLASSES` what it has beside the base that is named in it:

    attributes: name -> value of a plain class attribute or of a fresh configuration, else null
    methods: name -> argument -> default ("required" if there is none)

Public names have no underscore in front and are defined by Transformers, not by torch, tf_keras or Flax.
`options` of a pipeline are what its constructor and its calls both take. Names of text generation are left out:
DistilBERT cannot generate.
"""

import ast
import inspect
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import tf_keras
import torch
import transformers
from transformers import modeling_flax_outputs, modeling_outputs, modeling_tf_outputs, pipelines
from transformers.models.distilbert.modeling_flax_distilbert import FlaxDistilBertPreTrainedModel
from transformers.pipelines.question_answering import QuestionAnsweringArgumentHandler
from transformers.utils import ModelOutput

FILE_NAME = "signatures.json"

SIZES = {"vocab_size": 30, "dim": 8, "n_heads": 2, "hidden_dim": 16, "n_layers": 1, "max_position_embeddings": 16}
# Special attributes of a tokenizer are made by `__getattr__`.
TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
TOKEN_ATTRIBUTES = [f"{name}_token{end}" for name in TOKENS for end in ("", "_id")]
TOKEN_ATTRIBUTES += ["additional_special_tokens", "additional_special_tokens_ids"]
HEADS = ("ForMaskedLM", "ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification")
HEADS += ("ForQuestionAnswering", "Model")
PIPELINES = ("TextClassification", "TokenClassification", "QuestionAnswering", "FillMask", "FeatureExtraction")
PIPELINES += ("ZeroShotClassification",)
OUTPUTS = ("BaseModelOutput", "MaskedLMOutput", "SequenceClassifierOutput", "MultipleChoiceModelOutput")
OUTPUTS += ("TokenClassifierOutput", "QuestionAnsweringModelOutput")
# Prefix of the classes of a framework, where their outputs are, and the framework's own class of a model.
FRAMEWORKS: dict[str, tuple[str, Any, type]] = {
    "pt": ("", modeling_outputs, torch.nn.Module),
    "tf": ("TF", modeling_tf_outputs, tf_keras.Model),
    "flax": ("Flax", modeling_flax_outputs, object),
}

# Of a class that has no counterpart here, only the name is of interest.
NAME_ALONE: dict[str, dict[str, Any]] = {"attributes": {}, "methods": {}}


def is_theirs(owner: type) -> bool:
    """Whether Transformers defines a class, and not for generating text."""
    return owner.__module__.startswith("transformers.") and ".generation" not in owner.__module__


def plain(value: Any) -> str | None:
    """A value as text, or None if it is not a plain one."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return repr(value)
    if isinstance(value, (list, tuple, set, dict)) and len(repr(value)) < 100:
        return repr(value) if all(isinstance(item, (str, int)) for item in value) else None
    return None


def default(value: Any) -> str:
    """The default of an argument as text that is the same in every process."""
    if value is inspect.Parameter.empty:
        return "required"
    return plain(value) or getattr(value, "__qualname__", None) or type(value).__name__


def popped(function: Callable[..., Any], keywords: str) -> Iterator[tuple[str, str]]:
    """The arguments that a function takes out of its `**keywords` by name, with their defaults."""
    source = inspect.getsource(function)
    for node in ast.walk(ast.parse(f"if True:\n{source}" if source[0].isspace() else source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="pop" | "get"), args=[ast.Constant(str(name)), *rest]
            ) if owner == keywords:
                yield name, ast.unparse(rest[0]) if rest else "None"
            case ast.Compare(left=ast.Constant(str(name)), ops=[ast.In()], comparators=[ast.Name(id=owner)]) if (
                owner == keywords
            ):
                yield name, "None"


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """The public arguments of a function: those of its signature, then those it takes out of its keywords."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= dict(popped(inspect.unwrap(function), name))
        elif parameter.kind is not parameter.VAR_POSITIONAL and name not in ("self", "cls"):
            found[name] = default(parameter.default)
    return public(found)


def public(found: dict[str, str]) -> dict[str, str]:
    """The arguments without an underscore in front, and one that scripts for Flax have all the same."""
    return {name: value for name, value in found.items() if not name.startswith("_") or name == "_do_init"}


def inherited_arguments(cls: type, method: str) -> dict[str, str]:
    """The arguments of a method, and of the same methods of the bases for as long as it passes keywords on."""
    found: dict[str, str] = {}
    for owner in cls.__mro__:
        function = vars(owner).get(method)
        if isinstance(function, FunctionType) and is_theirs(owner):
            further = arguments(function)
            if found:  # what a base insists on is given by the class itself
                further = {name: value for name, value in further.items() if value != "required"}
            found |= {name: value for name, value in further.items() if name not in found}
            if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
                break
    return found


def instance_attributes(instance: Any, framework_class: type) -> dict[str, str | None]:
    """What the constructor of Transformers' class sets."""
    names = set(vars(instance)) - set(vars(framework_class())) if framework_class is not object else set(vars(instance))
    for further in ("_modules", "_buffers"):
        names |= set(vars(instance).get(further, ()))
    return dict.fromkeys(names)


def members(cls: type, instance: Any = None, framework_class: type = object) -> dict[str, dict[str, Any]]:
    """Attributes and methods of a class."""
    attributes: dict[str, str | None] = {} if instance is None else instance_attributes(instance, framework_class)
    methods: dict[str, dict[str, str]] = {}
    for name in dir(cls):
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        if not is_theirs(owner) or name in ("__init__", "__call__"):
            continue
        value = inspect.getattr_static(cls, name)
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, type) or not callable(value):
            attributes[name] = plain(value)
        else:
            methods[name] = arguments(value)
    for name in ("__init__", "__call__"):
        if found := inherited_arguments(cls, name):
            methods[name] = found
    return {
        "attributes": {name: value for name, value in attributes.items() if not name.startswith("_")},
        "methods": {
            name: found
            for name, found in methods.items()
            if not name.startswith("_") or name in ("__init__", "__call__")
        },
    }


def config_members() -> dict[str, dict[str, Any]]:
    """Those of the configuration; a fresh one says the values of its attributes."""
    cls = transformers.DistilBertConfig
    config = cls()
    found = members(cls, config)
    names = set(found["attributes"]) - set(cls._get_global_generation_defaults())
    found["attributes"] = {name: plain(getattr(config, name)) for name in names if name != "transformers_version"}
    found["attributes"]["transformers_version"] = None
    for further in ("_get_config_dict", "from_dict"):  # what `from_pretrained` passes its keywords on to
        found["methods"]["from_pretrained"] |= dict(popped(getattr(cls, further), "kwargs"))
    found["methods"]["from_pretrained"] = public(found["methods"]["from_pretrained"])
    return found


def tokenizer_members(cls: type, folder: Path) -> dict[str, dict[str, Any]]:
    """Those of a tokenizer, with its special tokens."""
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")))
    found = members(cls, cls(str(vocabulary)))
    found["attributes"] |= dict.fromkeys(TOKEN_ATTRIBUTES)
    return found


def pipeline_members(cls: type, instance: Any) -> dict[str, dict[str, Any]]:
    """Those of a pipeline, with the options that its constructor and its calls take."""
    found = members(cls, instance)
    found["methods"]["options"] = arguments(cls._sanitize_parameters)
    if cls is pipelines.QuestionAnsweringPipeline:  # its calls take questions by names that its signature lacks
        del found["methods"]["__call__"]["inputs"]
        found["methods"]["__call__"] |= dict(popped(QuestionAnsweringArgumentHandler.__call__, "kwargs"))
    return found


def output_members(cls: type) -> dict[str, dict[str, Any]]:
    """The fields of an output."""
    return {"attributes": dict.fromkeys(cls.__dataclass_fields__), "methods": {}}


def collect(folder: Path) -> dict[str, dict[str, Any]]:
    """All classes by name: the group that they are in, and all their members.

    Args:
        folder: For a vocabulary.
    """
    config = transformers.DistilBertConfig(**SIZES)
    groups: dict[str, dict[str, dict[str, Any]]] = {
        "config": {"DistilBertConfig": config_members(), "DistilBertOnnxConfig": NAME_ALONE},
        "encoding": {"BatchEncoding": members(transformers.BatchEncoding, transformers.BatchEncoding())},
        "tokenizer": {
            name: tokenizer_members(getattr(transformers, name), folder)
            for name in ("DistilBertTokenizer", "DistilBertTokenizerFast")
        },
    }
    for framework, (prefix, outputs, framework_class) in FRAMEWORKS.items():
        groups[framework] = {}
        for head in (*HEADS, "PreTrainedModel"):
            name = f"{prefix}DistilBert{head}"
            cls = FlaxDistilBertPreTrainedModel if name.startswith("FlaxDistilBertPre") else getattr(transformers, name)
            instance = None if head == "PreTrainedModel" else cls(config)
            groups[framework][name] = members(cls, instance, framework_class)
        groups[f"{framework}-output"] = {
            name: output_members(getattr(outputs, name))
            for name in (prefix + name for name in OUTPUTS)
            if hasattr(outputs, name)
        }
    groups["tf"]["TFDistilBertMainLayer"] = NAME_ALONE
    groups["output"] = {"ModelOutput": members(ModelOutput)}
    groups["pipeline"] = {"pipeline": {"attributes": {}, "methods": {"__call__": arguments(transformers.pipeline)}}}
    tokenizer = transformers.DistilBertTokenizerFast(str(folder / "vocab.txt"))
    for task in PIPELINES:
        cls = getattr(pipelines, f"{task}Pipeline")
        model = transformers.DistilBertForSequenceClassification(config)
        if task in ("TokenClassification", "QuestionAnswering"):
            model = getattr(transformers, f"DistilBertFor{task}")(config)
        elif task == "FillMask":
            model = transformers.DistilBertForMaskedLM(config)
        instance = cls(model=model, tokenizer=tokenizer)
        groups["pipeline"][cls.__name__] = pipeline_members(cls, instance)
    return {name: {"group": group, **found} for group, classes in groups.items() for name, found in classes.items()}


def base_of(name: str, classes: dict[str, dict[str, Any]]) -> str | None:
    """The class that another one is written down against: the one that most of its members come from."""
    group = classes[name]["group"]
    if group in FRAMEWORKS and not name.endswith(("PreTrainedModel", "MainLayer")):
        return next(
            other for other in classes if other.endswith("PreTrainedModel") and classes[other]["group"] == group
        )
    bases = {"DistilBertTokenizerFast": "DistilBertTokenizer"}
    if group == "pipeline" and name not in ("pipeline", "FeatureExtractionPipeline"):
        return "FeatureExtractionPipeline"
    return bases.get(name)


def differences(found: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """What a class has beside its base, and which names of the base it lacks."""
    written: dict[str, Any] = {}
    lacking = []
    for kind in ("attributes", "methods"):
        written[kind] = {
            name: value for name, value in sorted(found[kind].items()) if base[kind].get(name, "lacking") != value
        }
        lacking += sorted(set(base[kind]) - set(found[kind]))
    return written | {"lacking": lacking}


def write_signature_fixture(out: Path) -> None:
    """Write the names of all classes to a file in `out`."""
    with tempfile.TemporaryDirectory() as folder:
        classes = collect(Path(folder))
    written = {}
    for name, found in sorted(classes.items()):
        base = base_of(name, classes)
        written[name] = {
            "group": found["group"],
            "base": base,
            **differences(found, classes[base] if base else NAME_ALONE),
        }
    (out / FILE_NAME).write_text(json.dumps(written, indent=1) + "\n")
