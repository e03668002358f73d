"""BERT's tensors under DistilBERT's names."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from distilbert_core import CheckpointError, ConfigError, Head, InputError, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import small_config
from weight_conversion import bert_names, bert_to_distilbert, open_weights

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

TOKEN_TYPE_NOTE = (
    "The embedding of token type 0 was added to the position embeddings; that of type 1 was dropped, so the second "
    "text of a pair is computed like the first."
)
POOLER = ["pooler.dense.bias", "pooler.dense.weight"]


def notes_of(head, dropped):
    """The notes on a BERT with two token types of which some tensors were dropped."""
    return [TOKEN_TYPE_NOTE, f"Dropped, as {head.architecture} has no such parameters: {', '.join(dropped)}."]


def bert_tensors(dtype="float32"):
    rng = np.random.default_rng(5)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


def test_every_tensor_arrives_under_its_name():
    tensors = bert_tensors()
    originals = {name: array.copy() for name, array in tensors.items()}
    config, arrays, notes = bert_to_distilbert(FIELDS, tensors)
    assert list(arrays) == [parameter.name for parameter in parameter_table(config, Head.BASE)]
    assert notes == notes_of(Head.BASE, POOLER)
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
    assert set(bert_names(config).values()) == SHAPES.keys() - {*POOLER, TOKEN_TYPES}
    assert all(np.array_equal(tensors[name], originals[name]) for name in originals)  # the caller's are left alone


def test_configuration():
    config, _, _ = bert_to_distilbert(FIELDS, bert_tensors())
    dropouts = {"dropout": 0.25, "attention_dropout": 0.125}
    expected = small_config(activation="relu", **dropouts, initializer_range=0.5, pad_token_id=3, num_labels=2)
    assert config.to_dict() == expected.to_dict()


def test_fields_without_another_name_go_along():
    fields = {**FIELDS, "id2label": {"0": "no", "1": "yes", "2": "?"}, "label2id": {"no": 0, "yes": 1, "?": 2}}
    fields |= {"problem_type": "regression", "output_attentions": True, "my_field": [1], "tie_word_embeddings": False}
    fields |= {"classifier_dropout": 0.375, "architectures": ["BertModel"], "pooler_fc_size": 768}
    config, _, _ = bert_to_distilbert(fields, bert_tensors())
    assert config.id2label == {0: "no", 1: "yes", 2: "?"}
    assert (config.problem_type, config.output_attentions, config.my_field) == ("regression", True, [1])
    assert (config.tie_word_embeddings, config.seq_classif_dropout) == (False, 0.375)
    assert config.architectures is None
    assert not {"pooler_fc_size", "type_vocab_size", "hidden_act", "classifier_dropout"} & config.to_dict().keys()


@pytest.mark.parametrize(
    ("count", "end"),
    [
        (1, "to the position embeddings."),
        (2, "; that of type 1 was dropped, so the second text of a pair is computed like the first."),
        (4, "; those of types 1 to 3 were dropped, so the second text of a pair is computed like the first."),
    ],
)
def test_dropped_token_types_are_reported(count, end):
    _, _, notes = bert_to_distilbert(FIELDS, bert_tensors() | {TOKEN_TYPES: np.ones((count, 12))})
    assert notes[0].endswith(end)


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
    _, arrays, notes = bert_to_distilbert(FIELDS, {**old, **heads, **positions})
    _, expected, _ = bert_to_distilbert(FIELDS, plain)
    assert notes == notes_of(Head.BASE, sorted([*heads, *positions, *(f"bert.{name}" for name in POOLER)]))
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
    if tied and decoder:
        tensors[DECODER] = tensors["bert.embeddings.word_embeddings.weight"]
    config, arrays, notes = bert_to_distilbert({**FIELDS, "tie_word_embeddings": tied}, tensors)
    pooler = [f"bert.{name}" for name in POOLER]
    if not tied and not decoder:  # then there is no whole head
        assert not [name for name in arrays if name.startswith("vocab_")]
        assert notes == notes_of(Head.BASE, [*pooler, *sorted(name for name in tensors if name.startswith("cls."))])
        return
    assert notes == notes_of(Head.MASKED_LM, pooler)
    assert config.tie_word_embeddings is tied
    table = parameter_table(config, Head.MASKED_LM)
    assert list(arrays) == [parameter.name for parameter in table if parameter.tied_to is None]
    for ours, (theirs, _) in MASKED_LM.items():
        if ours in arrays:
            assert np.array_equal(arrays[ours], originals[theirs]), ours
    assert ("vocab_projector.weight" in arrays) is not tied
    _, base, _ = bert_to_distilbert(FIELDS, bert_tensors())
    for name, array in base.items():
        assert np.array_equal(arrays[f"distilbert.{name}"], array), name


@pytest.mark.parametrize(
    ("copy", "original"), [(DECODER, "embeddings.word_embeddings.weight"), (SECOND_BIAS, "cls.predictions.bias")]
)
def test_a_copy_that_differs_is_reported(copy, original):
    tensors = masked_lm_tensors()
    tensors[DECODER] = tensors["bert.embeddings.word_embeddings.weight"].copy()
    tensors[SECOND_BIAS] = tensors["cls.predictions.bias"].copy()
    assert len(bert_to_distilbert(FIELDS, tensors)[2]) == 2
    tensors[copy][3] += 1
    _, arrays, notes = bert_to_distilbert(FIELDS, tensors)
    assert notes[1] == f"Dropped, as BERT has {original} in its place: {copy}, which differs."
    assert np.array_equal(arrays["vocab_projector.bias"], tensors["cls.predictions.bias"])


# -- the heads of tokens ----------------------------------------------------------------------------------------

ROWS = {"classifier": 5, "qa_outputs": 2}
LABELS = {"id2label": {str(index): f"label {index}" for index in range(5)}}
TOKENS = Head.TOKEN_CLASSIFICATION
POOLED = "A classifier that reads BERT's pooler, which has a tanh where DistilBERT's pre_classifier has a ReLU, cannot "


def tensors_with(layer, pooler=True):
    """A BERT with a dense layer on it, and the arrays of that by their names, which are the same in DistilBERT."""
    rng = np.random.default_rng(7)
    top = {f"{layer}.weight": rng.normal(size=(ROWS[layer], 12)), f"{layer}.bias": rng.normal(size=ROWS[layer])}
    base = {f"bert.{name}": array for name, array in bert_tensors().items() if pooler or name not in POOLER}
    return base | top, top


@pytest.mark.parametrize(
    ("layer", "architecture", "pooler", "asked", "head"),
    [
        ("classifier", "BertForTokenClassification", False, None, TOKENS),
        ("classifier", "BertForTokenClassification", True, None, TOKENS),  # as Transformers wrote it before 4.0
        ("classifier", "BertForTokenClassification", True, TOKENS, TOKENS),
        ("classifier", None, False, None, TOKENS),
        ("classifier", None, True, TOKENS, TOKENS),
        ("classifier", "MyTagger", True, TOKENS, TOKENS),
        ("qa_outputs", "BertForQuestionAnswering", False, None, Head.QUESTION_ANSWERING),
        ("qa_outputs", None, True, Head.QUESTION_ANSWERING, Head.QUESTION_ANSWERING),
    ],
)
def test_heads_of_tokens(layer, architecture, pooler, asked, head):
    tensors, top = tensors_with(layer, pooler)
    fields = FIELDS | LABELS | ({"architectures": [architecture]} if architecture else {})
    config, arrays, notes = bert_to_distilbert(fields, tensors, asked)
    assert list(arrays) == [parameter.name for parameter in parameter_table(config, head)]
    for name, array in top.items():
        assert np.array_equal(arrays[name], array), name
    _, base, _ = bert_to_distilbert(FIELDS, bert_tensors())
    for name, array in base.items():
        assert np.array_equal(arrays[f"distilbert.{name}"], array), name
    assert config.id2label[4] == "label 4"
    assert config.qa_dropout == (0.0 if layer == "qa_outputs" else 0.1)
    assert notes == (notes_of(head, [f"bert.{name}" for name in POOLER]) if pooler else [TOKEN_TYPE_NOTE])


@pytest.mark.parametrize(("rate", "said"), [(None, False), (0.25, False), (0.5, True)])
def test_a_dropout_of_the_token_classifier_alone_is_reported(rate, said):
    tensors, _ = tensors_with("classifier", pooler=False)
    _, _, notes = bert_to_distilbert(FIELDS | LABELS | {"classifier_dropout": rate}, tensors)
    note = "classifier_dropout=0.5 was dropped: DistilBERT's token classifier has the dropout of its layers, 0.25."
    assert notes[1:] == ([note] if said else [])


@pytest.mark.parametrize(
    ("architecture", "hint"),
    [
        ("BertForSequenceClassification", ""),
        ("BertForMultipleChoice", ""),
        ("MyClassifier", "If it classifies tokens, give head=Head.TOKEN_CLASSIFICATION. "),
        (None, "If it classifies tokens, give head=Head.TOKEN_CLASSIFICATION. "),
    ],
)
def test_a_classifier_on_the_pooler_is_refused(architecture, hint):
    tensors, _ = tensors_with("classifier")
    with pytest.raises(CheckpointError) as caught:
        bert_to_distilbert(FIELDS | LABELS | ({"architectures": [architecture]} if architecture else {}), tensors)
    assert str(caught.value) == (
        f"The BERT checkpoint holds unknown entries: classifier.bias, classifier.weight. {POOLED}become DistilBERT's. "
        f"{hint}Give head=Head.BASE (--head DistilBertModel) for the base model alone, or another head for the "
        "base model with a new head, which must be trained."
    )


@pytest.mark.parametrize("asked", [Head.BASE, Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION, TOKENS])
def test_the_base_model_of_a_bert_with_a_classifier_on_its_pooler(tmp_path, asked):
    """No head takes the classifier's arrays: where a head is asked for, all of it is new."""
    tensors, top = tensors_with("classifier")
    fields = FIELDS | LABELS | {"architectures": ["BertForSequenceClassification"]}
    _, arrays, notes = bert_to_distilbert(fields, tensors, asked)
    _, base, _ = bert_to_distilbert(FIELDS, bert_tensors())
    assert list(arrays) == list(base)
    assert notes == notes_of(Head.BASE, [*(f"bert.{name}" for name in POOLER), *sorted(top)])

    save_checkpoint(tmp_path, tensors, {"config.json": json.dumps(fields).encode()})
    weights = open_weights(tmp_path, asked)
    new = [p.name for p in parameter_table(weights.config, asked) if p.tied_to is None and "distilbert." not in p.name]
    new = [name for name in new if name not in base]
    assert weights.notes == ([f"New, and to be trained before use: {', '.join(new)}."] if new else []) + notes
    if "classifier.weight" in weights.tensors:
        assert not np.array_equal(weights.tensors["classifier.weight"].read(), top["classifier.weight"])


