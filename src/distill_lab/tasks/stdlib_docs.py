"""The embedded task: which part of Python's standard library does a docstring come from?

It needs no network and no files but those of the running Python.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import re
import sysconfig
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from distill_lab.errors import DataError
from distill_lab.tasks.augment import Augment
from distill_lab.tasks.rows import Part, Rows
from distill_lab.tasks.text import TextTask
from distill_lab.types import Problem

TOPICS: dict[str, str] = {
    "concurrency": "asyncio concurrent multiprocessing queue sched selectors signal subprocess"
    " threading _threading_local asyncore asynchat",
    "data": "_collections_abc _pydecimal bisect calendar collections copy dataclasses datetime"
    " decimal enum fractions functools graphlib hashlib heapq hmac numbers operator pprint random"
    " reprlib secrets statistics uuid weakref zoneinfo",
    "development": "bdb cProfile cgitb code codeop doctest inspect logging pdb profile pstats"
    " pydoc rlcompleter timeit trace traceback tracemalloc unittest warnings",
    "files": "_pyio bz2 configparser csv dbm filecmp fileinput fnmatch genericpath glob gzip"
    " lzma netrc ntpath os pathlib pickle pickletools plistlib posixpath shelve shutil stat"
    " tarfile tempfile zipapp zipfile",
    "interface": "cmd curses getopt getpass optparse argparse tkinter turtle",
    "language": "abc ast compileall contextlib ctypes dis distutils imp importlib keyword"
    " modulefinder opcode pkgutil platform py_compile pyclbr runpy site symtable sysconfig tabnanny"
    " tokenize types typing venv zipimport",
    "network": "base64 cgi email ftplib http imaplib ipaddress mailbox mailcap mimetypes nntplib"
    " poplib quopri smtpd smtplib socket socketserver ssl telnetlib urllib uu webbrowser wsgiref"
    " xmlrpc",
    "text": "_markupbase _strptime codecs difflib encodings gettext html json locale re sgmllib"
    " shlex string stringprep textwrap tomllib xml",
}
_MODULES = {module: topic for topic, names in TOPICS.items() for module in names.split()}
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class StdlibDocs(TextTask):
    """Docstrings of the standard library, labelled with their part of it.

    The rows differ between Python versions; their fingerprint is in the result.

    Args:
        name: Short name, for tables.
        evaluation: Share of the docstrings that is only reported, chosen by their text.
        min_words: Docstrings with fewer words are left out.
        metrics: Names of the metrics, the main one first.
        max_length: Tokens at which rows are cut.
        selection: Share of train that chooses epoch, T and λ.
        selection_max: Upper bound of these rows.
        augment: More rows for the transfer set.
    """

    def __init__(
        self,
        *,
        name: str = "stdlib_docs",
        evaluation: float = 0.2,
        min_words: int = 4,
        metrics: Sequence[str] = ("accuracy", "f1_macro"),
        max_length: int = 64,
        selection: float = 0.1,
        selection_max: int = 2000,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(
            name=name,
            metrics=metrics,
            max_length=max_length,
            selection=selection,
            selection_max=selection_max,
            augment=augment,
        )
        self.problem = Problem("classification", tuple(TOPICS))
        self.evaluation = evaluation
        self.min_words = min_words

    def read(self) -> tuple[Rows, Mapping[str, Part]]:
        """Collect the docstrings.

        Raises:
            DataError: If this Python comes without the source of its library.
        """
        root = Path(sysconfig.get_paths()["stdlib"])
        found: dict[str, str] = {}
        for text, topic in docstrings(root):
            if len(re.findall(r"\w+", text)) >= self.min_words:
                found.setdefault(text, topic)
        if len(found) < 500:
            raise DataError(f"{root}: only {len(found)} docstrings; this Python has no sources")
        labels = [self.problem.labels.index(topic) for topic in found.values()]
        rows = Rows(np.arange(len(found)), list(found), None, np.asarray(labels, dtype=np.int64))
        reported = np.asarray([_position(text) < self.evaluation for text in found])
        train, evaluation = rows.take(np.flatnonzero(~reported)), np.flatnonzero(reported)
        return train, {"evaluation": rows.take(evaluation)}


def docstrings(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each docstring below a standard library's folder with its topic.

    The sources are parsed, never imported.
    """
    files = [root / f"{module}.py" for module in _MODULES if (root / f"{module}.py").is_file()]
    files += [path for module in _MODULES for path in (root / module).rglob("*.py")]
    for path in sorted(files):
        parts = path.relative_to(root).parts
        if _LEFT_OUT.intersection(parts):
            continue
        with _without_collection():
            texts = _of_file(path)
        for text in texts:
            yield text, _MODULES[parts[0].removesuffix(".py")]


def _of_file(path: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old modules have odd escapes
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            return []
        nodes = [node for node in _statements(tree) if isinstance(node, _DOCUMENTED)]
        return [text for node in nodes if (text := ast.get_docstring(node))]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Look for no garbage: trees are large and have no cycles, and half of the time is saved."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what can hold a docstring and what holds it, in the order of `ast.walk`."""
    todo = deque[ast.AST]([tree])
    while todo:
        node = todo.popleft()
        yield node
        for field in _BLOCKS:
            todo.extend(getattr(node, field, ()))


def _position(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
