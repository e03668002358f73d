"""Values that a configuration refuses, and values at the edge that it accepts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distilbert_core import ConfigError, DistilBertConfig
from distilbert_core.model.config import ACTIVATIONS, PROBLEM_TYPES
from support.configs import HUB_BASE, case_id, function_activation

SIZES = ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim", "num_labels")
PROBABILITIES = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")
FLAGS = (
    "sinusoidal_pos_embds",
    "tie_word_embeddings",
    "tie_weights_",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "use_return_dict",
)
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"^{name} must be a positive integer, got {value!r}")
        for name in SIZES
        for value in (0, -1, 1.5, 2.0, "3", True)
    ),
    *(({name: None}, f"^{name} must be a positive integer, got None") for name in SIZES if name != "num_labels"),
    *(
        ({name: value}, rf"^{name} must be a probability in \[0, 1\], got {value!r}")
        for name in PROBABILITIES
        for value in (-0.1, 1.5, math.nan, math.inf, "0.1", None, True)
    ),
    *(({name: "no"}, f"^{name.removeprefix('use_')} must be True or False, got 'no'") for name in FLAGS),
    ({"n_heads": 5}, "^n_heads must divide dim, got n_heads=5 and dim=768"),
    ({"dim": 100}, "^n_heads must divide dim, got n_heads=12 and dim=100"),
    (
        {"sinusoidal_pos_embds": True, "dim": 9, "n_heads": 3},
        "^dim must be even for sinusoidal_pos_embds, got 9",
    ),
    *(
        ({"initializer_range": value}, f"^initializer_range must be a number >= 0, got {value!r}")
        for value in (-0.02, math.nan, math.inf, "0.02", None, True)
    ),
    *(
        ({"activation": value}, f"^activation must be one of gelu, .*, got {value!r}".replace("[", r"\["))
        for value in ("prelu", "GELU", "", None, ["gelu"], 1)
    ),
    *(
        (
            {"pad_token_id": value},
            rf"^pad_token_id must be None or lie in \[0, vocab_size=30522\), got {value!r}",
        )
        for value in (-1, 30522, 0.5, "0", False)
    ),
    (
        {"vocab_size": 7, "pad_token_id": 7},
        r"^pad_token_id must be None or lie in \[0, vocab_size=7\), got 7",
    ),
    *(
        ({"problem_type": value}, "^problem_type must be None or one of regression, .*, got")
        for value in ("classification", "", 1, ["regression"])
    ),
    # Labels.
    ({"id2label": ["a", "b"]}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {"x": "a"}}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {0.5: "a"}}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {}}, r"^id2label must have each index 0, 1, \.\.\. once, got \[\]\.$"),
    ({"id2label": {-1: "a", 0: "b"}}, r"^id2label must have each index 0, 1, \.\.\. once, got \[-1, 0\]\.$"),
    ({"label2id": ["a", "b"]}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": "x"}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": [0]}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": 0.5}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": math.inf}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": -1, "b": 0}}, r"^label2id must have each index 0, 1, \.\.\. once, got \[-1, 0\]\.$"),
    ({"id2label": {0: "a"}, "label2id": {"a": None}}, "^label2id must be a dict of labels to integers, got"),
    # Pruned heads.
    *(
        ({"pruned_heads": value}, "^pruned_heads must be a dict of layer to a list of heads, got")
        for value in ([1], {"x": [0]}, {0: 1}, {0: ["y"]}, {0: None})
    ),
    *(
        ({"pruned_heads": value}, "^pruned_heads must name layers below 6 and heads below 12, got")
        for value in ({6: [0]}, {-7: [0]}, {0: [12]}, {0: [-1]})
    ),
    ({"pruned_heads": {2: range(12)}}, "^pruned_heads must leave a head in every layer, layer 2 has none"),
]


@pytest.mark.parametrize(("fields", "message"), IMPOSSIBLE, ids=[str(fields) for fields, _ in IMPOSSIBLE])
def test_impossible_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig(**fields)
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig.from_dict({**HUB_BASE, **fields})
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig().updated(**fields)


@pytest.mark.parametrize("name", [*SIZES[:-1], *PROBABILITIES, "activation"])
def test_an_impossible_value_set_later_is_found_by_validate(name: str) -> None:
    config = DistilBertConfig()
    config.validate()
    setattr(config, name, -1)
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        config.validate()


@pytest.mark.parametrize(
    "fields",
    [
        {"dropout": 0, "attention_dropout": 1, "qa_dropout": 0.0, "seq_classif_dropout": 1.0},
        {"initializer_range": 0},
        {"pad_token_id": None},
        {"pad_token_id": 30521},
        {"sinusoidal_pos_embds": True},
        *({"activation": name} for name in ACTIVATIONS),
        {"activation": function_activation},
        *({"problem_type": name} for name in PROBLEM_TYPES),
        {
            "vocab_size": 1,
            "max_position_embeddings": 1,
            "n_layers": 1,
            "n_heads": 1,
            "dim": 1,
            "hidden_dim": 1,
        },
        {"num_labels": 1},
        {"pruned_heads": {2: range(11)}},
    ],
    ids=case_id,
)
def test_possible_values_at_the_edge(fields: dict[str, Any]) -> None:
    config = DistilBertConfig(**fields)
    assert all(getattr(config, name) == value for name, value in fields.items() if name != "pruned_heads")
