"""Files of Keras in tests: comparison and rewriting."""

from __future__ import annotations

import zipfile

from weight_conversion import open_weights


def assert_same_weights(folder, arrays) -> None:
    """The same tensors bit for bit."""
    tensors = open_weights(folder).tensors
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        got = tensors[name].read()
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes()), name


def rewrite_zip(path, change) -> None:
    """Write an archive again, with its {name: content} changed by a function."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    method = change(content) or zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
