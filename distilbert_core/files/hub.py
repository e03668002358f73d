"""Where the files of a checkpoint are: a local folder, a model inside this package, or the Hugging Face Hub."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert_core.compatibility import renames
from distilbert_core.errors import CheckpointError, InputError, InputWarning, did_you_mean

EMBEDDED_MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "sst2-tiny"
# Which model a task has if none is given: the embedded one, or a well-known DistilBERT of the Hub.
DEFAULT_MODELS = {
    "text-classification": DEFAULT_MODEL,
    "feature-extraction": DEFAULT_MODEL,
    "fill-mask": "distilbert/distilbert-base-uncased",
    "token-classification": "dslim/distilbert-NER",
    "question-answering": "distilbert/distilbert-base-cased-distilled-squad",
    "zero-shot-classification": "typeform/distilbert-base-uncased-mnli",
}

# How the names of weight files end; the conversion says what is in them.
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".keras", ".onnx")
ADAPTER_CONFIG = "adapter_config.json"  # of peft: the checkpoint is an adapter, added to a base that it names

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "subfolder")
# Arguments of `push_to_hub` that `save_pretrained` takes too.
PUSHING = frozenset({"repo_id", "token", "private", "commit_message", "commit_description", "create_pr", "revision"})


def split_hub_options(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments into those that say where to look, and the rest."""
    where = {name: value for name, value in kwargs.items() if name in HUB_OPTIONS}
    return where, {name: value for name, value in kwargs.items() if name not in HUB_OPTIONS}


def default_model(task: str, stacklevel: int = 2) -> str:
    """Return the model for a task where none is given.

    Args:
        task: As of `pipeline`.
        stacklevel: Of the warning, as of `warnings.warn`.

    Raises:
        InputError: The task has none.

    Warns:
        InputWarning: It is one of the Hub, which may be downloaded.

    Example:
        >>> from distilbert_core.files.hub import default_model
        >>> default_model("text-classification")
        'sst2-tiny'
    """
    model = DEFAULT_MODELS.get(task)
    if model is None:
        raise InputError(
            f"Give model (--model): the Hub has no well-known DistilBERT for {task}. finetune makes one of your rows."
        )
    if model != DEFAULT_MODEL:
        message = (
            f"model (--model) is not given: {task} takes {model} of the Hub, which is downloaded unless it is cached."
        )
        warnings.warn(message, InputWarning, stacklevel=stacklevel + 1)
    return model


def local_folder(source: str | Path) -> Path | None:
    """Return the folder that `source` names, or None if it is a Hub id.

    A folder on disk comes first, then a model embedded in this package. Nothing here touches the network.

    Raises:
        CheckpointError: `source` is a path, and there is no such folder.
    """
    text = str(source)
    if not text:
        raise CheckpointError("Give the path of a folder, or a Hub id; got an empty text.")
    try:
        folder = Path(source).expanduser()
    except RuntimeError:
        raise CheckpointError(f"The folder {text} does not exist: there is no such user.") from None
    if folder.is_dir():
        return folder
    if Path(text).name == text and (EMBEDDED_MODELS / text).is_dir():
        return EMBEDDED_MODELS / text
    if folder.is_file():
        raise CheckpointError(f"{text} is a file; give the folder that holds it.")
    if isinstance(source, Path) or text.startswith(("/", "./", "../", "~")) or text.count("/") > 1 or "\\" in text:
        raise CheckpointError(f"The folder {text} does not exist.{_similar(source)}")
    return None


