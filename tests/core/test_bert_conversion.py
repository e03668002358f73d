"""BERT's tensors under DistilBERT's names."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from checkpoints import small_config

from distilbert_core import CheckpointError, ConfigError, Head, parameter_table
from weight_conversion import bert_names, bert_to_distilbert

FIELDS = {
    "model_type": "bert",
    "vocab_size": 47,
    "max_position_embeddings": 23,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "hidden_size": 12,
    "intermediate_size": 20,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.25,
    "attention_probs_dropout_prob": 0.125,
    "initializer_range": 0.5,
    "pad_token_id": 3,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
}
POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
QUERY = "encoder.layer.1.attention.self.query.weight"

# Every tensor of a BertModel with the sizes above, written out: the table under test has no part in it.
SHAPES = {
    "embeddings.word_embeddings.weight": (47, 12),
    POSITIONS: (23, 12),
    TOKEN_TYPES: (2, 12),
    "embeddings.LayerNorm.weight": (12,),
    "embeddings.LayerNorm.bias": (12,),
    **{
        f"encoder.layer.{layer}.{name}": shape
        for layer in range(2)
        for name, shape in {
            "attention.self.query.weight": (12, 12),
            "attention.self.query.bias": (12,),
            "attention.self.key.weight": (12, 12),
            "attention.self.key.bias": (12,),
            "attention.self.value.weight": (12, 12),
            "attention.self.value.bias": (12,),
            "attention.output.dense.weight": (12, 12),
            "attention.output.dense.bias": (12,),
            "attention.output.LayerNorm.weight": (12,),
            "attention.output.LayerNorm.bias": (12,),
            "intermediate.dense.weight": (20, 12),
            "intermediate.dense.bias": (20,),
            "output.dense.weight": (12, 20),
            "output.dense.bias": (12,),
            "output.LayerNorm.weight": (12,),
            "output.LayerNorm.bias": (12,),
        }.items()
    },
    "pooler.dense.weight": (12, 12),
    "pooler.dense.bias": (12,),
}

# DistilBERT's name of each tensor of the masked-LM head -> BERT's, and the shape.
MASKED_LM = {
    "vocab_transform.weight": ("cls.predictions.transform.dense.weight", (12, 12)),
    "vocab_transform.bias": ("cls.predictions.transform.dense.bias", (12,)),
    "vocab_layer_norm.weight": ("cls.predictions.transform.LayerNorm.weight", (12,)),
    "vocab_layer_norm.bias": ("cls.predictions.transform.LayerNorm.bias", (12,)),
    "vocab_projector.weight": ("cls.predictions.decoder.weight", (47, 12)),
    "vocab_projector.bias": ("cls.predictions.bias", (47,)),
}
DECODER = "cls.predictions.decoder.weight"
SECOND_BIAS = "cls.predictions.decoder.bias"


def bert_tensors(dtype="float32"):
    rng = np.random.default_rng(5)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


def test_every_tensor_arrives_under_its_name():
    tensors = bert_tensors()
    originals = {name: array.copy() for name, array in tensors.items()}
    config, arrays, dropped = bert_to_distilbert(FIELDS, tensors)
    assert list(arrays) == [parameter.name for parameter in parameter_table(config, Head.NONE)]
    assert dropped == ["pooler.dense.bias", "pooler.dense.weight"]
    expected = {
        "embeddings.word_embeddings.weight": "embeddings.word_embeddings.weight",
        "embeddings.LayerNorm.bias": "embeddings.LayerNorm.bias",
        "transformer.layer.0.attention.q_lin.weight": "encoder.layer.0.attention.self.query.weight",
        "transformer.layer.1.attention.k_lin.bias": "encoder.layer.1.attention.self.key.bias",
        "transformer.layer.1.attention.v_lin.weight": "encoder.layer.1.attention.self.value.weight",
        "transformer.layer.0.attention.out_lin.weight": "encoder.layer.0.attention.output.dense.weight",
        "transformer.layer.1.sa_layer_norm.weight": "encoder.layer.1.attention.output.LayerNorm.weight",
        "transformer.layer.0.ffn.lin1.weight": "encoder.layer.0.intermediate.dense.weight",
        "transformer.layer.1.ffn.lin2.bias": "encoder.layer.1.output.dense.bias",
        "transformer.layer.0.output_layer_norm.bias": "encoder.layer.0.output.LayerNorm.bias",
    }
    for ours, theirs in expected.items():
        assert np.array_equal(arrays[ours], originals[theirs]), ours
    assert set(bert_names(config).values()) == SHAPES.keys() - set(dropped) - {TOKEN_TYPES}
    assert all(np.array_equal(tensors[name], originals[name]) for name in originals)  # the caller's are left alone


def test_configuration():
    config, _, _ = bert_to_distilbert(FIELDS, bert_tensors())
    dropouts = {"dropout": 0.25, "attention_dropout": 0.125}
    expected = small_config(activation="relu", **dropouts, initializer_range=0.5, pad_token_id=3, num_labels=2)
    assert config.to_dict() == expected.to_dict()


def test_layers_of_bert_base_where_the_configuration_does_not_say():
    fields = {name: value for name, value in FIELDS.items() if name != "num_hidden_layers"}
    with pytest.raises(CheckpointError, match=r"lacks: .*encoder\.layer\.11\.output\.dense\.weight"):
        bert_to_distilbert(fields, bert_tensors())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_token_type_0_is_added_to_the_positions_in_float64(dtype):
    tensors = bert_tensors(dtype)
    _, arrays, _ = bert_to_distilbert(FIELDS, tensors)
    exact = tensors[POSITIONS].astype(np.float64) + tensors[TOKEN_TYPES].astype(np.float64)[0]
    assert arrays[POSITIONS].dtype == dtype
    assert np.array_equal(arrays[POSITIONS], exact.astype(dtype))


def test_names_of_a_model_with_a_head_and_of_old_checkpoints():
    plain = bert_tensors()
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in plain.items()
    }
    heads = {
        "cls.predictions.bias": np.zeros(47),
        "cls.predictions.transform.LayerNorm.gamma": np.ones(12),
        "cls.seq_relationship.weight": np.zeros((2, 12)),
    }
    positions = {"bert.embeddings.position_ids": np.arange(23)[None]}
    _, arrays, dropped = bert_to_distilbert(FIELDS, {**old, **heads, **positions})
    _, expected, _ = bert_to_distilbert(FIELDS, plain)
    assert dropped == sorted([*heads, *positions, "bert.pooler.dense.bias", "bert.pooler.dense.weight"])
    assert list(arrays) == list(expected)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def masked_lm_tensors():
    rng = np.random.default_rng(6)
    head = {name: rng.normal(size=shape).astype("float32") for name, shape in MASKED_LM.values()}
    return {f"bert.{name}": array for name, array in bert_tensors().items()} | head


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("bias", ["cls.predictions.bias", SECOND_BIAS, "both"])
@pytest.mark.parametrize("decoder", [True, False], ids=["decoder", "no-decoder"])
def test_masked_lm_head(tied, bias, decoder):
    tensors = masked_lm_tensors()
    originals = dict(tensors)
    if bias != "cls.predictions.bias":
        tensors[SECOND_BIAS] = tensors["cls.predictions.bias"]
    if bias == SECOND_BIAS:
        del tensors["cls.predictions.bias"]
    if not decoder:
        del tensors[DECODER]
    config, arrays, dropped = bert_to_distilbert({**FIELDS, "tie_word_embeddings": tied}, tensors)
    pooler = ["bert.pooler.dense.bias", "bert.pooler.dense.weight"]
    if not tied and not decoder:  # then there is no whole head
        assert not [name for name in arrays if name.startswith("vocab_")]
        assert dropped == sorted([*pooler, *(name for name in tensors if name.startswith("cls."))])
        return
    assert dropped == pooler
    assert config.tie_word_embeddings is tied
    table = parameter_table(config, Head.MASKED_LM)
    assert list(arrays) == [parameter.name for parameter in table if parameter.tied_to is None]
    for ours, (theirs, _) in MASKED_LM.items():
        if ours in arrays:
            assert np.array_equal(arrays[ours], originals[theirs]), ours
    assert ("vocab_projector.weight" in arrays) is not tied
    _, body, _ = bert_to_distilbert(FIELDS, bert_tensors())
    for name, array in body.items():
        assert np.array_equal(arrays[f"distilbert.{name}"], array), name


def test_masked_lm_head_of_another_shape():
    tensors = masked_lm_tensors() | {"cls.predictions.bias": np.zeros(48)}
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias must have shape \(47,\), got \(48,\)\."):
        bert_to_distilbert(FIELDS, tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({QUERY: None}, f"The BERT checkpoint lacks: {QUERY}. Expected the tensors of a BertModel."),
        ({TOKEN_TYPES: None, QUERY: None}, f"lacks: {TOKEN_TYPES}, {QUERY}."),
        ({"encoder.layer.2.output.dense.bias": (12,)}, "holds unknown entries: encoder.layer.2.output.dense.bias."),
        ({QUERY: None, "query": (12, 12)}, f"lacks: {QUERY}; holds unknown entries: query."),
        ({f"bert.{QUERY}": (12, 12)}, f"holds {QUERY} twice, as {QUERY} and as bert.{QUERY}."),
        ({QUERY: (12, 11)}, f"{QUERY} must have shape (12, 12), got (12, 11)."),
        ({POSITIONS: (24, 12)}, f"{POSITIONS} must have shape (23, 12), got (24, 12)."),
        ({TOKEN_TYPES: (2, 11)}, f"{TOKEN_TYPES} must have shape (types, 12), got (2, 11)."),
        ({TOKEN_TYPES: (0, 12)}, f"{TOKEN_TYPES} must have shape (types, 12), got (0, 12)."),
        ({TOKEN_TYPES: (12,)}, f"{TOKEN_TYPES} must have shape (types, 12), got (12,)."),
    ],
)
def test_tensors_that_do_not_fit(changes, message):
    tensors = bert_tensors()
    for name, shape in changes.items():
        if shape is None:
            del tensors[name]
        else:
            tensors[name] = np.ones(shape)
    with pytest.raises(CheckpointError) as caught:
        bert_to_distilbert(FIELDS, tensors)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model_type", "roberta", "model_type must be 'bert' in a BERT that becomes a DistilBERT, got 'roberta'."),
        ("layer_norm_eps", 1e-5, "layer_norm_eps must be 1e-12"),
        ("position_embedding_type", "relative_key", "position_embedding_type must be 'absolute'"),
        ("is_decoder", True, "is_decoder must be False"),
        ("add_cross_attention", True, "add_cross_attention must be False"),
        ("hidden_act", "gelu_fast", "activation must be one of"),
        ("num_attention_heads", 5, "n_heads must divide dim"),
        ("hidden_size", 0, "dim must be a positive integer"),
    ],
)
def test_configurations_that_distilbert_cannot_have(name, value, message):
    with pytest.raises(ConfigError) as caught:
        bert_to_distilbert({**FIELDS, name: value}, bert_tensors())
    assert message in str(caught.value)
