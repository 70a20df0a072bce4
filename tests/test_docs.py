"""The pages say what is true: settings with their defaults, links that lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from distill_lab.config import conf_dir
from distill_lab.errors import UsageError
from tests.typed_lines import hold, pages, typed_lines

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages(ROOT)
TYPED = Counter(line for page in PAGES for line in typed_lines(page.read_text(encoding="utf-8")))
OBJECTIVES = sorted((conf_dir() / "objective").glob("*.yaml"))


def sections() -> dict[str, str]:
    text = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_objective_has_a_section_and_no_other() -> None:
    assert set(sections()) == {path.stem for path in OBJECTIVES}


@pytest.mark.parametrize("path", OBJECTIVES, ids=lambda path: path.stem)
def test_settings_stand_with_their_defaults(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    said = " ".join(sections()[path.stem].split())
    for key, value in settings.items():
        if key not in ("_target_", "defaults"):
            shown = "null" if value is None else str(value).replace("'", "")
            assert f"`{key}: {shown}`" in said, f"{key}: {shown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("line", TYPED)
def test_what_a_page_tells_to_type_is_understood(line: str) -> None:
    hold(line)


def test_a_line_that_is_not_understood_is_noticed() -> None:
    with pytest.raises(UsageError):
        hold("distill-lab train objective.temprature=4")
    with pytest.raises(UsageError):
        hold("distill-lab train -m objective=hinton,hintom seed=1,2")
    with pytest.raises(SystemExit):
        hold("distill-lab compare --no-such-thing runs/grid")


def test_messages_that_are_explained_are_those_of_the_program() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "src" / "distill_lab").rglob("*.py"))
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    said = re.sub(r'"\s*\n\s*f?"', "", source)  # literals over several lines are one text
    headings = re.findall(r"^### `(.+)`$", text, flags=re.MULTILINE)
    parts = {part for heading in headings for part in heading.split("…") if part.strip()}
    assert len(headings) > 20
    assert not {part for part in parts if part not in said}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` builds them."""
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr and "unrecognized" not in built.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in PAGES:
        inside = page.relative_to(ROOT)
        there = "index.html" if inside.name == "README.md" else f"{inside.stem}.html"
        assert (site / inside.with_name(there)).is_file(), inside


def test_the_site_asks_nothing_of_others(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]* src=[\"']?(?:https?:)?//[^>]*", text)
        fetched += re.findall(r"<link[^>]* rel=[\"']?(?:stylesheet|preconnect)[^>]*//[^>]*", text)
        assert not fetched, page


def test_links_of_the_site_lead_to_files(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name != "404.html":  # whose links begin at the root
            for link in re.findall(r"<a[^>]* href=[\"']?([^\"'>#?\s]+)", page.read_text("utf-8")):
                assert ":" in link or (page.parent / link).is_file(), f"{page.name}: {link}"
