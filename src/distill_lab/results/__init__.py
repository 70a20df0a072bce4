"""Results of runs: files, comparisons, tables."""

from distill_lab.results.result import Provenance, Result

__all__ = ["Provenance", "Result"]
