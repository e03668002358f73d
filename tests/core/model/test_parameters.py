"""The parameter table, against the files that Transformers 4.53.3 wrote, and the sinusoidal table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from distilbert_core import DistilBertConfig, Head, Kind, Parameter, parameter_table
from distilbert_core.model.parameters import sinusoidal_table
from support.checkpoints import small_config
from support.paths import FIXTURES

ORACLE = sorted(path.parent for path in FIXTURES.glob("oracle/*/model.safetensors"))
HEADS = {head.architecture: head for head in Head}

# Parameters of DistilBERT base with two labels; a tied projector counts once.
BODY_SIZE = 66_362_880
TRANSFORM_SIZE = 768 * 768 + 768
SIZES = {
    Head.BASE: BODY_SIZE,
    Head.MASKED_LM: BODY_SIZE + TRANSFORM_SIZE + 2 * 768 + 30522,
    Head.SEQUENCE_CLASSIFICATION: BODY_SIZE + TRANSFORM_SIZE + 2 * 768 + 2,
    Head.MULTIPLE_CHOICE: BODY_SIZE + TRANSFORM_SIZE + 768 + 1,
    Head.TOKEN_CLASSIFICATION: BODY_SIZE + 2 * 768 + 2,
    Head.QUESTION_ANSWERING: BODY_SIZE + 2 * 768 + 2,
}

WORDS, POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
# A base model of one block with V=47, 23 positions, D=12, F=20, in the order of the data flow.
ONE_BLOCK = (
    (WORDS, (47, 12), Kind.EMBEDDING),
    (POSITIONS, (23, 12), Kind.EMBEDDING),
    ("embeddings.LayerNorm.weight", (12,), Kind.NORM_SCALE),
    ("embeddings.LayerNorm.bias", (12,), Kind.NORM_BIAS),
    ("transformer.layer.0.attention.q_lin.weight", (12, 12), Kind.KERNEL),
    ("transformer.layer.0.attention.q_lin.bias", (12,), Kind.BIAS),
    ("transformer.layer.0.attention.k_lin.weight", (12, 12), Kind.KERNEL),
    ("transformer.layer.0.attention.k_lin.bias", (12,), Kind.BIAS),
    ("transformer.layer.0.attention.v_lin.weight", (12, 12), Kind.KERNEL),
    ("transformer.layer.0.attention.v_lin.bias", (12,), Kind.BIAS),
    ("transformer.layer.0.attention.out_lin.weight", (12, 12), Kind.KERNEL),
    ("transformer.layer.0.attention.out_lin.bias", (12,), Kind.BIAS),
    ("transformer.layer.0.sa_layer_norm.weight", (12,), Kind.NORM_SCALE),
    ("transformer.layer.0.sa_layer_norm.bias", (12,), Kind.NORM_BIAS),
    ("transformer.layer.0.ffn.lin1.weight", (20, 12), Kind.KERNEL),
    ("transformer.layer.0.ffn.lin1.bias", (20,), Kind.BIAS),
    ("transformer.layer.0.ffn.lin2.weight", (12, 20), Kind.KERNEL),
    ("transformer.layer.0.ffn.lin2.bias", (12,), Kind.BIAS),
    ("transformer.layer.0.output_layer_norm.weight", (12,), Kind.NORM_SCALE),
    ("transformer.layer.0.output_layer_norm.bias", (12,), Kind.NORM_BIAS),
)
# The heads on it, with 7 labels.
ON_TOP: dict[Head, tuple[tuple[str, tuple[int, ...], Kind], ...]] = {
    Head.BASE: (),
    Head.MASKED_LM: (
        ("vocab_transform.weight", (12, 12), Kind.KERNEL),
        ("vocab_transform.bias", (12,), Kind.BIAS),
        ("vocab_layer_norm.weight", (12,), Kind.NORM_SCALE),
        ("vocab_layer_norm.bias", (12,), Kind.NORM_BIAS),
        ("vocab_projector.weight", (47, 12), Kind.KERNEL),
        ("vocab_projector.bias", (47,), Kind.BIAS),
    ),
    Head.SEQUENCE_CLASSIFICATION: (
        ("pre_classifier.weight", (12, 12), Kind.KERNEL),
        ("pre_classifier.bias", (12,), Kind.BIAS),
        ("classifier.weight", (7, 12), Kind.KERNEL),
        ("classifier.bias", (7,), Kind.BIAS),
    ),
    Head.MULTIPLE_CHOICE: (
        ("pre_classifier.weight", (12, 12), Kind.KERNEL),
        ("pre_classifier.bias", (12,), Kind.BIAS),
        ("classifier.weight", (1, 12), Kind.KERNEL),
        ("classifier.bias", (1,), Kind.BIAS),
    ),
    Head.TOKEN_CLASSIFICATION: (
        ("classifier.weight", (7, 12), Kind.KERNEL),
        ("classifier.bias", (7,), Kind.BIAS),
    ),
    Head.QUESTION_ANSWERING: (
        ("qa_outputs.weight", (2, 12), Kind.KERNEL),
        ("qa_outputs.bias", (2,), Kind.BIAS),
    ),
}


def by_name(config: DistilBertConfig, head: Head) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameter_table(config, head)}


@pytest.mark.parametrize("folder", ORACLE, ids=[folder.name for folder in ORACLE])
def test_names_and_shapes_of_transformers(folder: Path) -> None:
    config = DistilBertConfig.from_pretrained(folder)
    (architecture,) = config.architectures
    table = parameter_table(config, HEADS[architecture])
    stored = {name: array.shape for name, array in load_file(folder / "model.safetensors").items()}
    assert {p.name: p.shape for p in table if p.tied_to is None} == stored


def test_every_head_and_option_is_among_the_files_of_transformers() -> None:
    configs = [DistilBertConfig.from_pretrained(folder) for folder in ORACLE]
    assert {config.architectures[0] for config in configs} == set(HEADS)
    for option in ("pruned_heads", "sinusoidal_pos_embds", "tie_word_embeddings"):
        assert {bool(getattr(config, option)) for config in configs} == {True, False}, option


@pytest.mark.parametrize("head", Head)
def test_order_shapes_and_kinds(head: Head) -> None:
    prefix = "" if head is Head.BASE else "distilbert."
    base = tuple((prefix + name, shape, kind) for name, shape, kind in ONE_BLOCK)
    table = parameter_table(small_config(n_layers=1), head)
    assert tuple((p.name, p.shape, p.kind) for p in table) == base + ON_TOP[head]
    assert [p.of_head for p in table] == [False] * len(base) + [True] * len(ON_TOP[head])
    assert [p.layer for p in table] == [0 if "layer.0" in p.name else None for p in table]


@pytest.mark.parametrize("head", Head)
def test_axes_name_the_sizes(head: Head) -> None:
    sizes = {
        "vocab": {47},
        "position": {23},
        "embed": {12},
        "heads": {12},
        "mlp": {20},
        "hidden": {12},
        "labels": {1, 2, 7},
    }
    for parameter in parameter_table(small_config(), head):
        assert len(parameter.axes) == len(parameter.shape), parameter.name
        for axis, size in zip(parameter.axes, parameter.shape, strict=True):
            assert size in sizes[axis], parameter.name


@pytest.mark.parametrize("head", Head)
def test_sizes_of_distilbert_base(head: Head) -> None:
    table = parameter_table(DistilBertConfig(), head)
    assert sum(math.prod(p.shape) for p in table if p.tied_to is None) == SIZES[head]
    assert len({p.name for p in table}) == len(table)


def test_architectures() -> None:
    assert list(HEADS) == [
        "DistilBertModel",
        "DistilBertForMaskedLM",
        "DistilBertForSequenceClassification",
        "DistilBertForMultipleChoice",
        "DistilBertForTokenClassification",
        "DistilBertForQuestionAnswering",
    ]


def test_tied_and_untied_projector() -> None:
    words, projector = f"distilbert.{WORDS}", "vocab_projector.weight"
    tied = by_name(small_config(), Head.MASKED_LM)
    assert {name: p.tied_to for name, p in tied.items() if p.tied_to} == {projector: words}
    assert tied[projector].shape == tied[words].shape
    untied = by_name(small_config(tie_word_embeddings=False), Head.MASKED_LM)
    assert untied.keys() == tied.keys()
    assert not any(p.tied_to for p in untied.values())


def test_tie_weights_has_no_effect() -> None:
    config = small_config(tie_weights_=False)
    assert parameter_table(config, Head.MASKED_LM) == parameter_table(small_config(), Head.MASKED_LM)


def test_pruned_heads_narrow_their_layer_only() -> None:
    pruned = by_name(small_config(pruned_heads={1: [0, 2]}), Head.BASE)
    whole = by_name(small_config(), Head.BASE)
    changed = {name: p.shape for name, p in pruned.items() if p.shape != whole[name].shape}
    attention = "transformer.layer.1.attention"
    narrow_in = {f"{attention}.{name}_lin.weight": (4, 12) for name in "qkv"}
    assert changed == {
        **narrow_in,
        **{f"{attention}.{name}_lin.bias": (4,) for name in "qkv"},
        f"{attention}.out_lin.weight": (12, 4),
    }
    assert pruned.keys() == whole.keys()


@pytest.mark.parametrize("pad", [0, 5, None])
def test_only_the_word_embeddings_have_a_pad_row(pad: int | None) -> None:
    rows = {name: p.pad_row for name, p in by_name(small_config(pad_token_id=pad), Head.MASKED_LM).items()}
    assert rows.pop(f"distilbert.{WORDS}") == pad
    assert set(rows.values()) == {None}


@pytest.mark.parametrize("sinusoidal", [True, False])
def test_only_sinusoidal_positions_are_computed(sinusoidal: bool) -> None:
    table = parameter_table(small_config(sinusoidal_pos_embds=sinusoidal), Head.BASE)
    assert [p.name for p in table if p.computed] == [POSITIONS] * sinusoidal


# -- sinusoidal positions ------------------------------------------------------------------------------------


def sinusoid(position: int, column: int, dim: int) -> float:
    """One entry of the table, by the formula of Vaswani et al. 2017, section 3.5."""
    angle = position / 10000 ** (2 * (column // 2) / dim)
    return math.cos(angle) if column % 2 else math.sin(angle)


@pytest.mark.parametrize(("positions", "dim"), [(1, 2), (23, 12), (512, 768), (7, 1000)])
def test_sinusoidal_table_is_the_formula(positions: int, dim: int) -> None:
    table = sinusoidal_table(positions, dim)
    expected = [[sinusoid(position, column, dim) for column in range(dim)] for position in range(positions)]
    assert table.dtype == np.float32
    # Half a step of float32 below 1; measured: 2.98e-8.
    np.testing.assert_allclose(table, expected, rtol=0, atol=3e-8)


def test_sinusoidal_table_of_transformers() -> None:
    stored = load_file(FIXTURES / "oracle" / "masked_lm_sinusoidal" / "model.safetensors")
    table = sinusoidal_table(23, 12)
    assert table.tobytes() == stored[f"distilbert.{POSITIONS}"].tobytes()


def test_a_longer_table_begins_with_the_shorter() -> None:
    np.testing.assert_array_equal(sinusoidal_table(40, 12)[:23], sinusoidal_table(23, 12))
