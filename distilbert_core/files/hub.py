"""Finds the files of a checkpoint: in a local folder, in a model inside this package, or on the Hugging Face Hub."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from distilbert_core.compatibility import renames
from distilbert_core.errors import CheckpointError, InputError, InputWarning, did_you_mean
from distilbert_core.files.boundary import reading
from distilbert_core.files.journal import PREFIX, settled
from distilbert_core.files.links import refuse_link

EMBEDDED_MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "sst2-tiny"


class DefaultModel(NamedTuple):
    """The model of a task for which none is given.

    Attributes:
        name: An embedded model, or a DistilBERT of the Hub.
        reason: Why it is this one.
    """

    name: str
    reason: str

    @property
    def embedded(self) -> bool:
        """Whether the model is inside this package, so that nothing is downloaded."""
        return self.name == DEFAULT_MODEL


DEFAULT_MODELS = {
    "text-classification": DefaultModel(DEFAULT_MODEL, "embedded: sentiment of English sentences"),
    "zero-shot-classification": DefaultModel("typeform/distilbert-base-uncased-mnli", "trained for inference on MNLI"),
    "fill-mask": DefaultModel("distilbert/distilbert-base-uncased", "the pretrained model itself, with its own head"),
    "token-classification": DefaultModel("dslim/distilbert-NER", "persons, organisations, places; from CoNLL-2003"),
    "question-answering": DefaultModel(
        "distilbert/distilbert-base-cased-distilled-squad", "distilled on SQuAD; Transformers' default too"
    ),
    "feature-extraction": DefaultModel(
        "sentence-transformers/multi-qa-distilbert-cos-v1", "trained for cosines of mean vectors, as `embed` makes them"
    ),
}
DEFAULT_SIZE = "about 265 MB"  # of each of them that is on the Hub

# Suffixes of weight files.
WEIGHT_SUFFIXES = (
    *(".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".keras"),
    *(".onnx", ".xml", ".tflite", ".pb", ".pt2"),  # exported models: the error says what they are
)
ADAPTER_CONFIG = "adapter_config.json"  # of peft: the checkpoint is an adapter for a base model that this file names

CARD_FILE = "README.md"  # the model card

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "subfolder")
# Arguments of `push_to_hub` that `save_pretrained` also has.
PUSHING = frozenset(
    {"repo_id", "token", "private", "commit_message", "commit_description", "create_pr", "revision", "card"}
)


def split_hub_options(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments into options of the Hub and the rest."""
    hub_options = {name: value for name, value in kwargs.items() if name in HUB_OPTIONS}
    return hub_options, {name: value for name, value in kwargs.items() if name not in HUB_OPTIONS}


def default_model(task: str, stacklevel: int = 2, **hub_options: Any) -> str:
    """Return the default model of a task.

    Args:
        task: Task of a pipeline, such as 'fill-mask'.
        stacklevel: `stacklevel` of the warning, as in `warnings.warn`.
        **hub_options: The options of the Hub that the model is loaded with.

    Raises:
        InputError: The task has no default model.
        CheckpointError: The model is one of the Hub, is not cached, and cannot be downloaded in offline mode.

    Warns:
        InputWarning: The model is one of the Hub, and is not cached, so it is downloaded.

    Example:
        >>> from distilbert_core.files.hub import default_model
        >>> default_model("text-classification")
        'sst2-tiny'
    """
    default = DEFAULT_MODELS.get(task)
    if default is None:
        raise InputError(
            f"Give model (--model): the Hub has no well-known DistilBERT for {task}. finetune makes one of your rows."
        )
    if default.embedded or _is_cached(default.name, hub_options):
        return default.name
    if _is_offline(hub_options):
        raise CheckpointError(
            f"model (--model) is not given: {task} takes {default.name} of the Hub, which is not in the local cache "
            "and cannot be downloaded offline (HF_HUB_OFFLINE, local_files_only). Download it once with "
            f"`hf download {default.name}`, or give the path of a local folder."
        )
    warnings.warn(
        f"model (--model) is not given: {task} takes {default.name} of the Hub, which is downloaded now "
        f"({DEFAULT_SIZE}).",
        InputWarning,
        stacklevel=stacklevel + 1,
    )
    return default.name


