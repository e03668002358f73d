"""The committed fixtures are what Transformers 4.53.3 computes: make them again and compare.

Runs in the tox environment `oracle`; without that version of Transformers the module is skipped.
"""

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("transformers") is None or importlib.metadata.version("transformers") != "4.53.3":
    pytest.skip("needs transformers 4.53.3", allow_module_level=True)

import torch
from checkpoint_cases import CHECKPOINTS, OUTPUTS, Checkpoint, write_checkpoint
from checkpoint_cases import FIXTURES as CHECKPOINT_FIXTURES
from checkpoints_of_5 import CHECKPOINTS as CHECKPOINTS_OF_5
from fuzz_cases import FILE_NAME as FUZZ_FILE_NAME
from fuzz_cases import write_fuzz_fixture
from make_fixtures import FIXTURES
from minilm_cases import FILE_NAME as VECTORS_FILE_NAME
from model_cases import CASES, MAIN_OUTPUTS, Arrays, Case, write_case
from pipeline_cases import FILE_NAME as PIPELINES_FILE_NAME
from pipeline_cases import largest_difference, write_pipeline_fixture
from safetensors.numpy import load_file
from signature_cases import FILE_NAME as SIGNATURES_FILE_NAME
from signature_cases import write_signature_fixture
from tokenizer_cases import FILE_NAME, find_vocab, write_tokenizer_fixture

# Made again on the same machine, all arrays are equal to the last bit. The tolerances are for other CPUs:
# with one thread and no instructions beyond SSE4.2, float64 gradients differ by 1.4e-14, float64 outputs by
# 5.4e-15 and float32 outputs by 2.4e-6.
TOLERANCES = {"float64": 1e-13, "float32": 5e-6}
# Float32 against PyTorch in float64; measured: TF 2.6e-6, Flax 1.5e-6. Checkpoints, all in
# float32: TF 2.5e-6, Flax 1.8e-6.
FRAMEWORK_TOLERANCE = 5e-6

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_checkpoint = pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)


def load_npz(path: Path) -> Arrays:
    """All arrays of an npz file."""
    with np.load(path) as arrays:
        return dict(arrays)


def assert_arrays_equal(actual: Arrays, expected: Arrays, tolerances: dict[str, float]) -> None:
    """The same names, shapes and dtypes, no NaN, and values within the tolerance of their dtype."""
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape), name
        tolerance = tolerances.get(array.dtype.name, 0)
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=tolerance, equal_nan=False, err_msg=name)


@by_case
def test_case_is_reproduced(case: Case, tmp_path: Path) -> None:
    write_case(case, tmp_path)
    made, committed = tmp_path / case.name, FIXTURES / case.name
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in committed.iterdir())
    assert (made / "config.json").read_text() == (committed / "config.json").read_text()
    weights = "model.safetensors"
    assert_arrays_equal(load_file(made / weights), load_file(committed / weights), {})
    results = "expected.npz"
    assert_arrays_equal(load_npz(made / results), load_npz(committed / results), TOLERANCES)


