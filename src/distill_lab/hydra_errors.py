"""Hydra's errors as one sentence with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from distill_lab.config import GROUPS, conf_dir, experiments_dir
from distill_lab.errors import ConfigError, UsageError
from distill_lab.suggestions import choice_hint, key_hint
from distill_lab.train_help import choices

# What OmegaConf says of a value that a typed key of the root does not take.
_WANTED = {
    "could not be converted to Integer": "a whole number is needed",
    "is not a valid bool": "true or false is needed",
}


@contextmanager
def sentences() -> Iterator[None]:
    """Turn Hydra's errors into ours.

    Raises:
        UsageError: Instead of them.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, UsageError):  # of a launcher or sweeper
            raise error.__cause__ from None
        raise ConfigError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, quoted = lines[0], lines[0].split("'")
    cause = str(error.__cause__ or "").strip().splitlines() or [""]
    if first.startswith("Could not override"):
        return f"{quoted[1]}: not a key of the configuration{key_hint(quoted[1])}"
    if first.startswith("Error merging override"):
        wanted = next((words for sign, words in _WANTED.items() if sign in cause[0]), cause[0])
        return f"{first.removeprefix('Error merging override ')}: {wanted}"
    if first.startswith("Ambiguous value for argument"):
        key, _, values = first.partition("'")[2].rstrip("'").partition("=")
        return f"{key}={values}: several values want -m, a list wants brackets: '{key}=[{values}]'"
    if "does not support sweep type" in first or first.startswith("Sweep parameters"):
        return "an interval is for a search: type -m hydra/sweeper=optuna too, or values: KEY=A,B"
    if first.startswith("mismatched input '<EOF>'"):
        return "an override ends where a value is missing; values are typed without blanks: KEY=A,B"
    if first.startswith("Error parsing override"):
        return (
            f"{quoted[1]}: cannot be read; an override is typed KEY=VALUE, without blanks around =;"
            " a list, or a value with blanks, stands in quotes"
        )
    if "Could not find" in first:
        group, _, choice = quoted[-2].partition("/")
        if group == "hydra":  # its own groups lie a level lower, and their choices in the message
            group, _, choice = quoted[-2].rpartition("/")
            told = takewhile(lambda line: not line.startswith("Config search path"), lines[2:])
            options = [o for o in told if o != "basic" and not o.endswith("_schema")]
        else:
            options = choices(conf_dir() / group if group in GROUPS else experiments_dir())
        hint = choice_hint(group, choice, options)
        return f"{group}={choice}: there is no such choice{hint}"
    return first