def _is_cached(name: str, hub_options: Mapping[str, Any]) -> bool:
    """Return whether the cache of the Hub has the configuration and the weights of a model."""
    import huggingface_hub as hub

    if hub_options.get("force_download"):
        return False
    place: dict[str, Any] = {option: hub_options.get(option) for option in ("cache_dir", "revision")}
    folder = f"{hub_options['subfolder']}/" if hub_options.get("subfolder") else ""

    def has(file: str) -> bool:
        return isinstance(hub.try_to_load_from_cache(name, folder + file, **place), str)

    return has("config.json") and any(map(has, ("model.safetensors", "pytorch_model.bin")))


def local_folder(source: str | Path) -> Path | None:
    """Return the folder that `source` names, or None if it is a Hub id.

    A folder on disk has precedence over a model that is embedded in this package. The network is not used. If a save
    into the folder was killed, its files are as described at `distilbert_core.files.journal.settled`.

    Raises:
        CheckpointError: `source` is a path of a folder that does not exist, or the journal of a save is damaged.
    """
    text = str(source)
    if not text:
        raise CheckpointError("Give the path of a folder, or a Hub id; got an empty text.")
    try:
        folder = Path(source).expanduser()
    except RuntimeError:
        raise CheckpointError(f"The folder {text} does not exist: the user is unknown.") from None
    if folder.is_dir():
        return settled(folder)
    if Path(text).name == text and (EMBEDDED_MODELS / text).is_dir():
        return EMBEDDED_MODELS / text
    if folder.is_file():
        raise CheckpointError(f"{text} is a file; give the folder that holds it.")
    if isinstance(source, Path) or text.startswith(("/", "./", "../", "~")) or text.count("/") > 1 or "\\" in text:
        raise CheckpointError(f"The folder {text} does not exist.{_similar(source)}")
    return None


def folder_state(source: str | Path, subfolder: str = "") -> frozenset[tuple[str, int, int]]:
    """Return the name, inode and time of change of each file beside a checkpoint; nothing for one of the Hub.

    If it is the same before and after files were read, no save has replaced them in between.

    Raises:
        CheckpointError: `source` is a path of a folder that does not exist.
    """
    folder = Path(source).parent if Path(source).is_file() else local_folder(source)
    state = set()
    if folder is not None:
        with suppress(OSError, ValueError), os.scandir(settled(folder / subfolder)) as entries:
            for entry in entries:
                if not entry.name.startswith(PREFIX):
                    status = entry.stat(follow_symlinks=False)
                    state.add((entry.name, status.st_ino, status.st_mtime_ns))
    return frozenset(state)


def find_file(source: str | Path, name: str, *, subfolder: str = "", **hub_options: Any) -> Path | None:
    """Return the path of a file of a checkpoint, or None if the checkpoint lacks it.

    Args:
        source: A folder, an embedded model, or a Hub id; only the last may use the network.
        name: File name.
        subfolder: Folder inside the checkpoint.
        **hub_options: `revision`, `cache_dir`, `token`, `local_files_only` and `force_download`, as in
            `huggingface_hub`. With HF_HUB_OFFLINE=1, a file that the cached checkpoint lacks counts as missing.

    Raises:
        CheckpointError: The folder or repository does not exist, or cannot be reached; or the file is a link that leads
            out of the folder.
    """
    folder = local_folder(source)
    if folder is not None:
        parent = settled(folder / subfolder) if subfolder else folder
        path = parent / name
        with reading(path, "the name of a file"):  # a name out of an index may be too long
            if not path.is_file():
                return None
            refuse_link(path, parent)
        return path

    from huggingface_hub import errors as hub_errors
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(source), name, subfolder=subfolder or None, **hub_options))
    except hub_errors.LocalEntryNotFoundError as error:
        if _known_absent(source, f"{subfolder}/{name}" if subfolder else name, hub_options):
            return None
        # The file is not in the cache and cannot be fetched, but may exist.
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


