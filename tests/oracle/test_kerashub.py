"""The committed presets are what KerasHub writes, and compute what Transformers does with the same weights.

Runs in the tox environment `kerashub`; without KerasHub the module is skipped.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("keras_hub")

import keras_hub
from kerashub_cases import FIXTURES, MASKED_LM, OUTPUTS, SOURCE, call, write_all
from safetensors.numpy import load_file

PRESETS = ("kerashub_backbone", "kerashub_text_classifier", "kerashub_masked_lm")


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file, by its path."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_outputs_equal(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """The same names and values.

    Measured: KerasHub against Transformers 3.6e-7; made again on one machine 0, on a processor with AMX 1.8e-6.
    """
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=5e-6, err_msg=name)


def files(folder: Path) -> list[Path]:
    """The files of a folder and those below it, relative to it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("presets")
    write_all(root)
    return root


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_reproduced(preset: str, made: Path) -> None:
    names = files(FIXTURES / preset)
    assert files(made / preset) == names
    for name in names:
        actual, expected = made / preset / name, FIXTURES / preset / name
        if name.suffix == ".h5":
            np.testing.assert_equal(arrays(actual), arrays(expected))
        elif name.suffix in (".json", ".txt") and name.name != "metadata.json":  # which has the date
            assert actual.read_text() == expected.read_text()


@pytest.mark.parametrize("preset", PRESETS)
def test_outputs_are_reproduced(preset: str, made: Path) -> None:
    assert_outputs_equal(load_file(made / preset / OUTPUTS), load_file(FIXTURES / preset / OUTPUTS))


def test_logits_equal_those_of_transformers() -> None:
    assert_outputs_equal(load_file(FIXTURES / "kerashub_text_classifier" / OUTPUTS), load_file(SOURCE / OUTPUTS))


def test_masked_lm_differs_from_transformers_by_its_epsilon_only() -> None:
    """Measured: 6.6e-4 with KerasHub's 1e-5, 2.1e-6 with DistilBERT's 1e-12."""
    expected = load_file(MASKED_LM / OUTPUTS)
    model = keras_hub.models.DistilBertMaskedLM.from_preset(str(FIXTURES / "kerashub_masked_lm"))
    np.testing.assert_allclose(call(model, expected), expected["logits"], rtol=0, atol=1e-3)
    model.masked_lm_head._intermediate_layer_norm.epsilon = 1e-12
    np.testing.assert_allclose(call(model, expected), expected["logits"], rtol=0, atol=4e-6)