def test_other_heads_are_dropped_if_one_is_requested():
    extra = {"bert.lstm.weight": (3, 12), "scale": ()}
    tensors = bert_tensors() | {name: np.ones(shape) for name, shape in extra.items()}
    _, _, notes = bert_to_distilbert(FIELDS, tensors, Head.BASE)
    assert notes == notes_of(Head.BASE, ["bert.lstm.weight", *POOLER, "scale"])
    with pytest.raises(CheckpointError, match=r"holds unknown entries: lstm\.weight, scale\. Expected the ten"):
        bert_to_distilbert(FIELDS, tensors)


def test_names_of_a_head_that_bert_does_not_have():
    with pytest.raises(InputError, match=r"head must be one that BERT has too \(.*\), got 'ForMultipleChoice'\."):
        bert_names(small_config(), Head.MULTIPLE_CHOICE)


# -- what is refused --------------------------------------------------------------------------------------------


def test_masked_lm_head_of_another_shape():
    tensors = masked_lm_tensors() | {"cls.predictions.bias": np.zeros(48)}
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias must have shape \(47,\), got \(48,\)\."):
        bert_to_distilbert(FIELDS, tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {QUERY: None},
            f"The BERT checkpoint lacks: {QUERY}. Expected the tensors of a BertModel, or of one for mas",
        ),
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
    outside_the_body = "query" in changes  # is dropped where a head is asked for
    for asked in (None,) if outside_the_body else (None, Head.BASE):
        with pytest.raises(CheckpointError) as caught:
            bert_to_distilbert(FIELDS, tensors, asked)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model_type", "roberta", "model_type must be 'bert' in a BERT that becomes a DistilBERT, got 'roberta'."),
        ("layer_norm_eps", 1e-5, "layer_norm_eps must be 1e-12"),
        ("position_embedding_type", "relative_key", "position_embedding_type must be 'absolute'"),
        ("is_decoder", True, "is_decoder must be False"),
        ("add_cross_attention", True, "add_cross_attention must be False"),
        ("hidden_act", "prelu", "activation must be one of"),
        ("num_attention_heads", 5, "n_heads must divide dim"),
        ("hidden_size", 0, "dim must be a positive integer"),
    ],
)
def test_configurations_that_distilbert_cannot_have(name, value, message):
    with pytest.raises(ConfigError) as caught:
        bert_to_distilbert({**FIELDS, name: value}, bert_tensors())
    assert message in str(caught.value)
