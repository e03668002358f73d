"""The state of a Flax model: dtypes of parameters and computation, low-rank updates, added state, sharded tables."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import distilbert_flax
from distilbert_core import CheckpointWarning, Head, InputError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_flax.sharding import DATA_PARALLEL, FULLY_SHARDED, shard
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.paths import TESTS
from support.processes import fresh_python

FRAMEWORK = FRAMEWORKS["flax"]
HEAD = Head.SEQUENCE_CLASSIFICATION
FLOAT64 = jnp.float64


def dtypes_of(model):
    return {variable.dtype.name for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Param))}


# What is given -> dtypes of the parameters and of the computation.
DTYPES = [
    ({}, "float32", "float32"),
    ({"dtype": jnp.bfloat16}, "float32", "bfloat16"),
    ({"dtype": "float16"}, "float32", "float16"),
    ({"dtype": "float64"}, "float64", "float64"),
    ({"param_dtype": "bfloat16"}, "bfloat16", "bfloat16"),
    ({"dtype": "float32", "param_dtype": jnp.bfloat16}, "bfloat16", "float32"),
    ({"dtype": "float64", "param_dtype": "float32"}, "float32", "float64"),
]


@pytest.mark.parametrize(("options", "parameters", "computation"), DTYPES)
def test_dtypes_follow_flax(tmp_path, options, parameters, computation):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, HEAD, dtype="float16")
    ids = random_inputs(config, HEAD)["input_ids"]
    for model in (FRAMEWORK.cls(HEAD)(config, **options), FRAMEWORK.cls(HEAD).from_pretrained(tmp_path, **options)):
        assert dtypes_of(model) == {parameters}
        output = model(ids, output_hidden_states=True)
        assert {value.dtype.name for value in (output.logits, *output.hidden_states)} == {computation}


LOADED_DTYPES = [
    ({"dtype": "auto"}, "float16", "float16"),
    ({"torch_dtype": "bfloat16"}, "bfloat16", "bfloat16"),
    ({"torch_dtype": "auto"}, "float16", "float16"),
    ({"dtype": "auto", "param_dtype": "float32"}, "float32", "float16"),
    ({"dtype": "float32", "param_dtype": "auto"}, "float16", "float32"),
    ({"dtype": "bfloat16", "torch_dtype": "float32"}, "float32", "bfloat16"),
]


@pytest.mark.parametrize(("options", "parameters", "computation"), LOADED_DTYPES)
def test_dtypes_as_stored_and_as_pytorch_says_them(tmp_path, options, parameters, computation):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, HEAD, dtype="float16")
    model = FRAMEWORK.cls(HEAD).from_pretrained(tmp_path, **options)
    assert dtypes_of(model) == {parameters}
    assert model(random_inputs(config, HEAD)["input_ids"]).logits.dtype.name == computation


def test_dtypes_that_contradict_each_other_or_do_not_exist(tmp_path):
    save_random(tmp_path, small_config(n_layers=1), HEAD)
    load = FRAMEWORK.cls(HEAD).from_pretrained
    with pytest.raises(InputError, match="torch_dtype and param_dtype mean the same here, got bfloat16 and float32"):
        load(tmp_path, torch_dtype="float32", param_dtype=jnp.bfloat16)
    with pytest.raises(InputError, match=r"dtype must be 'auto' or one of float64, .*, got 'foo'"):
        load(tmp_path, param_dtype="foo")


class AsInNnx(FRAMEWORK.cls(HEAD)):
    """A constructor that insists on generators."""

    def __init__(self, config, *, rngs):
        super().__init__(config, rngs=rngs)
        self.own = nnx.Linear(12, 3, rngs=rngs)


def test_a_class_that_insists_on_generators(tmp_path):
    model = AsInNnx(small_config(), rngs=nnx.Rngs(4))
    model.save_pretrained(tmp_path)
    again = AsInNnx.from_pretrained(tmp_path)
    assert_close(np.asarray(again.own.kernel[...]), np.asarray(model.own.kernel[...]), 0.0)


def wrapped(attention, seed):
    """Low-rank updates that change the outputs, around two projections."""
    rngs = nnx.Rngs(seed)
    options = {"rngs": rngs, "param_dtype": FLOAT64, "b_initializer": jax.nn.initializers.normal(0.5)}
    attention.q_lin = nnx.LoRA(12, 2, 12, base_module=attention.q_lin, **options)
    attention.v_lin = nnx.LoRA(12, 3, 12, base_module=attention.v_lin, **options)


def test_low_rank_updates_are_merged_by_a_word(tmp_path):
    config = small_config()
    save_random(tmp_path / "plain", config, HEAD)
    model = FRAMEWORK.load(HEAD, tmp_path / "plain", dtype="float64")
    inputs = {name: random_inputs(config, HEAD)[name] for name in ("input_ids", "attention_mask")}
    before = FRAMEWORK.call(model, **inputs).logits
    for number, block in enumerate(model.distilbert.transformer.layer):
        wrapped(block.attention, number)
    expected = FRAMEWORK.call(model, **inputs).logits
    assert np.abs(expected - before).max() > 1e-2
    with pytest.raises(InputError, match=r"q_lin.kernel must have shape .* it is missing.*call merge_lora\(\) first"):
        model.save_pretrained(tmp_path / "merged")
    assert not (tmp_path / "merged").exists()

    model.merge_lora()
    assert type(model.distilbert.transformer.layer[1].attention.v_lin) is nnx.Linear
    assert_close(FRAMEWORK.call(model, **inputs).logits, expected, 1e-13)
    model.save_pretrained(tmp_path / "merged")
    again = FRAMEWORK.load(HEAD, tmp_path / "merged", dtype="float64")
    assert_close(FRAMEWORK.call(again, **inputs).logits, expected, 1e-13)


def test_dense_layers_with_low_rank_updates_are_merged_by_a_word(tmp_path):
    config = small_config()
    model = FRAMEWORK.cls(HEAD)(config, dtype=FLOAT64)
    old, rngs = model.distilbert.transformer.layer[0].ffn.lin1, nnx.Rngs(3)
    updated = nnx.LoRALinear(12, 20, lora_rank=2, b_initializer=jax.nn.initializers.normal(0.5), rngs=rngs)
    updated.kernel, updated.bias = old.kernel, old.bias
    model.distilbert.transformer.layer[0].ffn.lin1 = updated
    inputs = {"input_ids": random_inputs(config, HEAD)["input_ids"]}
    expected = FRAMEWORK.call(model, **inputs).logits
    with pytest.raises(InputError, match=r"without them: distilbert.transformer.layer.0.ffn.lin1\. .*merge_lora"):
        model.save_pretrained(tmp_path / "merged")
    model.merge_lora()
    model.save_pretrained(tmp_path / "merged")
    again = FRAMEWORK.load(HEAD, tmp_path / "merged", dtype="float64")
    assert_close(FRAMEWORK.call(again, **inputs).logits, expected, 1e-8)  # the updates are float32; measured: 3e-10


def test_updates_around_other_modules_are_refused():
    model = FRAMEWORK.new(HEAD, small_config())
    model.classifier = nnx.LoRA(12, 2, 7, base_module=nnx.Sequential(model.classifier), rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"classifier wraps a Sequential; only nnx\.Linear can be merged"):
        model.merge_lora()


def test_updates_that_are_shared_are_refused():
    model = FRAMEWORK.new(HEAD, small_config())
    first, second = (block.attention for block in model.distilbert.transformer.layer)
    first.q_lin = second.q_lin = nnx.LoRA(12, 2, 12, base_module=first.q_lin, rngs=nnx.Rngs(0))
    kernel = np.asarray(first.q_lin.base_module.kernel[...])
    with pytest.raises(InputError, match=r"layer\.0\.attention\.q_lin.* and .*layer\.1\.attention\.q_lin.* are one"):
        model.merge_lora()
    assert_close(np.asarray(first.q_lin.base_module.kernel[...]), kernel, 0.0)


class WithDropout(FRAMEWORK.cls(HEAD)):
    """Layers of a user's own whose mode matters, and one matrix at two places."""

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.own_dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))
        self.first, self.second = (nnx.Linear(12, 12, rngs=nnx.Rngs(seed)) for seed in (2, 3))
        self.second.kernel = self.first.kernel


