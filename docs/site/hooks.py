"""Hooks of MkDocs: pages from files outside of docs/, pages of the API, and links that lead out of the site.

tox run -e docs        # builds the site into build/site
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {  # file of the repository -> page of the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "SECURITY.md": "project/SECURITY.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "tests/README.md": "project/tests.md",
    "distilbert_core/models/sst2-tiny/README.md": "project/sst2-tiny.md",
}
API = {  # page -> title, modules whose public names it describes
    "pytorch": ("PyTorch", ["distilbert_pt.heads", "distilbert_pt.model", "distilbert_pt.losses"]),
    "keras": (
        "Keras",
        ["distilbert_tf.heads", "distilbert_tf.model", "distilbert_tf.losses", "distilbert_tf.optimization"],
    ),
    "flax": ("JAX / Flax", ["distilbert_flax.heads", "distilbert_flax.model", "distilbert_flax.losses"]),
    "models": (
        "Models, all backends",
        ["distilbert_core.model.checkpoint_loading", "distilbert_core.model.checkpoint_saving"],
    ),
    "configuration": ("Configuration", ["distilbert_core.model.config"]),
    "tokenizers": ("Tokenizers", ["distilbert_core.tokenization.base", "distilbert_core.tokenization.pretrained"]),
    "pipelines": ("Pipelines", ["distilbert_core.pipelines"]),
    "training": (
        "Training",
        [
            "distilbert_core.training.finetuning",
            "distilbert_core.training.preparing",
            "distilbert_core.training.recipe",
            "distilbert_core.training.trainer",
            "distilbert_core.training.metrics",
            "distilbert_core.training.distillation.distilling",
            "distilbert_core.training.distillation.recipe",
        ],
    ),
    "conversion": ("Conversion", ["weight_conversion", "weight_conversion.scanning"]),
    "errors": ("Errors", ["distilbert_core.errors"]),
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
SOURCE = re.compile(r'( src(?:set)?=")([^"]+)')  # of a picture in HTML
FENCE = re.compile(r"^( *```\w+) (\w+).*$", re.MULTILINE)  # with words for the tests, such as `bash set-up`
SIDES = {"old": "before", "new": "here", "same": "before and here"}  # of a pair in a guide -> its title
OTHER_SITE = re.compile(r"[a-z]+:")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose files are outside of docs/, and those of the API."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)))
    for name, (title, modules) in API.items():
        blocks = "\n".join(f"::: {module}\n" for module in modules)
        files.append(File.generated(config, f"api/{name}.md", content=f"# {title}\n\n{blocks}"))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Change the links of a page, to pages of the site or to the path of a file that is not on it, and its fences."""
    sources = {page: source for source, page in PAGES.items()}
    source = Path(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    up = "../" * page.file.src_uri.count("/")

    def on_site(target: str) -> tuple[str, str | None]:
        """Return the path of a linked file in the repository, and in the site if it is there."""
        path = (ROOT / source.parent / target).resolve().relative_to(ROOT).as_posix()
        found = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        return path, found if found is not None and files.get_file_from_path(found) else None

    def changed(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if OTHER_SITE.match(target):
            return match[0]
        path, found = on_site(target)
        if found is None:
            return text if path in text else f"{text} (`{path}`)"
        return f"{image}[{text}]({up}{found}{anchor})"

    def of_picture(match: re.Match[str]) -> str:
        path, found = on_site(match[2])
        if found is None:
            raise PluginError(f"{source}: the picture {path} is not below docs/")
        return f"{match[1]}{up}{found}"

    def of_fence(match: re.Match[str]) -> str:
        side = SIDES.get(match[2])
        return match[1] if side is None else f'{match[1]} title="{side}"'

    return FENCE.sub(of_fence, SOURCE.sub(of_picture, LINK.sub(changed, markdown)))
