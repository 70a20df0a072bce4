"""What MkDocs asks while it builds: the site has the layout of the repository.

Its pages are README.md, docs/, experiments/ and so on under their own paths, so that a relative
link leads to the same thing on the site and in the repository. A linked file that is no page goes
along; a notebook becomes a page, and so does a folder: the list of its files.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "experiments/*.md",
         "benchmarks/*.md")  # fmt: skip
_VERBS = "<!-- verbs -->"  # gives way to what each verb says of itself
_ASK = """
import contextlib, importlib, io, json, sys
told = []
for verb, *rest in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        importlib.import_module(f"distill_lab.verbs.{verb}").main([*rest, "--help"])
    told.append([" ".join([verb, *rest]), said.getvalue()])
print(json.dumps(told))
"""
_LINK = re.compile(r"(\]\()([^)\s#]+)")


def on_config(config: Any) -> Any:
    """Write out the entries of the navigation with a `*`: all pages that there are.

    Args:
        config: MkDocs' configuration.

    Returns:
        The configuration.
    """
    for chapter in config.nav:
        for title, entries in chapter.items():
            if isinstance(entries, list):
                chapter[title] = [one for entry in entries for one in _written_out(entry)]
    config.nav = [chapter for chapter in config.nav if all(chapter.values())]
    return config


def _written_out(entry: Any) -> list[Any]:
    if not (isinstance(entry, str) and "*" in entry):
        return [entry]
    return [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob(entry))]


def on_files(files: Files, config: Any) -> Files:
    """Replace the files of docs/ by those of the whole repository that the site shows.

    Args:
        files: What MkDocs has found in docs/ and in its theme.
        config: MkDocs' configuration.

    Returns:
        The files of the site.
    """
    site = Files([file for file in files if file.generated_by or file.src_dir != config.docs_dir])
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    for page in [*pages, *(ROOT / "docs").glob("*.css")]:
        site.append(_file(page, config))
    for path in sorted({path for page in pages for path in _linked(page)} - set(pages)):
        if path.suffix == ".ipynb":
            site.append(File.generated(config, _name(path), content=_notebook(path)))
        elif path.is_dir():
            site.append(File.generated(config, _name(path), content=_listing(path)))
            for inner in _files_of(path):
                site.append(_file(inner, config))
        else:
            site.append(_file(path, config))
    return site


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to notebooks and folders to the pages made of them.

    Args:
        markdown: The text of a page.
        page: The page.

    Returns:
        The text with these links changed.
    """
    here = ROOT / page.file.src_uri
    if _VERBS in markdown:
        markdown = markdown.replace(_VERBS, _helps())

    def led(match: re.Match[str]) -> str:
        path = _target(here, match[2])
        if path and (path.is_dir() or path.suffix == ".ipynb"):
            name = posixpath.relpath(_name(path), posixpath.dirname(page.file.src_uri) or ".")
            return match[1] + name
        return match[0]

    return _LINK.sub(led, markdown)


def _file(path: Path, config: Any) -> File:
    return File(
        path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls
    )


def _name(path: Path) -> str:
    """Return the page of a notebook or folder."""
    inside = path.relative_to(ROOT)
    return (inside / "files.md" if path.is_dir() else inside.with_suffix(".md")).as_posix()


def _linked(page: Path) -> set[Path]:
    targets = (_target(page, link[2]) for link in _LINK.finditer(page.read_text("utf-8")))
    return {path for path in targets if path}


def _target(page: Path, link: str) -> Path | None:
    """Return what a relative link leads to, if that is in the repository."""
    if ":" in link:
        return None
    path = Path(os.path.normpath(page.parent / link))
    return path if path.exists() and path.is_relative_to(ROOT) else None


def _helps() -> str:
    """Return a section for each verb, from one process that asks all of them."""
    verbs = sorted(path.stem for path in (ROOT / "src/distill_lab/verbs").glob("[!_]*.py"))
    lines = [[verb] for verb in verbs if verb != "store"]
    lines += [["store", action] for action in ("ls", "verify", "rm")]
    env = os.environ | {"COLUMNS": "90", "PYTHONPATH": str(ROOT / "src")}
    asked = [sys.executable, "-c", _ASK, json.dumps(lines)]
    answer = subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout
    return "\n".join(f"## {name}\n\n```text\n{text}```\n" for name, text in json.loads(answer))


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _listing(folder: Path) -> str:
    rows = [f"- [{path.name}]({path.name})" for path in _files_of(folder)]
    return "\n".join([f"# {folder.name}/", "", *rows, ""])


def _notebook(path: Path) -> str:
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"
