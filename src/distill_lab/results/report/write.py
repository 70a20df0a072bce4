"""Writing the report: whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill_lab.disk import in_bytes, saving
from distill_lab.errors import DataError
from distill_lab.results.figures import number_of
from distill_lab.results.report.html_page import as_html
from distill_lab.results.report.markdown import as_markdown
from distill_lab.results.report.page import Page, read_page
from distill_lab.results.report.pictures import write_pictures
from distill_lab.results.show import console
from distill_lab.store import write_atomically


def write_report(
    paths: Sequence[Path],
    output: Path,
    form: str = "html",
    pictures: Path | None = None,
    *,
    texts: bool = False,
) -> Page:
    """Write the report of a study and tell where it is.

    Args:
        paths: Folders of studies or runs.
        output: The file.
        form: "html" or "markdown".
        pictures: Folder for PNG files; None for none, or beside a markdown file for one called
            after it.
        texts: Whether sample rows are shown with their texts.

    Returns:
        What was written.

    Raises:
        DataError: If a folder is not there or holds no finished run, or the file is a folder.
        DiskError: If the disk is full or may not be written to; what was there stays.
        UsageError: If pictures are wanted and cannot be drawn.
    """
    if output.is_dir():
        raise DataError(f"{output}: it is a folder; name a file, such as {output / 'report.html'}")
    page = read_page(paths, texts=texts)
    if form == "markdown" and pictures is None:
        pictures = output.with_name(f"{output.stem}_pictures")
    files = write_pictures(page, pictures) if pictures else {}
    content = as_html(page) if form == "html" else as_markdown(page, files, output.parent)
    with saving(output.parent, "--output"):
        write_atomically(output, content)
    out = console()
    size = in_bytes(output.stat().st_size)
    line = f"{output}: {number_of(len(page.study.results), 'run')}, {size}"
    out.print(line, highlight=False, soft_wrap=True, markup=False)
    if pictures:
        told = f"{pictures}: {number_of(sum(map(len, files.values())), 'picture')}"
        out.print(told, highlight=False, soft_wrap=True, markup=False)
    return page
