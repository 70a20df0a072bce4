"""The pages say what is true: settings with their defaults, links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from distill_lab.config import conf_dir

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"),
    *(ROOT / "experiments").glob("*.md"), *(ROOT / "benchmarks").glob("*.md"),
]  # fmt: skip
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
