"""The states of a run on disk, from which it continues after it was stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.checks import positive_integer
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.atomic import Writer, replace_files
from distilbert_core.files.boundary import reading

STATE_FILE, EARLIER_STATE_FILE = "state.safetensors", "state-{:08d}.safetensors"


class States:
    """The last states of a run: state.safetensors, and perhaps earlier ones, which have the number of their step.

    Args:
        folder: Folder of the run.
        every: Steps between two states. There is one after each evaluation, too.
        keep: Number of states to keep.

    Raises:
        InputError: A number is not a positive integer.
    """

    def __init__(self, folder: Path, every: int, keep: int):
        self.folder = folder
        self.every = positive_integer("save_every", every)
        self.keep = positive_integer("keep_states", keep)
        self._step: int | None = None  # of the last state

    def save(self, state: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
        """Write a state, whole or not at all, and remove those that are not to be kept.

        Args:
            state: The arrays of the engine.
            progress: The progress of the run, with its 'step'.
        """
        from safetensors.numpy import save_file

        arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
        metadata = {"progress": json.dumps(progress)}
        files: dict[str, Writer] = {STATE_FILE: lambda path: save_file(arrays, path, metadata=metadata)}
        earlier = [path.name for path in sorted(self.folder.glob(EARLIER_STATE_FILE.replace("{:08d}", "*")))]
        if self._step is not None and self.keep > 1:
            name = EARLIER_STATE_FILE.format(self._step)
            files[name] = lambda path: link_or_copy(self.folder / STATE_FILE, path)
            earlier = [*(other for other in earlier if other != name), name]
        replace_files(self.folder, files, obsolete=earlier[: len(earlier) - (self.keep - 1)])
        self._step = progress["step"]

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the last state and its progress; None if there is none.

        Raises:
            CheckpointError: The state is damaged.
        """
        from safetensors import safe_open

        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        try:
            with reading(path, "the state of a run"), safe_open(path, "np") as file:
                progress = dict(json.loads(file.metadata()["progress"]))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (CheckpointError, InputError) as error:
            raise self.damaged(error) from error
        self._step = progress.get("step")
        return state, progress

    def damaged(self, error: Exception) -> CheckpointError:
        """Return the error of a last state that is damaged."""
        path = self.folder / STATE_FILE
        earlier = sorted(self.folder.glob(EARLIER_STATE_FILE.replace("{:08d}", "*")))
        hint = f" Rename {earlier[-1].name} to {path.name} to continue from there." if earlier else ""
        return CheckpointError(f"{path} is damaged, or of another version: {error!r}.{hint}")


def link_or_copy(source: Path, destination: Path) -> None:
    """Give a file a second name; copy it where the file system has no links."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
