"""A stand-in for the Hub that records uploads; the fixture `uploads` installs it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Uploads(list[Any]):
    """In place of `huggingface_hub.HfApi`: a list of calls with their names, and of the names of uploaded files."""

    has_card = False  # of the repository

    def __call__(self, token: Any = None) -> Uploads:
        self.append(("token", token))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        self.append(("create_repo", repo_id, options))
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"me/{repo_id}")

    def file_exists(self, repo_id: str, file: str, **options: Any) -> bool:
        return self.has_card

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.append(("create_branch", repo_id, options))

    def upload_folder(self, folder_path: str, **options: Any) -> str:
        self.append(("upload_folder", sorted(path.name for path in Path(folder_path).iterdir()), options))
        return "commit"