def find_file(source: str | Path, name: str, *, subfolder: str = "", **where: Any) -> Path | None:
    """Return the path of file `name` of a checkpoint, or None if the checkpoint has no such file.

    Args:
        source: A folder, an embedded model, or a Hub id; only the last may use the network.
        name: File name.
        subfolder: Folder inside the checkpoint.
        **where: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`, as `huggingface_hub` has
            them. HF_HUB_OFFLINE is honoured: offline, what a cached checkpoint does not hold is not there.

    Raises:
        CheckpointError: There is no such folder or repository, or it cannot be reached.
    """
    folder = local_folder(source)
    if folder is not None:
        path = folder / subfolder / name
        return path if path.is_file() else None

    from huggingface_hub import errors as hub_errors
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(source), name, subfolder=subfolder or None, **where))
    except hub_errors.LocalEntryNotFoundError as error:
        if _known_absent(source, f"{subfolder}/{name}" if subfolder else name, where):
            return None
        # Offline, or no connection, and not in the cache: the file may well exist.
        raise _unreachable(source, name, error) from error
    except hub_errors.EntryNotFoundError:
        return None
    except hub_errors.GatedRepoError as error:
        raise CheckpointError(
            f"{source} is a gated repository: ask for access on its page, then log in with `hf auth login` or give "
            "token=."
        ) from error
    except (
        hub_errors.RepositoryNotFoundError,
        hub_errors.RevisionNotFoundError,
        hub_errors.HFValidationError,
    ) as error:
        raise CheckpointError(
            f"{source!r} is neither a local folder nor a repository that the Hub shows you "
            f"({type(error).__name__}); check the name and revision, and for a private one give token=."
            f"{_similar(source)}"
        ) from error
    except Exception as error:  # of whichever HTTP library this huggingface_hub uses
        raise _unreachable(source, name, error) from error


def _known_absent(source: str | Path, name: str, where: Mapping[str, Any]) -> bool:
    """Return whether the cache tells, without the network, that a checkpoint has no file of this name."""
    import huggingface_hub as hub

    cache: dict[str, Any] = {option: where.get(option) for option in ("cache_dir", "revision")}
    if hub.try_to_load_from_cache(str(source), name, **cache) is hub._CACHED_NO_EXIST:
        return True
    if not _is_offline(where):
        return False  # the connection failed; asked again, the Hub may well have the file
    try:  # the folder of the cached commit, unless its list of files, if cached too, names one that is missing
        hub.snapshot_download(str(source), allow_patterns=[name], local_files_only=True, **cache)
    except OSError:
        return False
    return True


def _is_offline(where: Mapping[str, Any]) -> bool:
    from huggingface_hub import constants

    return bool(where.get("local_files_only") or constants.HF_HUB_OFFLINE)


def offline_note(source: str | Path, where: Mapping[str, Any]) -> str:
    """Return what to add to 'there is no such file' where only the cache of the Hub was asked; else nothing."""
    offline = local_folder(source) is None and _is_offline(where)
    return " in the local cache, which is all there is offline" if offline else ""


def _similar(source: str | Path) -> str:
    """Return what to add to the message of a source that was not found: the name of a checkpoint here that is like it.

    Looked at are the embedded models, and the folders beside the one that was not found.
    """
    path = Path(source).expanduser()
    checkpoints = [file.parent.name for place in (EMBEDDED_MODELS, path.parent) for file in place.glob("*/config.json")]
    return did_you_mean(path.name, checkpoints, cutoff=0.8)


def _unreachable(source: str | Path, name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{name} of {source!r} is not in the local cache and could not be fetched from the Hub: {reason} "
        f"Check the connection and HF_HUB_OFFLINE, or give the path of a local folder.{_similar(source)}"
    )


def resolve_file(source: str | Path, name: str, **where: Any) -> Path:
    """Return the path of file `name` of a checkpoint, as `find_file` does; a file that is not there is an error."""
    path = find_file(source, name, **where)
    if path is None:
        raise CheckpointError(f"{source} has no file {name}{offline_note(source, where)}.")
    return path


class PushToHub:
    """What has `save_pretrained`, and can be uploaded."""

    def save_pretrained(self, folder: str | Path, **kwargs: Any) -> Any:
        """Write the files of this object into a folder."""
        raise NotImplementedError

    @renames(use_auth_token="token")
    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Upload what `save_pretrained` writes to a repository of the Hub, which is made if it is not there.

        Args:
            repo_id: 'name/model', or 'model' in your own namespace.
            commit_message: Title of the commit.
            commit_description: Its text.
            private: Whether a new repository is private; as your account has it if left out.
            token: To log in by; that of `hf auth login` if left out.
            revision: Branch to commit to, which is made if it is not there; 'main' if left out.
            create_pr: Open a pull request in place of a commit.
            **kwargs: Of `save_pretrained`.

        Returns:
            What `huggingface_hub.upload_folder` returns: the commit.

        Raises:
            Exception: Of `huggingface_hub`: the Hub cannot be reached, or does not let you in.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **kwargs)
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None and not revision.startswith("refs/"):
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )
