"""Members of a model and its blocks that scripts for Transformers use."""

from __future__ import annotations

import copy
import io
import sys
import types

import pytest
import torch
from torch import nn

import distilbert_pt.model
from distilbert_core import Head, InputError
from distilbert_pt import FFN, DistilBertModel, DistilBertPreTrainedModel, TransformerBlock
from distilbert_pt.compatibility import REFUSED
from distilbert_pt.tensors import to_array, to_tensor
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
MASK = torch.tensor([[1, 1, 0], [0, 1, 1]])


@pytest.fixture
def masked_lm():
    return PT.new(Head.MASKED_LM, small_config()).double()


def test_numbers_about_a_model(masked_lm):
    ids = torch.zeros(2, 3, dtype=torch.long)
    tables = (47 + 23) * 12
    assert masked_lm.num_parameters(exclude_embeddings=True) == masked_lm.num_parameters() - tables
    masked_lm.distilbert.requires_grad_(False)
    assert masked_lm.num_parameters(only_trainable=True) == 12 * 12 + 12 + 24 + 47
    assert masked_lm.num_parameters(only_trainable=True, exclude_embeddings=True) == 12 * 12 + 12 + 24 + 47
    assert masked_lm.estimate_tokens({"input_ids": ids}) == 6
    assert masked_lm.estimate_tokens({}) == 0
    assert masked_lm.floating_point_ops({"input_ids": ids}) == 36 * masked_lm.num_parameters(exclude_embeddings=True)
    masked_lm.register_buffer("further", torch.zeros(5))
    assert masked_lm.get_memory_footprint(return_buffers=False) == 8 * masked_lm.num_parameters()
    assert masked_lm.get_memory_footprint() == 8 * masked_lm.num_parameters() + 20


def test_members_that_tools_look_for(masked_lm):
    body = masked_lm.base_model
    assert masked_lm._tied_weights_keys == masked_lm._keys_to_ignore_on_save == ["vocab_projector.weight"]
    assert PT.new(Head.MASKED_LM, small_config(tie_word_embeddings=False))._tied_weights_keys is None
    assert (body._tied_weights_keys, body.get_output_embeddings(), body.can_generate()) == (None, None, False)
    assert masked_lm.config_class is type(masked_lm.config)
    assert masked_lm._no_split_modules == [TransformerBlock.__name__]
    assert masked_lm(**masked_lm.dummy_inputs).logits.shape == (3, 5, 47)
    masked_lm.add_model_tags("one")
    masked_lm.add_model_tags(["two", "one"])
    assert (masked_lm.model_tags, body.model_tags) == (["one", "two"], None)
    assert FFN is type(body.transformer.layer[0].ffn)
    assert body.transformer.layer[0].attention.n_heads == 3
    body._prune_heads({0: [1]})
    assert body.transformer.layer[0].attention.n_heads == 2


def test_missing_members_suggest_a_replacement():
    model = PT.new(Head.BASE, small_config())
    for name, instead in REFUSED.items():
        with pytest.raises(NotImplementedError, match=f"DistilBertModel has no {name}. "):
            getattr(model, name)("anything", option=1)
        assert instead.endswith(".")
    assert not hasattr(model, "generate")
    with pytest.raises(InputError, match="DistilBertModel has no output embeddings; a masked-LM model has"):
        model.set_output_embeddings(nn.Linear(12, 47))


def test_output_embeddings_stay_tied(masked_lm):
    projector = nn.Linear(12, 47, dtype=torch.float64)
    masked_lm.set_output_embeddings(projector)
    assert masked_lm.get_output_embeddings() is projector
    assert projector.weight is masked_lm.get_input_embeddings().weight
    with pytest.raises(InputError, match=r"embeddings must have a weight of shape \(47, 12\), got \(5, 12\)"):
        masked_lm.set_output_embeddings(nn.Linear(12, 5))


def test_masks_to_be_added_to_scores(masked_lm):
    lowest = torch.finfo(torch.float64).min
    expected = ((MASK == 0).double() * lowest)[:, None, None]
    assert torch.equal(masked_lm.invert_attention_mask(MASK), expected)
    assert torch.equal(masked_lm.get_extended_attention_mask(MASK[:, None], (2, 1, 3)), expected)
    half = masked_lm.get_extended_attention_mask(MASK, MASK.shape, dtype=torch.float16)
    assert half.min() == torch.finfo(torch.float16).min
    with pytest.raises(InputError, match=r"attention_mask must have 2 or 3 axes, got shape \(3,\)"):
        masked_lm.get_extended_attention_mask(MASK[0], (3,))
    assert masked_lm.get_head_mask(None, 2) == [None, None]
    assert masked_lm.get_head_mask(torch.ones(3), 2).shape == (2, 1, 3, 1, 1)
    with pytest.raises(InputError, match=r"head_mask must have shape \[heads\] or \[layers, heads\], got \(1, 1, 1\)"):
        masked_lm.get_head_mask(torch.ones(1, 1, 1), 2)


