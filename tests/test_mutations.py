"""What keeps a run that is ended whole is taken away, piece by piece: a test has to notice.

The same for the formulas of the objectives is `benchmarks/mutations.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENDED = "tests/test_resume.py::test_a_process_that_vanishes"
# What is lost: the file, edits as pairs of old and new text, and tests of which one must fail.
MUTANTS: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "torch's random state": (
        "random_states.py", [('    torch.set_rng_state(states["torch"])\n', "")], ENDED,
    ),
    "NumPy's random state": (
        "random_states.py",
        [("    np.random.set_state((name,", "    str((name,")],
        "tests/test_resume.py::test_random_states_come_back",
    ),
    "the position in the epoch": (
        "tasks/batching.py",
        [("        self._done = (epoch, batches)\n", "        self._done = (epoch, 0)\n")],
        ENDED,
    ),
    "projections": (
        "callbacks/resume.py",
        [(
            '            checkpoint["distill_lab"] = self._keeping\n',
            '            checkpoint["distill_lab"] = self._keeping\n'
            '            own = pl_module.state_dict()\n'
            '            for name in own:\n'
            '                if name.startswith("objective."):\n'
            '                    checkpoint["state_dict"][name] = own[name] * 0\n',
        )],
        ENDED,
    ),
    "what was logged after the checkpoint": (
        "training.py", [("            logger.go_on(mark)\n", "            str(mark)\n")], ENDED,
    ),
    "the checksum of a checkpoint": (
        "progress_files.py",
        [('return "" if checksum(file) == recorded else', 'return "" if recorded else')],
        "tests/test_resume.py::test_a_damaged_checkpoint_is_told_and_the_one_before_taken",
    ),
    "the note that makes a checkpoint count": (
        "progress_files.py",
        [
            ('        notes = sorted(self.folder.glob("step-*.json"), reverse=True)',
             '        notes = sorted(self.folder.glob("step-*.ckpt"), reverse=True)'),
            ('note.get("key") != self.key:', 'note.get("key", self.key) != self.key:'),
            ("            fault = _fault(file, str(note.get(\"checksum\")))",
             "            fault = note and _fault(file, str(note.get(\"checksum\")))"),
        ],
        "tests/test_resume.py::test_a_damaged_checkpoint_is_told_and_the_one_before_taken",
    ),
    "the rename of a text": (
        "store.py",
        [
            ('    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")\n',
             "    temporary = path\n"),
            ("        temporary.unlink(missing_ok=True)\n", "        str(uuid)\n"),
        ],
        "tests/test_store.py",
    ),
    "the rename of an entry": (
        "store.py",
        [
            ("        work = unfinished(path) if resumable else temporary(path)\n",
             "        work = path\n"),
            ("            discard(path)\n            work.rename(path)\n", ""),
        ],
        "tests/test_store_processes.py",
    ),
    "the lock of an entry": (
        "store.py", [("            with locked(path):\n", "            if locked:\n")],
        "tests/test_store_processes.py",
    ),
    "the lock of a run's folder": (
        "launch/folder_lock.py",
        [("lock.acquire(timeout=0)\n        except Timeout:\n            raise FolderTaken",
          "str(lock)\n        except Timeout:\n            raise FolderTaken")],
        "tests/launch/test_folder_lock.py",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("lost", MUTANTS)
def test_what_is_lost_is_noticed(lost: str, tmp_path: Path) -> None:
    name, edits, tests = MUTANTS[lost]
    for part in ("src", "conf"):
        shutil.copytree(ROOT / part, tmp_path / part)
    file = tmp_path / "src" / "distill_lab" / name
    text = file.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{name} has changed; this edit has to follow"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 1, answer.stdout[-3000:]
    assert " passed" in answer.stdout or "FAILED" in answer.stdout
