"""Parameters that a user adds and layers that a user replaces are saved and loaded, or saving is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from distilbert_core import CheckpointWarning, Head, InputError
from distilbert_core.files.checkpoint import Checkpoint
from support.checkpoints import HEADS_WITH_LOSS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.further_state import FURTHER

HEAD = Head.SEQUENCE_CLASSIFICATION


@pytest.fixture
def further(framework):
    """What a user of the framework does to a model."""
    return FURTHER[framework.name]


def inputs_of(config, head):
    return {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("head", [Head.BASE, HEAD])
def test_an_added_parameter_is_saved_under_its_own_name(framework, further, tmp_path, head):
    arrays = save_random(tmp_path / "plain", small_config(), head, dtype="float32")
    model = framework.load(head, tmp_path / "plain")
    count = model.num_parameters()
    further.add_parameter(model, "temperature", np.array([2.5, -1.0], np.float32))
    assert model.num_parameters() == count + 2
    model.save_pretrained(tmp_path / "more")

    stored = Checkpoint(tmp_path / "more")
    assert stored.shapes.keys() == arrays.keys() | {"temperature"}
    assert stored.read("temperature").tolist() == [2.5, -1.0]
    with pytest.warns(CheckpointWarning, match=r"in the checkpoint but not used: temperature\."):
        again = framework.load(head, tmp_path / "more")
    assert_close(framework.parameters(again), arrays, 0.0)


def test_a_class_that_makes_them_loads_them(framework, further, tmp_path):
    config = small_config()
    arrays = save_random(tmp_path / "plain", config, HEAD, dtype="float32")
    derived = further.with_adapter(HEAD)
    with pytest.warns(CheckpointWarning, match="freshly initialised, train before use: .*temperature") as record:
        model = derived.from_pretrained(tmp_path / "plain")
    assert "adapter" in str(record[0].message)
    assert_close(framework.parameters(model), arrays, 0.0)
    # What the constructor gives stays.
    assert further.value(model, "temperature").tolist() == [2.0, 3.0]
    assert np.isfinite(further.value(model, f"adapter.{further.kernel}")).all()
    assert np.abs(further.value(model, f"adapter.{further.kernel}")).max() > 0

    further.set_value(model, "temperature", np.array([7.0, 8.0]))
    kernel = further.value(model, f"adapter.{further.kernel}").copy()
    model.save_pretrained(tmp_path / "more")
    again = derived.from_pretrained(tmp_path / "more")
    assert further.value(again, "temperature").tolist() == [7.0, 8.0]
    assert_close(further.value(again, f"adapter.{further.kernel}"), kernel, 0.0)
    assert_close(framework.parameters(again), arrays, 0.0)
    inputs = inputs_of(config, HEAD)
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 0.0)


def test_dtype_applies_to_added_parameters_too(framework, further, tmp_path):
    further.with_adapter(HEAD)(small_config()).save_pretrained(tmp_path)
    model = further.with_adapter(HEAD).from_pretrained(tmp_path, torch_dtype="float64")
    assert further.value(model, f"adapter.{further.kernel}").dtype == np.float64


def test_a_class_with_another_classifier(framework, further, tmp_path):
    """Its checkpoint holds that classifier by its own names, and none by the table's."""
    config = small_config()
    model = further.with_two_layers(HEAD)(config)
    model.save_pretrained(tmp_path)
    own = {name for name in Checkpoint(tmp_path).entries if name.startswith("classifier")}
    assert len(own) == 4
    assert "classifier.weight" not in own
    again = further.with_two_layers(HEAD).from_pretrained(tmp_path)
    inputs = inputs_of(config, HEAD)
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 0.0)


def test_a_replaced_layer_of_another_size_is_refused(framework, further, tmp_path):
    model = framework.new(HEAD, small_config())
    further.replace_classifier(model, 5)
    with pytest.raises(
        InputError,
        match=rf"could not be loaded again: classifier.{further.kernel} must have shape .*, it has shape .*num_labels",
    ):
        model.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    model.config.num_labels = 5
    model.save_pretrained(tmp_path / "folder")
    again = framework.load(HEAD, tmp_path / "folder")
    inputs = inputs_of(model.config, HEAD)
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 0.0)


def test_a_wrapped_layer_is_refused(framework, further, tmp_path):
    model = framework.new(HEAD, small_config())
    further.wrap_query(model)
    name = f"distilbert.transformer.layer.0.attention.q_lin.{further.kernel}"
    with pytest.raises(InputError, match=rf"{re.escape(name)} must have shape .*, it is missing.*derive a class"):
        model.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_layer_that_computes_something_else_is_refused(framework, further, tmp_path):
    model = framework.new(HEAD, small_config())
    further.negate_classifier(model)
    with pytest.raises(InputError, match=r"classifier\.\w+ is in a Negated of support.further_state, whose comp"):
        model.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_projector_that_was_untied_is_refused(framework, further, tmp_path):
    model = framework.new(Head.MASKED_LM, small_config())
    further.untie(model)
    with pytest.raises(InputError, match=r"vocab_projector.weight is not distilbert.embeddings.word_embeddings.weight"):
        model.save_pretrained(tmp_path / "folder")


def test_a_stored_projector_that_differs_is_named(framework, tmp_path):
    config = small_config(tie_word_embeddings=False)
    save_random(tmp_path, config, Head.MASKED_LM, dtype="float32")
    with pytest.warns(CheckpointWarning, match="not used: vocab_projector.weight, which differs from distilbert.embed"):
        framework.load(Head.MASKED_LM, tmp_path, tie_word_embeddings=True)


def test_the_base_of_a_masked_lm_keeps_its_vocabulary(framework):
    model = framework.new(Head.MASKED_LM, small_config())
    before = framework.parameters(model)
    with pytest.raises(InputError, match="call resize_token_embeddings of the masked-LM model"):
        model.base_model.resize_token_embeddings(60)
    assert model.config.vocab_size == 47
    assert_close(framework.parameters(model), before, 0.0)
    model.base_model.resize_position_embeddings(30)  # which no head reads
    assert model.config.max_position_embeddings == 30


@pytest.mark.parametrize("head", [head for head in HEADS_WITH_LOSS if head is not Head.MASKED_LM])
def test_the_base_of_other_models_is_resized(framework, tmp_path, head):
    model = framework.new(head, small_config())
    model.base_model.resize_token_embeddings(60)
    model.save_pretrained(tmp_path)
    assert_close(framework.parameters(framework.load(head, tmp_path)), framework.parameters(model), 0.0)