def test_tokenizer_is_reproduced(tmp_path: Path) -> None:
    write_tokenizer_fixture(find_vocab(), tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == (FIXTURES / FILE_NAME).read_text()


def test_random_texts_are_reproduced(tmp_path: Path) -> None:
    write_fuzz_fixture(find_vocab(), tmp_path)
    assert (tmp_path / FUZZ_FILE_NAME).read_text() == (FIXTURES / FUZZ_FILE_NAME).read_text()


@pytest.mark.filterwarnings("ignore")  # older names of options, of which Transformers itself warns
def test_pipelines_are_reproduced(tmp_path: Path) -> None:
    write_pipeline_fixture(find_vocab(), tmp_path)
    made, committed = (json.loads((root / PIPELINES_FILE_NAME).read_text()) for root in (tmp_path, FIXTURES))
    assert largest_difference(made, committed) <= 5e-6  # the same machine: 0; its numbers are float32


def test_signatures_are_reproduced(tmp_path: Path) -> None:
    write_signature_fixture(tmp_path)
    assert (tmp_path / SIGNATURES_FILE_NAME).read_text() == (FIXTURES / SIGNATURES_FILE_NAME).read_text()


def test_no_other_fixture_is_committed() -> None:
    files = {FILE_NAME, FUZZ_FILE_NAME, VECTORS_FILE_NAME, PIPELINES_FILE_NAME, SIGNATURES_FILE_NAME}
    others = {"README.md", "guides"}  # test_guides.py
    expected = {case.name for case in CASES} | files | others
    assert {path.name for path in FIXTURES.iterdir()} == expected


@by_checkpoint
def test_checkpoint_is_reproduced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(checkpoint, tmp_path)
    made, committed = tmp_path / checkpoint.name, CHECKPOINT_FIXTURES / checkpoint.name
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in committed.iterdir())
    for path in committed.iterdir():
        if path.suffix == ".bin":  # not compared by its bytes: a pickle without zip has memory addresses in it
            actual, expected = (torch.load(root / path.name, weights_only=True) for root in (made, committed))
            assert list(actual) == list(expected)
            assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
        elif path.name != OUTPUTS:
            assert (made / path.name).read_bytes() == path.read_bytes(), path.name
    assert_arrays_equal(load_file(made / OUTPUTS), load_file(committed / OUTPUTS), TOLERANCES)


def test_no_other_checkpoint_is_committed() -> None:
    expected = {checkpoint.name for checkpoint in (*CHECKPOINTS, *CHECKPOINTS_OF_5)}
    expected |= {"kerashub_backbone", "kerashub_text_classifier", "kerashub_masked_lm", "README.md"}
    assert {path.name for path in CHECKPOINT_FIXTURES.iterdir()} == expected


@pytest.mark.parametrize("name", sorted({checkpoint.model for checkpoint in CHECKPOINTS}))
def test_writers_of_one_model_agree(name: str) -> None:
    folders = [
        checkpoint.name for checkpoint in CHECKPOINTS if checkpoint.model == name and "dtype" not in checkpoint.options
    ]
    first, *others = (load_file(CHECKPOINT_FIXTURES / folder / OUTPUTS) for folder in folders)
    assert others
    for other in others:
        assert_arrays_equal(other, first, {"float32": FRAMEWORK_TOLERANCE})


@by_case
def test_frameworks_agree(case: Case) -> None:
    arrays = load_npz(FIXTURES / case.name / "expected.npz")
    outputs = {name.removeprefix("pt/") for name in arrays} & set(MAIN_OUTPUTS) - {"loss"}
    assert outputs
    for framework in case.frameworks:
        for name in outputs:
            actual, expected = arrays[f"{framework}/{name}"], arrays[f"pt/{name}"]
            np.testing.assert_allclose(actual, expected, rtol=0, atol=FRAMEWORK_TOLERANCE, err_msg=name)


@pytest.mark.parametrize(
    "edited",
    [
        {"ids": np.array([1, 2])},
        {"ids": np.array([1, 3]), "logits": np.array([0.5, 0.25])},
        {"ids": np.array([1, 2]), "logits": np.array([0.5, 0.25 + 2e-13])},
        {"ids": np.array([1, 2]), "logits": np.array([0.5, np.nan])},
        {"ids": np.array([1, 2]), "logits": np.array([0.5, 0.25], dtype=np.float32)},
        {"ids": np.array([1, 2]), "logits": np.array([[0.5, 0.25]])},
    ],
    ids=["missing", "integer", "float", "nan", "dtype", "shape"],
)
def test_comparison_notices_an_edit(edited: Arrays) -> None:
    original = {"ids": np.array([1, 2]), "logits": np.array([0.5, 0.25])}
    assert_arrays_equal(original, original, TOLERANCES)
    with pytest.raises(AssertionError):
        assert_arrays_equal(original, edited, TOLERANCES)
