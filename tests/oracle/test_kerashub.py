"""The committed presets are what KerasHub writes, and compute what Transformers does with the same weights.

Runs in the tox environment `kerashub`; without KerasHub the module is skipped.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("keras_hub")

from kerashub_cases import FIXTURES, OUTPUTS, SOURCE, write_all
from safetensors.numpy import load_file

PRESETS = ("kerashub_backbone", "kerashub_text_classifier")


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file, by its path."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_outputs_equal(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """The same names and values. Measured: KerasHub against Transformers 3.6e-7, made again on one machine 0."""
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=1e-6, err_msg=name)


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


def test_logits_are_those_of_transformers() -> None:
    assert_outputs_equal(load_file(FIXTURES / "kerashub_text_classifier" / OUTPUTS), load_file(SOURCE / OUTPUTS))
