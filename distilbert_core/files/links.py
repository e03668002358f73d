"""Links that lead out of the folder of a checkpoint."""

from __future__ import annotations

import os
import re
from pathlib import Path

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.journal import origin

# In the Hub's cache, the files of a checkpoint are links to files that are named after their content.
HUB_FILE = re.compile(r".*/models--[^/]+/blobs/[^/]+")


def refuse_link(path: Path, folder: Path) -> None:
    """Raise CheckpointError if a file of a checkpoint is a link, or below a link, that leads out of its folder.

    A checkpoint of a stranger could otherwise have any file of the user read, and copied into a converted checkpoint.
    Links inside the folder and links into the Hub's cache are allowed, and the folder itself may be a link.

    Args:
        path: The file.
        folder: The folder of the checkpoint, as the caller named it.
    """
    real, root = os.path.realpath(path), os.path.realpath(origin(folder))
    if not f"{real}{os.sep}".startswith(os.path.join(root, "")) and not HUB_FILE.fullmatch(Path(real).as_posix()):
        raise CheckpointError(
            f"{path} is a link out of the folder, to {shortened(real)}: it is not read. If you made the link yourself, "
            "put the file in its place, or link the whole folder."
        )