def test_a_class_of_the_users_own_infers_and_keeps_its_ties(tmp_path):
    model = WithDropout(small_config())
    model.first.kernel[...] *= 2
    model.save_pretrained(tmp_path)
    again = WithDropout.from_pretrained(tmp_path)
    assert again.own_dropout.deterministic
    assert again.first.kernel is again.second.kernel
    assert_close(np.asarray(again.first.kernel[...]), np.asarray(model.first.kernel[...]), 0.0)


def test_a_clone_keeps_its_configuration():
    model = FRAMEWORK.new(Head.MASKED_LM, small_config())
    clone = nnx.clone(model)
    model.resize_token_embeddings(60)
    model.prune_heads({0: [1]})
    assert (clone.config.vocab_size, clone.config.pruned_heads) == (47, {})
    assert (model.base_model.config.vocab_size, model.base_model.config.pruned_heads) == (60, {0: [1]})
    with pytest.raises(InputError, match=r"input_ids must lie in \[0, vocab_size=47\), got 50"):
        clone(np.array([[50]]))


def test_state_that_is_not_a_parameter_is_saved_too(tmp_path):
    model = FRAMEWORK.new(HEAD, small_config())
    model.seen = nnx.BatchStat(jnp.array([3.0, 4.0]))
    model.table = nnx.data(jnp.arange(3))
    model.sow(nnx.Intermediate, "passing", jnp.ones(1))  # intermediates of a call are not state
    model.save_pretrained(tmp_path)
    stored = Checkpoint(tmp_path)
    assert (stored.read("seen").tolist(), stored.read("table").tolist()) == ([3.0, 4.0], [0, 1, 2])
    assert not [name for name in stored.entries if "passing" in name or "rng" in name.lower()]
    with pytest.warns(CheckpointWarning, match="not used: seen, table"):
        FRAMEWORK.load(HEAD, tmp_path)


