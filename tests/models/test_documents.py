"""The examples of Transformers' documents about DistilBERT, with the values of the reference (docs/examples.md).

Their names of the Hub are served by a stand-in: small random checkpoints with the vocabulary of bert-base-uncased.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from distilbert_cli import main
from distilbert_core import AutoTokenizer, DistilBertConfig, Head, InputError
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.pipelines import pipeline
from support.checkpoints import save_random, small_config
from support.commands import stand_in_stdin
from support.comparison import assert_close
from support.frameworks import Framework
from support.hub_server import HubServer, Repository, in_place_of_the_hub
from support.reference import forward, softmax

EMBEDDED = EMBEDDED_MODELS / "sst2-tiny"
TOLERANCE = 1e-4  # of float32; measured: 1.2e-5
POSITIVE, UNCASED, CASED = (
    "distilbert-base-uncased-finetuned-sst-2-english",
    "distilbert-base-uncased",
    "distilbert-base-cased",
)

pytestmark = pytest.mark.filterwarnings("ignore::distilbert_core.CheckpointWarning")  # of new heads

# What differs between the frameworks in the lines of the examples.
IDIOMS = {
    "pt": {
        "prefix": "",
        "tensors": "pt",
        "import": "import torch",
        "placement": ", device_map='auto', attn_implementation='sdpa'",
        "device": ".to(model.device)",
        "where": "torch.where",
        "mask_index": "(inputs.input_ids == tokenizer.mask_token_id)[0].nonzero(as_tuple=True)[0]",
        "at_masks": "logits[0, mask_token_index].argmax(axis=-1)",
        "best": "logits.argmax().item()",
        "one": "torch.tensor([1])",
        "zero": "torch.tensor(0).unsqueeze(0)",
        "positives": "torch.arange(0, logits.shape[-1])[torch.sigmoid(logits).squeeze(dim=0) > 0.5]",
        "several_hot": (
            "torch.sum(torch.nn.functional.one_hot("
            "predicted_class_ids[None, :].clone(), num_classes=num_labels), dim=1).to(torch.float)"
        ),
        "call": "**inputs",
        "choices": "tokenizer([[prompt, choice0], [prompt, choice1]], return_tensors='pt', padding=True)",
        "batch_of_one": "v.unsqueeze(0)",
        "classes": "logits.argmax(-1)",
        "number": "t.item()",
        "start": "outputs.start_logits.argmax()",
        "end": "outputs.end_logits.argmax()",
        "array": "torch.tensor",
    },
    "tf": {
        "prefix": "TF",
        "tensors": "tf",
        "import": "import tensorflow as tf",
        "placement": "",
        "device": "",
        "where": "tf.where",
        "mask_index": "tf.where((inputs.input_ids == tokenizer.mask_token_id)[0])",
        "at_masks": "tf.math.argmax(tf.gather_nd(logits[0], indices=mask_token_index), axis=-1)",
        "best": "int(tf.math.argmax(logits, axis=-1)[0])",
        "one": "tf.constant(1)",
        "zero": "tf.constant(0)[None]",
        "positives": "tf.range(logits.shape[-1])[tf.math.sigmoid(logits[0]) > 0.5]",
        "several_hot": "tf.reduce_sum(tf.one_hot(predicted_class_ids[None], num_labels), axis=1)",
        "choices": "tokenizer([prompt, prompt], [choice0, choice1], return_tensors='tf', padding=True)",
        "call": "inputs",
        "batch_of_one": "tf.expand_dims(v, 0)",
        "classes": "tf.math.argmax(logits, axis=-1)",
        "number": "int(t)",
        "start": "int(tf.math.argmax(outputs.start_logits, axis=-1)[0])",
        "end": "int(tf.math.argmax(outputs.end_logits, axis=-1)[0])",
        "array": "tf.constant",
    },
    "flax": {
        "prefix": "Flax",
        "tensors": "jax",
        "import": "import jax\nimport jax.numpy as jnp",
        "placement": "",
        "device": "",
        "where": "jnp.where",
        "mask_index": "(inputs.input_ids == tokenizer.mask_token_id)[0].nonzero()[0]",
        "at_masks": "logits[0, mask_token_index].argmax(axis=-1)",
        "best": "logits.argmax().item()",
        "one": "jnp.array([1])",
        "zero": "jnp.array(0)[None]",
        "positives": "jnp.arange(logits.shape[-1])[jax.nn.sigmoid(logits[0]) > 0.5]",
        "several_hot": "jax.nn.one_hot(predicted_class_ids[None], num_labels).sum(1)",
        "choices": "tokenizer([prompt, prompt], [choice0, choice1], return_tensors='jax', padding=True)",
        "call": "**inputs",
        "batch_of_one": "v[None, :]",
        "classes": "logits.argmax(-1)",
        "number": "t.item()",
        "start": "outputs.start_logits.argmax()",
        "end": "outputs.end_logits.argmax()",
        "array": "jnp.array",
    },
}

EXAMPLES = {  # head, or variant of a head -> head, lines
    "base model": (
        Head.BASE,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertModel.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("Hello, my dog is cute", return_tensors="{tensors}")
outputs = model(**inputs)
last_hidden_states = outputs.last_hidden_state
""",
    ),
    "features": (
        Head.BASE,
        """
tokenizer = DistilBertTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertModel.from_pretrained("distilbert-base-uncased")
text = "Replace me by any text you'd like."
inputs = tokenizer(text, return_tensors="{tensors}")
outputs = model({call})
""",
    ),
    "masked-lm": (
        Head.MASKED_LM,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertForMaskedLM.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("The capital of France is [MASK].", return_tensors="{tensors}")
logits = model(**inputs).logits
mask_token_index = {mask_index}
predicted_token_id = {at_masks}
word = tokenizer.decode(predicted_token_id)
labels = tokenizer("The capital of France is Paris.", return_tensors="{tensors}")["input_ids"]
labels = {where}(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
outputs = model(**inputs, labels=labels)
""",
    ),
    "AutoModelWithLMHead": (
        Head.MASKED_LM,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}AutoModelWithLMHead.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("Hello I'm a [MASK] model.", return_tensors="{tensors}")
outputs = model(**inputs)
""",
    ),
    "sequence-classification": (
        Head.SEQUENCE_CLASSIFICATION,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertForSequenceClassification.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("Hello, my dog is cute", return_tensors="{tensors}")
logits = model(**inputs).logits
predicted_class_id = {best}
word = model.config.id2label[predicted_class_id]
num_labels = len(model.config.id2label)
model = {prefix}DistilBertForSequenceClassification.from_pretrained("distilbert-base-uncased", num_labels=num_labels)
labels = {one}
outputs = model(**inputs, labels=labels)
""",
    ),
    "multi-label": (
        Head.SEQUENCE_CLASSIFICATION,
        """
kind = "multi_label_classification"
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertForSequenceClassification.from_pretrained("distilbert-base-uncased", problem_type=kind)
inputs = tokenizer("Hello, my dog is cute", return_tensors="{tensors}")
logits = model(**inputs).logits
predicted_class_ids = {positives}
num_labels = len(model.config.id2label)
model = {prefix}DistilBertForSequenceClassification.from_pretrained(
    "distilbert-base-uncased", num_labels=num_labels, problem_type=kind
)
labels = {several_hot}
outputs = model(**inputs, labels=labels)
""",
    ),
    "multiple-choice": (
        Head.MULTIPLE_CHOICE,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-cased")
model = {prefix}DistilBertForMultipleChoice.from_pretrained("distilbert-base-cased")
prompt = "In Italy, pizza served in formal settings, such as at a restaurant, is presented unsliced."
choice0 = "It is eaten with a fork and a knife."
choice1 = "It is eaten while held in the hand."
labels = {zero}
encoding = {choices}
inputs = {{k: {batch_of_one} for k, v in encoding.items()}}
outputs = model(**inputs, labels=labels)
""",
    ),
    "token-classification": (
        Head.TOKEN_CLASSIFICATION,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertForTokenClassification.from_pretrained("distilbert-base-uncased")
inputs = tokenizer(
    "HuggingFace is a company based in Paris and New York", add_special_tokens=False, return_tensors="{tensors}"
)
logits = model(**inputs).logits
predicted_token_class_ids = {classes}
word = [model.config.id2label[{number}] for t in predicted_token_class_ids[0]]
labels = predicted_token_class_ids
outputs = model(**inputs, labels=labels)
""",
    ),
    "question-answering": (
        Head.QUESTION_ANSWERING,
        """
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = {prefix}DistilBertForQuestionAnswering.from_pretrained("distilbert-base-uncased")
question, text = "Who was Jim Henson?", "Jim Henson was a nice puppet"
inputs = tokenizer(question, text, return_tensors="{tensors}")
outputs = model(**inputs)
answer_start_index, answer_end_index = {start}, {end}
predict_answer_tokens = inputs.input_ids[0, answer_start_index : answer_end_index + 1]
word = tokenizer.decode(predict_answer_tokens, skip_special_tokens=True)
start_positions, end_positions = {array}([11]), {array}([12])  # "nice puppet"
outputs = model(**inputs, start_positions=start_positions, end_positions=end_positions)
""",
    ),
}

WORDS = {  # example -> what its variable `word` must be: (tokenizer, expected outputs, variables) -> text
    "masked-lm": lambda tokenizer, expected, names: tokenizer.decode(expected["logits"][0, 6].argmax()),
    "sequence-classification": lambda tokenizer, expected, names: (
        f"LABEL_{int(names['logits'][0, 1] > names['logits'][0, 0])}"
    ),
    "token-classification": lambda tokenizer, expected, names: [
        f"LABEL_{index}" for index in expected["logits"][0].argmax(-1)
    ],
    "question-answering": lambda tokenizer, expected, names: tokenizer.decode(
        names["inputs"]["input_ids"][0, expected["start_logits"].argmax() : expected["end_logits"].argmax() + 1],
        skip_special_tokens=True,
    ),
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    """The checkpoints that the documents name."""
    config = small_config(vocab_size=30522, max_position_embeddings=64, num_labels=2, n_layers=1)
    made = {name: files_of(EMBEDDED) for name in (POSITIVE, f"distilbert/{POSITIVE}")}
    for name in (UNCASED, CASED):
        folder = tmp_path_factory.mktemp(name)
        save_random(folder, config, Head.MASKED_LM, seed=1, dtype="float32")
        AutoTokenizer.from_pretrained("sst2-tiny", do_lower_case=name == UNCASED).save_pretrained(folder)
        made[name] = files_of(folder)
    return {name: Repository({"main": files}) for name, files in made.items()}


@pytest.fixture(autouse=True)
def hub(repositories: dict[str, Repository], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with in_place_of_the_hub(monkeypatch, tmp_path) as server:
        server.repositories.update(repositories)
        yield server


def run(framework: Framework, code: str) -> dict[str, Any]:
    """Run the lines of an example with the names that it would import, and return its variables."""
    idioms = IDIOMS[framework.name]
    lines = f"from {framework.package.__name__} import *\n{idioms['import']}\n{code.format(**idioms)}"
    names: dict[str, Any] = {}
    exec(compile(lines, framework.name, "exec"), names)
    return names


def numbers(framework: Framework, tensors: Any) -> dict[str, np.ndarray]:
    return {name: framework.array(tensor) for name, tensor in tensors.items()}


def reference(framework: Framework, model: Any, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    outputs = forward(model.config, model.head, framework.parameters(model), **inputs)
    return {name: value for name, value in outputs.items() if name not in ("hidden_states", "attentions")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_the_values_of_the_reference(framework, name):
    head, code = EXAMPLES[name]
    names = run(framework, code)
    model = names["model"]
    assert type(model) is framework.cls(head)
    labels = {label: names[label] for label in ("labels", "start_positions", "end_positions") if label in names}
    inputs = numbers(framework, {**names["inputs"], **labels})
    expected = reference(framework, model, inputs)
    assert_close(numbers(framework, names["outputs"]), expected, TOLERANCE)
    if name in WORDS:
        assert names["word"] == WORDS[name](names["tokenizer"], expected, names)


# -- pipelines, Auto classes, and the command line -----------------------------------------------------------

LOVE = "I love using Hugging Face Transformers!"


def sentiment_of(text: str) -> tuple[str, float]:
    """The label of the embedded model and its probability, by the reference."""
    names = {"config": DistilBertConfig.from_pretrained("sst2-tiny"), "head": Head.SEQUENCE_CLASSIFICATION}
    inputs = AutoTokenizer.from_pretrained("sst2-tiny")(text, return_tensors="np")
    probabilities = softmax(forward(**names, arrays=load_file(EMBEDDED / "model.safetensors"), **inputs)["logits"][0])
    return names["config"].id2label[int(probabilities.argmax())], float(probabilities.max())


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"dtype": "float32"}, 1e-6),  # measured: 1.2e-7
        ({"torch_dtype": "float16"}, 2e-3),  # the name before version 5; measured: 2.4e-4
    ],
)
@pytest.mark.filterwarnings("ignore:device=0")
def test_the_pipeline_classifies(framework, options, tolerance):
    classifier = pipeline(task="text-classification", model=POSITIVE, device=0, framework=framework.name, **options)
    (answer,) = classifier(LOVE)
    label, score = sentiment_of(LOVE)
    assert answer["label"] == label == "POSITIVE"
    assert answer["score"] == pytest.approx(score, abs=tolerance)


AUTO = """
name = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
tokenizer = AutoTokenizer.from_pretrained(name)
model = {prefix}AutoModelForSequenceClassification.from_pretrained(name{placement})
inputs = tokenizer("I love using Hugging Face Transformers!", return_tensors="{tensors}"){device}
logits = model(**inputs).logits
predicted_class_id = {best}
predicted_label = model.config.id2label[predicted_class_id]
"""


def test_the_auto_class_classifies(framework):
    names = run(framework, AUTO)
    probabilities = softmax(framework.array(names["logits"]).astype(np.float64))[0]
    label, score = sentiment_of(LOVE)
    assert names["predicted_label"] == label
    assert probabilities.max() == pytest.approx(score, abs=1e-6)


def test_the_command_line_classifies(framework, monkeypatch, capsys):
    stand_in_stdin(monkeypatch, f"{LOVE}\n".encode())
    assert main(["predict", "--model", POSITIVE, "--backend", framework.name, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    label, score = sentiment_of(LOVE)
    assert answer["label"] == label
    assert answer["score"] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    "prompt",
    ["Hello I'm a [MASK] model.", "The White man worked as a [MASK].", "The Black woman worked as a [MASK]."],
)
def test_the_pipeline_fills_masks(framework, prompt):
    unmasker = pipeline("fill-mask", model=UNCASED, framework=framework.name)
    answers = unmasker(prompt)
    tokenizer = unmasker.tokenizer
    ids = tokenizer(prompt, return_tensors="np")["input_ids"]
    logits = reference(framework, unmasker.model, {"input_ids": ids})["logits"]
    probabilities = softmax(logits[ids == tokenizer.mask_token_id][0])
    best = [int(token) for token in np.argsort(-probabilities)[:5]]
    assert [answer["token"] for answer in answers] == best
    for answer, token in zip(answers, best, strict=True):
        assert answer["score"] == pytest.approx(probabilities[token], rel=1e-4)
        assert answer["token_str"] == tokenizer.decode([token])
        # The card of the model shows "[CLS] hello i'm a role model. [SEP]", as versions before 3 wrote it.
        assert answer["sequence"] == tokenizer.decode(np.where(ids == 103, token, ids)[0], skip_special_tokens=True)


def test_a_configuration_makes_a_model(framework):
    code = "configuration = DistilBertConfig()\nmodel = {prefix}DistilBertModel(configuration)"
    model = run(framework, code)["model"]
    assert model.config == DistilBertConfig()
    assert (model.config.n_layers, model.config.dim) == (6, 768)
    assert sum(array.size for array in framework.parameters(model).values()) == 66_362_880


# -- the notes, and what is not so ---------------------------------------------------------------------------


def test_segments_need_only_a_separator(framework):
    """There are no token_type_ids; the positions can be selected, which Transformers 4 does not offer."""
    tokenizer = AutoTokenizer.from_pretrained(UNCASED)
    pair = tokenizer("Who?", "Ann.", return_tensors="np")
    assert sorted(pair) == ["attention_mask", "input_ids"]
    joined = tokenizer(f"Who? {tokenizer.sep_token} Ann.", return_tensors="np")
    np.testing.assert_array_equal(pair["input_ids"], joined["input_ids"])
    model = framework.load(Head.BASE, UNCASED)
    inputs = {**pair, "position_ids": np.arange(pair["input_ids"].size)[None, ::-1].copy()}
    assert_close(framework.call(model, **inputs), reference(framework, model, inputs), TOLERANCE)


def test_the_mask_token_has_brackets(framework):
    """Some documents write `<mask>`, the token of RoBERTa: for DistilBERT these are three ordinary words."""
    unmasker = pipeline("fill-mask", model=UNCASED, framework=framework.name)
    assert unmasker.tokenizer.tokenize("<mask>") == ["<", "mask", ">"]
    with pytest.raises(InputError, match=re.escape("[MASK]")):
        unmasker("The capital of France is <mask>.")


def test_positions_outside_of_the_text_have_no_loss(framework):
    """The document gives 14 and 15 for "nice puppet" in a text of 14 tokens; it is at 11 and 12.

    Transformers 4 answers NaN, since no position is left.
    """
    tokenizer = AutoTokenizer.from_pretrained(UNCASED)
    inputs = dict(tokenizer("Who was Jim Henson?", "Jim Henson was a nice puppet", return_tensors="np"))
    assert inputs["input_ids"].shape == (1, 14)
    assert tokenizer.decode(inputs["input_ids"][0, 11:13]) == "nice puppet"
    model = framework.load(Head.QUESTION_ANSWERING, UNCASED)
    positions = {"start_positions": np.array([14]), "end_positions": np.array([15])}
    assert framework.call(model, **inputs, **positions).loss == 0