def test_blocks_called_one_by_one_compute_the_base_model(tmp_path):
    """With the arguments, and the order of results, that they have in Transformers."""
    config = small_config()
    save_random(tmp_path, config, Head.BASE)
    model = PT.load(Head.BASE, tmp_path, dtype="float64")
    inputs = {name: to_tensor(array) for name, array in random_inputs(config, Head.BASE).items()}
    mask = inputs["attention_mask"]
    head_mask = torch.tensor([[0.5, 1.0, 0.0], [1.0, 0.25, 2.0]])
    expected = model(**inputs, head_mask=head_mask, output_attentions=True, output_hidden_states=True)
    by_layer = model.get_head_mask(head_mask, config.n_layers)

    x = model.embeddings(inputs["input_ids"])
    assert torch.equal(x, model.embeddings(None, model.get_input_embeddings()(inputs["input_ids"])))
    whole = model.transformer(x, mask, by_layer, True, True, True)
    assert_close(dict(_arrays(whole)), dict(_arrays(expected)), 1e-13)
    plain = model.transformer(x, mask, head_mask=by_layer)
    assert_close(to_array(plain[0]), to_array(expected.last_hidden_state), 1e-13)
    assert len(plain) == 1
    for index, block in enumerate(model.transformer.layer):
        context, weights = block.attention(x, x, x, mask, by_layer[index], output_attentions=True)
        assert torch.equal(block.attention(query=x, key=x, value=x, mask=mask, head_mask=by_layer[index])[0], context)
        shown, y = block(x, attn_mask=mask, head_mask=by_layer[index], output_attentions=True)
        assert torch.equal(shown, weights)
        assert_close(to_array(weights), to_array(expected.attentions[index]), 1e-13)
        (x,) = block(x, mask, by_layer[index])
        assert torch.equal(x, y)
        assert_close(to_array(x), to_array(expected.hidden_states[index + 1]), 1e-13)


def _arrays(output):
    return {name: to_array(torch.stack(value) if isinstance(value, tuple) else value) for name, value in output.items()}


def test_a_users_own_block_has_all_heads():
    config = small_config(pruned_heads={0: [1]})
    assert (TransformerBlock(config).attention.n_heads, TransformerBlock(config, 0).attention.n_heads) == (3, 2)


def test_gradients_reach_frozen_embeddings():
    model = PT.new(Head.BASE, small_config())
    model.get_input_embeddings().requires_grad_(False)
    words = lambda: model.get_input_embeddings()(torch.ones(1, 2, dtype=torch.long))  # noqa: E731
    for _ in range(2):
        model.enable_input_require_grads()
        assert words().requires_grad
    model.disable_input_require_grads()
    assert not words().requires_grad


def test_checkpointing_of_every_second_block(monkeypatch):
    calls = []

    def run(block, *arguments, use_reentrant):
        calls.append(block)
        return block(*arguments)

    monkeypatch.setattr(distilbert_pt.model, "checkpoint", run)
    model = PT.new(Head.BASE, small_config(n_layers=3)).train()
    model.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers=2)
    model(**model.dummy_inputs)
    assert calls == [model.transformer.layer[0], model.transformer.layer[2]]
    assert model.is_activation_checkpointing
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    with pytest.raises(InputError, match=r"every_n_layers must be at least 1, got 0"):
        model.activation_checkpointing_enable(every_n_layers=0)
    with pytest.raises(InputError, match=r"offload must be False: .*save_on_cpu"):
        model.gradient_checkpointing_enable(offload=True)


def test_the_configuration_says_how_attention_is_computed():
    config = small_config(attn_implementation="eager")
    assert DistilBertModel(config).attn_implementation == "eager"
    assert DistilBertModel(config, attn_implementation="sdpa").attn_implementation == "sdpa"
    assert DistilBertModel._from_config(small_config(), torch_dtype="float64").dtype == torch.float64


def test_only_trainer_sees_another_class(monkeypatch):
    """A class that is a PreTrainedModel too; models are copied and stored whole as ever."""
    transformers = types.ModuleType("transformers")
    transformers.PreTrainedModel = type("PreTrainedModel", (nn.Module,), {})
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    model = PT.new(Head.BASE, small_config())
    trainer = {"__name__": "transformers.trainer", "model": model, "base": transformers.PreTrainedModel}
    assert eval("isinstance(model, base) and model.__class__.__name__ == 'DistilBertModel'", trainer)
    assert not isinstance(model, transformers.PreTrainedModel)
    assert type(model) is model.__class__ is type(copy.deepcopy(model)) is DistilBertModel
    torch.save(model, file := io.BytesIO())
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(**model.dummy_inputs)[0], model(**model.dummy_inputs)[0])


