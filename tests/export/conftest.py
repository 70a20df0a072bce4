"""Finished runs, each made once."""

from tests.serving.conftest import finished

__all__ = ["finished"]
