"""Progress where there is no terminal, and log lines that follow `sys.stderr`."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable

import pytest

from distill_lab.console import StderrHandler
from distill_lab.results import Result


def test_a_file_gets_a_line_now_and_then(
    lab: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        lab("callbacks.progress.silence=0")
    assert "student: 100 % of the steps" in caplog.text
    assert "baseline: 100 % of the steps" in caplog.text


def test_silence_keeps_short_trainings_quiet(
    lab: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        lab()
    assert "of the steps" not in caplog.text
    assert "student: epoch 1/1, selection" in caplog.text


def test_lines_go_to_the_present_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = StderrHandler()
    monkeypatch.setattr(sys, "stderr", now := io.StringIO())
    handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, "a %s", ("line",), None))
    assert now.getvalue() == "a line\n"