def test_a_loaded_model_and_its_base_share_a_configuration(tmp_path):
    save_random(tmp_path, small_config(), HEAD)
    model = FRAMEWORK.load(HEAD, tmp_path)
    model.base_model.resize_position_embeddings(30)
    assert model.config.max_position_embeddings == 30


RESIZED = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
sys.path.insert(0, {tests!r})
import jax, numpy as np
from support.checkpoints import small_config
from support.frameworks import FRAMEWORKS
from distilbert_core import Head, InputError
from distilbert_flax.sharding import shard
model = FRAMEWORKS["flax"].new(Head.MASKED_LM, small_config(vocab_size=48))
mesh = jax.make_mesh((2, 1), ("data", "model"))
shard(model, mesh, {{"vocab": "data", "embed": "model"}})
table = model.get_input_embeddings().embedding
before, spec = np.asarray(table[...]), table.sharding.spec
try:
    model.resize_token_embeddings(51)
except InputError as error:
    assert "word_embeddings.weight with shape (51, 12) does not fit its mesh" in str(error), error
assert model.config.vocab_size == 48 and table.shape == (48, 12)
model.resize_token_embeddings(60)
for variable in (table, model.vocab_projector.bias):
    assert len(variable[...].sharding.device_set) == 2, variable
assert table[...].sharding.spec == spec and (np.asarray(table[...])[:48] == before).all()
print("right")
"""


def test_resizing_stays_on_its_mesh():
    assert fresh_python(RESIZED.format(tests=str(TESTS))).split() == ["right"]


def test_resizing_one_device():
    model = FRAMEWORK.new(Head.MASKED_LM, small_config())
    mesh = jax.make_mesh((1,), ("data",))
    shard(model, mesh, FULLY_SHARDED | DATA_PARALLEL)
    model.resize_token_embeddings(60)
    assert isinstance(model.get_input_embeddings().embedding[...].sharding, jax.sharding.NamedSharding)


class OwnHead(distilbert_flax.FlaxDistilBertPreTrainedModel):
    """A user's own head on our base model, derived from the base class of all models."""

    def __init__(self, config, *, rngs):
        super().__init__(config)
        self.distilbert = distilbert_flax.FlaxDistilBertModel(config, rngs=rngs)
        self.score = nnx.Linear(config.dim, 3, rngs=rngs)

    def __call__(self, input_ids):
        return self.score(self.distilbert(input_ids).last_hidden_state[:, 0])


def test_a_users_own_head(tmp_path):
    model = OwnHead(small_config(n_layers=1), rngs=nnx.Rngs(1))
    model.save_pretrained(tmp_path)
    again = OwnHead.from_pretrained(tmp_path, seed=2)
    ids = random_inputs(small_config(), Head.BASE)["input_ids"]
    assert_close(np.asarray(again(ids)), np.asarray(model(ids)), 0)
