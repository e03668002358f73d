"""A head that the package does not have, added by the recipe of docs/architecture.md: a score for each token.

`PLACES` lists the places that the recipe touches. In the package each class stands in the module that its `__module__`
names here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head, Parameter, parameter_table
from distilbert_core.model.backends import get_backend, load_backend
from distilbert_core.model.loading import load_inference
from distilbert_core.model.outputs import TokenClassifierOutput
from distilbert_core.model.parameters import dense
from support import reference
from support.checkpoints import ragged_mask, random_arrays, save_random, small_config
from support.comparison import assert_close
from weight_conversion import FORMATS, convert, open_weights

PLACES = (
    "distilbert_core/model/heads.py: the layers and the row",
    "distilbert_pt/heads.py: the class",
    "distilbert_tf/heads.py: the class",
    "distilbert_flax/heads.py: the class",
    "distilbert_pt/__init__.py: its name",
    "distilbert_tf/__init__.py: its name",
    "distilbert_flax/__init__.py: its name",
    "tests/support/reference.py: the formula",
    "tests/support/checkpoints.py: labels",
)
TOLERANCE = 1e-12  # float64; measured: 4e-15
GRADIENT_TOLERANCE = 1e-7  # of central differences with a step of 1e-6; measured: 2e-9


def test_the_recipe_touches_few_places() -> None:
    assert len(PLACES) <= 9


# -- distilbert_core/model/heads.py -----------------------------------------------------------------------------


def layers(config: DistilBertConfig) -> Iterator[Parameter]:
    yield from dense("scorer_hidden", of_head=True, hidden=config.dim, embed=config.dim)
    yield from dense("scorer", of_head=True, labels=1, hidden=config.dim)


def define() -> Head:
    return Head(
        value="ForTokenScoring",
        reads="tokens",
        layers=layers,
        outputs=("logits",),
        labels=("labels",),
        output_type=TokenClassifierOutput,
        dropout="qa_dropout",
        keras_name="tf_distil_bert_for_token_scoring",
    )


# -- distilbert_pt/heads.py, distilbert_tf/heads.py, distilbert_flax/heads.py -----------------------------------


def torch_class(row: Head) -> type:
    from torch import nn

    from distilbert_pt.heads import _ModelWithHead
    from distilbert_pt.losses import mean_squared_error

    class DistilBertForTokenScoring(_ModelWithHead):
        __module__ = "distilbert_pt.heads"
        head = row

        def make_head(self, config):
            self.scorer_hidden = nn.Linear(config.dim, config.dim)
            self.scorer = nn.Linear(config.dim, 1)
            self.dropout = nn.Dropout(self.head.dropout_rate(config))

        def head_logits(self, hidden):
            return self.scorer(self.dropout(self.scorer_hidden(hidden).relu()))

        def task_loss(self, logits, labels, weights=None):
            return mean_squared_error(logits, labels, weights)

    return DistilBertForTokenScoring


def keras_class(row: Head) -> type:
    import keras
    from keras import ops

    from distilbert_tf.heads import _ModelWithHead
    from distilbert_tf.losses import mean_squared_error

    @keras.saving.register_keras_serializable("distilbert")
    class TFDistilBertForTokenScoring(_ModelWithHead):
        __module__ = "distilbert_tf.heads"
        head = row

        def make_head(self, config, factory):
            self.scorer_hidden = factory.dense("scorer_hidden", config.dim, config.dim)
            self.scorer = factory.dense("scorer", config.dim, 1)
            self.dropout = factory.dropout(self.head.dropout_rate(config))

        def head_logits(self, hidden, training):
            return self.scorer(self.dropout(ops.relu(self.scorer_hidden(hidden)), training=training))

        def task_loss(self, logits, labels, weights=None):
            return mean_squared_error(logits, labels, weights)

    return TFDistilBertForTokenScoring


def flax_class(row: Head) -> type:
    import jax
    from flax import nnx

    from distilbert_flax.heads import _ModelWithHead
    from distilbert_flax.losses import mean_squared_error

    class FlaxDistilBertForTokenScoring(_ModelWithHead):
        __module__ = "distilbert_flax.heads"
        head = row

        def make_head(self, config, factory):
            self.scorer_hidden = factory.dense(config.dim, config.dim)
            self.scorer = factory.dense(config.dim, 1)
            self.dropout = nnx.Dropout(self.head.dropout_rate(config))

        def head_logits(self, hidden, mode):
            return self.scorer(self.dropout(jax.nn.relu(self.scorer_hidden(hidden)), **mode))

        def task_loss(self, logits, labels, weights=None):
            return mean_squared_error(logits, labels, weights)

    return FlaxDistilBertForTokenScoring


CLASSES = {"pt": torch_class, "tf": keras_class, "flax": flax_class}


@pytest.fixture
def row() -> Iterator[Head]:
    head = define()
    yield head
    head.remove()


@pytest.fixture
def head(row: Head, framework: Any, monkeypatch: pytest.MonkeyPatch) -> Head:
    """The new head, in the core and in a backend."""
    package = load_backend(framework.name)
    model_class = CLASSES[framework.name](row)
    monkeypatch.setitem(framework.module("backend")._MODELS, row, model_class)
    monkeypatch.setattr(package, model_class.__name__, model_class, raising=False)
    monkeypatch.setattr(framework.module("heads"), model_class.__name__, model_class, raising=False)
    assert get_backend(framework.name).model_class(row) is model_class
    return row


# -- tests/support: the formula and labels ----------------------------------------------------------------------


def forward(config: DistilBertConfig, arrays: dict[str, np.ndarray], labels: np.ndarray, **inputs: np.ndarray) -> Any:
    hidden = reference.base_model(config, arrays, **inputs)["last_hidden_state"]
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    hidden = np.maximum(reference.dense(hidden, arrays, "scorer_hidden"), 0)
    logits = reference.dense(hidden, arrays, "scorer")
    return {"loss": np.mean((logits[..., 0] - labels) ** 2), "logits": logits}


def random_inputs(config: DistilBertConfig) -> dict[str, np.ndarray]:
    rng, mask = np.random.default_rng(3), ragged_mask()
    mask[:, 0] = 1
    ids = rng.integers(0, config.vocab_size, mask.shape)
    return {"input_ids": ids, "attention_mask": mask, "labels": rng.normal(size=mask.shape)}


# -- the shared harness -----------------------------------------------------------------------------------------


def test_values_and_loss(framework, head, tmp_path):
    config = small_config()
    arrays = save_random(tmp_path, config, head)
    inputs = random_inputs(config)
    output = framework.call(framework.load(head, tmp_path, dtype="float64"), **inputs)
    assert type(output) is TokenClassifierOutput
    expected = forward(config, arrays, **inputs)
    for name in ("logits", "loss"):
        assert_close(output[name], expected[name], TOLERANCE)


def test_gradients(framework, head, tmp_path):
    config = small_config(n_layers=1)
    arrays = save_random(tmp_path, config, head)
    inputs = random_inputs(config)
    gradients = framework.gradients(framework.load(head, tmp_path, dtype="float64"), **inputs)
    assert gradients.keys() == arrays.keys()
    direction = random_arrays(config, head, seed=5)
    direction["distilbert.embeddings.word_embeddings.weight"][config.pad_token_id] = 0  # this row gets no gradient
    ahead, behind = (
        forward(config, {name: array + step * direction[name] for name, array in arrays.items()}, **inputs)["loss"]
        for step in (1e-6, -1e-6)
    )
    slope = sum(float((gradient * direction[name]).sum()) for name, gradient in gradients.items())
    assert abs(slope - (ahead - behind) / 2e-6) <= GRADIENT_TOLERANCE * max(abs(slope), 1)


def test_a_saved_model_is_loaded_again(framework, head, tmp_path):
    config = small_config()
    model = framework.new(head, config)
    model.save_pretrained(tmp_path)
    again = framework.load(head, tmp_path)
    assert DistilBertConfig.from_pretrained(tmp_path).architectures == [head.architecture]
    expected = framework.parameters(model)
    assert expected.keys() == {parameter.name for parameter in parameter_table(config, head)}
    for name, array in framework.parameters(again).items():
        np.testing.assert_array_equal(array, expected[name])


def test_packed_inference_is_the_padded_model_on_real_tokens(framework, head, tmp_path):
    config = small_config()
    arrays = save_random(tmp_path, config, head)
    inputs = random_inputs(config)
    logits = forward(config, arrays, **inputs)["logits"]
    logits[inputs["attention_mask"] == 0] = 0
    del inputs["labels"]
    outputs = load_inference(framework.name, head, tmp_path, dtype="float64")(**inputs)
    assert outputs.keys() == {"logits"}
    assert_close(outputs["logits"], logits, TOLERANCE)


def test_keras_loads_its_own_file(row, tmp_path, request):
    """Both dense layers are in the list of all layers, where their names are those of the class and a number."""
    if "tf" not in request.config.tested_backends:
        pytest.skip("needs Keras")
    import keras

    keras_class(row)
    config = small_config(architectures=[row.architecture])
    arrays = save_random(tmp_path / "source", config, row, dtype="float32")
    convert(tmp_path / "source", tmp_path / "there", to="keras")
    model = keras.saving.load_model(tmp_path / "there" / "model.keras")
    for parameter in model.parameter_table:
        np.testing.assert_array_equal(model._get_array(parameter), arrays[parameter.name])


# Formats that hold models of any head; KerasHub has tasks of its own, and ONNX is only written.
ANY_HEAD = [name for name, format in FORMATS.items() if name != "kerashub" and not format.graphs]
LIBRARIES = {"orbax": "orbax.checkpoint", "bin": "torch"}  # of formats that not every environment can write


@pytest.mark.parametrize("name", ANY_HEAD)
def test_every_format_holds_the_head(row, name, tmp_path):
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    config = small_config(architectures=[row.architecture])
    arrays = save_random(tmp_path / "source", config, row, dtype="float32")
    convert(tmp_path / "source", tmp_path / "there", to=name)
    weights = open_weights(tmp_path / "there")
    assert weights.head is row
    assert weights.tensors.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(weights.tensors[key].read(), array)