def _known_absent(source: str | Path, name: str, hub_options: Mapping[str, Any]) -> bool:
    """Return whether the cache shows that a checkpoint lacks a file."""
    import huggingface_hub as hub

    cache: dict[str, Any] = {option: hub_options.get(option) for option in ("cache_dir", "revision")}
    if hub.try_to_load_from_cache(str(source), name, **cache) is hub._CACHED_NO_EXIST:
        return True
    if not _is_offline(hub_options):
        return False  # the connection failed; the Hub may have the file
    try:  # fails if the cached commit has a list of its files that names this one
        hub.snapshot_download(str(source), allow_patterns=[name], local_files_only=True, **cache)
    except OSError:
        return False
    return True


def _is_offline(hub_options: Mapping[str, Any]) -> bool:
    from huggingface_hub import constants

    return bool(hub_options.get("local_files_only") or constants.HF_HUB_OFFLINE)


def offline_note(source: str | Path, hub_options: Mapping[str, Any]) -> str:
    """Return an addition to messages about missing files: offline, only the cache of the Hub was searched."""
    offline = local_folder(source) is None and _is_offline(hub_options)
    return " in the local cache, which is the only source offline" if offline else ""


def _similar(source: str | Path) -> str:
    """Return an addition to messages about a source that was not found: a checkpoint with a similar name.

    The embedded models are compared, and the folders beside the source.
    """
    path = Path(source).expanduser()
    parents = (EMBEDDED_MODELS, path.parent)
    checkpoints = [file.parent.name for parent in parents for file in parent.glob("*/config.json")]
    return did_you_mean(path.name, checkpoints, cutoff=0.8)


def _unreachable(source: str | Path, name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{name} of {source!r} is not in the local cache and could not be fetched from the Hub: {reason} "
        f"Check the connection and HF_HUB_OFFLINE, or give the path of a local folder.{_similar(source)}"
    )


def resolve_file(source: str | Path, name: str, **hub_options: Any) -> Path:
    """Return the path of a file of a checkpoint.

    Args:
        source: A folder, an embedded model, or a Hub id; only the last may use the network.
        name: File name.
        **hub_options: The options of `find_file`.

    Raises:
        CheckpointError: The checkpoint does not exist, cannot be reached, or lacks the file.
    """
    path = find_file(source, name, **hub_options)
    if path is None:
        raise CheckpointError(f"{source} has no file {name}{offline_note(source, hub_options)}.")
    return path


class PushToHub:
    """Base class of objects that are saved by `save_pretrained` and can be uploaded to the Hub."""

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
        card: str | Path | None = None,
        **kwargs: Any,
    ) -> Any:
        """Upload the files that `save_pretrained` writes to a repository of the Hub, which is created if needed.

        A model is uploaded with a model card, README.md, unless the repository has one.

        Args:
            repo_id: 'name/model', or 'model' in your own namespace.
            commit_message: Title of the commit.
            commit_description: Description of the commit.
            private: Whether a new repository is private; None: your account's default.
            token: Access token; None: the token of `hf auth login`.
            revision: Branch to commit to, which is created if needed; None: 'main'.
            create_pr: Open a pull request in place of a commit.
            card: The card of a model: a file, a folder that has one, or its text; it replaces that of the repository.
                `finetune`, `distill` and `convert(card=True)` write one into their folders: data, metrics, history.
                None: a new one with the sizes and the origin of the model, if the repository has none.
            **kwargs: Arguments of `save_pretrained`.

        Returns:
            The commit, as `huggingface_hub.upload_folder` returns it.

        Raises:
            InputError: `card` is not a file, a folder with a card, or a text of several lines.
            TypeError: `card` is given for a tokenizer or a configuration.
            Exception: An error of `huggingface_hub`: the Hub cannot be reached, or denies access.
        """
        from huggingface_hub import HfApi

        text = self._model_card(card, repo_id)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **kwargs)
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None and not revision.startswith("refs/"):
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            if text is not None and (card is not None or not api.file_exists(repo_id, CARD_FILE, revision=revision)):
                Path(folder, CARD_FILE).write_text(text, encoding="utf-8")
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )

    def _model_card(self, card: str | Path | None, repo_id: str) -> str | None:
        """Return the README.md of an upload; None for objects that are not models."""
        if card is not None:
            raise TypeError("card is the README.md of a model: push the model with it.")
        return None
