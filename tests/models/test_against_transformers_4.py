"""Values, losses and gradients against Transformers 4.53.3, from the fixtures of tests/oracle."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head
from support.checkpoints import small_config
from support.comparison import assert_close
from support.paths import FIXTURES

ORACLE = FIXTURES / "oracle"
CASES = sorted(path.parent.name for path in ORACLE.glob("*/expected.npz"))

# Both sides are float64 and exact to its rounding. Measured: at most 5.9e-15 for outputs, 1.7e-14 for gradients.
FLOAT64_TOLERANCE = 1e-12
# Both sides are float32. Measured: at most 3.2e-6.
FLOAT32_TOLERANCE = 5e-6


@cache
def expected(case: str) -> dict[str, np.ndarray]:
    with np.load(ORACLE / case / "expected.npz") as file:
        return dict(file)


def head_of(case: str) -> Head:
    architecture = DistilBertConfig.from_json_file(ORACLE / case / "config.json").architectures[0]
    return next(head for head in Head if head.architecture == architecture)


def section(case: str, name: str) -> dict[str, object]:
    """The entries below a key; numbered ones as tuples."""
    flat = {k.removeprefix(f"{name}/"): v for k, v in expected(case).items() if k.startswith(f"{name}/")}
    tree: dict[str, object] = {key: value for key, value in flat.items() if "/" not in key}
    for group in ("hidden_states", "attentions"):
        numbered = [flat[f"{group}/{i}"] for i in range(len(flat)) if f"{group}/{i}" in flat]
        if numbered:
            tree[group] = tuple(numbered)
    return tree


def call_inputs(case: str, dtype: str = "float64") -> dict[str, np.ndarray]:
    """The arguments of the plain call, numbers in the dtype of the model."""
    names = ("input_ids", "attention_mask", "labels", "start_positions", "end_positions")
    inputs = {name: array for name, array in section(case, "inputs").items() if name in names}
    return {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in inputs.items()}


def float_input(case: str, name: str) -> np.ndarray:
    return expected(case)[f"inputs/{name}"].astype(np.float64)


def test_fixtures_are_there():
    assert len(CASES) == 16


@pytest.mark.parametrize("case", CASES)
def test_outputs(framework, case):
    model = framework.load(head_of(case), ORACLE / case, dtype="float64")
    got = framework.call(model, **call_inputs(case), output_attentions=True, output_hidden_states=True)
    assert_close(got, section(case, "pt"), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if case != "model_pruned"])
def test_head_mask(framework, case):
    model = framework.load(head_of(case), ORACLE / case, dtype="float64")
    got = framework.call(model, **call_inputs(case), head_mask=float_input(case, "head_mask"))
    assert_close(got, section(case, "pt_head_mask"), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_inputs_embeds(framework, case):
    model = framework.load(head_of(case), ORACLE / case, dtype="float64")
    inputs = {**call_inputs(case), "inputs_embeds": float_input(case, "inputs_embeds")}
    del inputs["input_ids"]
    assert_close(framework.call(model, **inputs), section(case, "pt_inputs_embeds"), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_gradients(framework, case):
    model = framework.load(head_of(case), ORACLE / case, dtype="float64")
    cotangent = float_input(case, "cotangent") if head_of(case) is Head.BASE else None
    wanted = section_of_gradients(case)
    got = framework.gradients(model, cotangent=cotangent, **call_inputs(case))
    # 4.53.3 loses the freeze of a sinusoidal table when it loads one; here it is never trained.
    if model.config.sinusoidal_pos_embds:
        wanted = {name: array for name, array in wanted.items() if "position_embeddings" not in name}
    assert_close(got, wanted, FLOAT64_TOLERANCE)


def section_of_gradients(case: str) -> dict[str, np.ndarray]:
    return {k.removeprefix("pt/grad/"): v for k, v in expected(case).items() if k.startswith("pt/grad/")}


@pytest.mark.parametrize("case", CASES)
def test_empty_row(framework, case):
    model = framework.load(head_of(case), ORACLE / case)
    inputs = {**call_inputs(case, "float32"), "attention_mask": expected(case)["inputs/attention_mask_empty_row"]}
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert_close(framework.call(model, **inputs), section(case, "pt_empty_row"), FLOAT32_TOLERANCE)


OTHER_FRAMEWORKS = [(case, name) for case in CASES for name in ("tf", "flax") if section(case, name)]


@pytest.mark.parametrize(("case", "name"), OTHER_FRAMEWORKS)
def test_its_tensorflow_and_flax_models(framework, case, name):
    model = framework.load(head_of(case), ORACLE / case)
    got = framework.call(model, **call_inputs(case, "float32"))
    assert_close({key: got[key] for key in section(case, name)}, section(case, name), FLOAT32_TOLERANCE)


def test_comparison_can_fail():
    config = small_config()
    values = {"logits": np.zeros(config.num_labels)}
    with pytest.raises(AssertionError, match="logits"):
        assert_close({"logits": np.full(config.num_labels, 1e-11)}, values, FLOAT64_TOLERANCE)