class Scorer(DistilBertPreTrainedModel):
    """As users of Transformers write one."""

    def __init__(self, config):
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.decoder = nn.Linear(config.dim, config.vocab_size)
        self.norm = nn.LayerNorm(config.dim)
        self.score = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    def get_output_embeddings(self):
        return self.decoder

    def forward(self, input_ids, attention_mask=None):
        hidden = self.distilbert(input_ids, attention_mask).last_hidden_state
        return self.score(self.norm(hidden[:, 0])), self.decoder(hidden)


def test_a_model_on_our_base_class_loads_a_base_model_and_keeps_its_own_parameters(tmp_path):
    config = small_config()
    save_random(tmp_path / "from", config, Head.SEQUENCE_CLASSIFICATION)
    with pytest.warns(
        UserWarning, match=r"freshly initialised, train before use: .*score\.weight.*not used: classifier"
    ):
        model = Scorer.from_pretrained(tmp_path / "from", initializer_range=0.5)
    source = PT.load(Head.SEQUENCE_CLASSIFICATION, tmp_path / "from").distilbert.state_dict()
    assert all(torch.equal(value, source[name]) for name, value in model.distilbert.state_dict().items())
    assert (model.score.bias == 0).all()
    assert 0.2 < model.score.weight.std() < 1  # drawn with the configuration's range
    assert model.decoder.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path / "to")
    again = Scorer.from_pretrained(tmp_path / "to")
    assert again.config.architectures == ["Scorer"]
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert again.decoder.weight is again.get_input_embeddings().weight
    assert torch.equal(again(MASK)[0], model(MASK)[0])


def test_a_model_on_our_base_class_is_resized_and_pruned():
    model = Scorer(small_config()).eval()
    before = model.score(model.norm(model.distilbert(MASK).last_hidden_state[:, 0]))
    assert model.resize_token_embeddings(50) is model.get_input_embeddings()
    assert model.decoder.weight is model.get_input_embeddings().weight
    assert (model.config.vocab_size, model.distilbert.config.vocab_size) == (50, 50)
    assert torch.equal(model(MASK)[0], before)
    model.prune_heads({1: [2]})
    assert model.distilbert.transformer.layer[1].attention.n_heads == 2
    weights = [model.score.weight.clone(), model.get_input_embeddings().weight.clone()]
    model.init_weights()
    for old, new in zip(weights, (model.score.weight, model.get_input_embeddings().weight), strict=True):
        assert (old != new).float().mean() > 0.9


class Scaled(Scorer):
    def __init__(self, config, factor=1.0, *, num_labels=None):
        super().__init__(config)
        self.factor = factor


def test_a_constructors_own_arguments_are_keywords_of_loading(tmp_path):
    """A field of the configuration stays one."""
    Scorer(small_config()).save_pretrained(tmp_path)
    model = Scaled.from_pretrained(tmp_path, factor=3.0, num_labels=7, attn_implementation="eager")
    assert (model.factor, model.config.num_labels, model.distilbert.attn_implementation) == (3.0, 7, "eager")
    with pytest.raises(TypeError, match="factors"):
        Scaled.from_pretrained(tmp_path, factors=3.0)


def test_a_model_on_our_base_class_needs_a_base_model_in_the_checkpoint(tmp_path):
    model = Scorer(small_config())
    model.save_pretrained(tmp_path)
    from safetensors.torch import load_file, save_file

    kept = {name: t for name, t in load_file(tmp_path / "model.safetensors").items() if "q_lin" not in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        OSError, match=r"is not a complete DistilBERT checkpoint: it lacks 4 parameter\(s\) of the base model"
    ):
        Scorer.from_pretrained(tmp_path)


@pytest.mark.parametrize("head", HEADS)
def test_a_model_is_traced(tmp_path, head):
    """`torchscript=True` lets it return tuples; the trace takes other sizes."""
    config = small_config()
    save_random(tmp_path, config, head)
    model = PT.load(head, tmp_path, dtype="float64", torchscript=True)
    ids, mask = (to_tensor(random_inputs(config, head)[name]) for name in ("input_ids", "attention_mask"))
    traced = torch.jit.trace(model, (ids, mask))
    torch.jit.save(traced, file := io.BytesIO())
    file.seek(0)
    again = torch.jit.load(file)
    for part in (slice(None), slice(3)):
        smaller = ids[part, ..., : 5 if part.stop else None], mask[part, ..., : 5 if part.stop else None]
        assert_close(tuple(map(to_array, again(*smaller))), tuple(map(to_array, model(*smaller))), 1e-13)
