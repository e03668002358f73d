"""Where the files of a checkpoint are: a local folder, a model inside this package, or the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError

EMBEDDED_MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "sst2-tiny"

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "subfolder")


def split_hub_options(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments into those that say where to look, and the rest."""
    where = {name: value for name, value in kwargs.items() if name in HUB_OPTIONS}
    return where, {name: value for name, value in kwargs.items() if name not in HUB_OPTIONS}


def local_folder(source: str | Path) -> Path | None:
    """Return the folder that `source` names, or None if it is a Hub id.

    A folder on disk comes first, then a model embedded in this package. Nothing here touches the network.

    Raises:
        CheckpointError: `source` is a path, and there is no such folder.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if (EMBEDDED_MODELS / str(source)).is_dir():
        return EMBEDDED_MODELS / str(source)
    text = str(source)
    if folder.is_file():
        raise CheckpointError(f"{text} is a file; give the folder that holds it.")
    if isinstance(source, Path) or text.startswith(("/", "./", "../", "~")) or text.count("/") > 1 or "\\" in text:
        raise CheckpointError(f"The folder {text} does not exist.")
    return None


def find_file(source: str | Path, name: str, *, subfolder: str = "", **where: Any) -> Path | None:
    """Return the path of file `name` of a checkpoint, or None if the checkpoint has no such file.

    Args:
        source: A folder, an embedded model, or a Hub id; only the last may use the network.
        name: File name.
        subfolder: Folder inside the checkpoint.
        **where: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`, as `huggingface_hub` has
            them. HF_HUB_OFFLINE is honoured.

    Raises:
        CheckpointError: There is no such folder or repository, or it cannot be reached.
    """
    folder = local_folder(source)
    if folder is not None:
        path = folder / subfolder / name
        return path if path.is_file() else None

    from huggingface_hub import hf_hub_download
    from huggingface_hub import errors as hub_errors

    try:
        return Path(hf_hub_download(str(source), name, subfolder=subfolder or None, **where))
    except hub_errors.LocalEntryNotFoundError as error:
        # Offline, or no connection, and not in the cache: the file may well exist.
        raise _unreachable(source, name, error) from error
    except hub_errors.EntryNotFoundError:
        return None
    except hub_errors.GatedRepoError as error:
        raise CheckpointError(
            f"{source} is a gated repository: ask for access on its page, then log in with `hf auth login` or give "
            "token=."
        ) from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError, hub_errors.HFValidationError) as error:
        raise CheckpointError(
            f"{source!r} is neither a local folder nor a repository that the Hub shows you "
            f"({type(error).__name__}); check the name and revision, and for a private one give token=."
        ) from error
    except (hub_errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(source, name, error) from error


def _unreachable(source: str | Path, name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{name} of {source!r} is not in the local cache and could not be fetched from the Hub: {reason} "
        "Check the connection and HF_HUB_OFFLINE, or give the path of a local folder."
    )


def resolve_file(source: str | Path, name: str, **where: Any) -> Path:
    """Return the path of file `name` of a checkpoint, as `find_file` does; a file that is not there is an error."""
    path = find_file(source, name, **where)
    if path is None:
        raise CheckpointError(f"{source} has no file {name}.")
    return path
