"""What somebody wants to know of which models, looked at before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_lab.errors import ConfigError, did_you_mean
from distill_lab.results.run_folder import what_there_is

FORMS = ("eager", "compiled", "onnx", "int8", "onnx-int8")
DEVICES = ("auto", "cpu", "cuda")
_LEAST = {"batch_size": 1, "repetitions": 1, "warm_up": 0, "threads": 1}


@dataclass(frozen=True)
class Asked:
    """What somebody wants to know.

    Attributes:
        typed: Runs and models.
        teacher: Whether the runs' teachers are measured too.
        baseline: The same of their baselines.
        forms: In which forms.
        device: "cpu", "cuda" or "auto".
        rows: Run whose evaluation rows are read; None takes the first that is measured.
        lengths: Tokens of made-up rows, in place of those of a run.
        batch_size: Rows of a batch, at most.
        repetitions: Rounds that count.
        warm_up: Rounds before them.
        threads: That compute; None takes torch's number.
        against: What the others are held against; None takes the first.
        store_dir: Another store than that of the runs' configurations.
    """

    typed: Sequence[str]
    teacher: bool = False
    baseline: bool = False
    forms: Sequence[str] = ("eager",)
    device: str = "auto"
    rows: Path | None = None
    lengths: Sequence[int] = ()
    batch_size: int = 32
    repetitions: int = 10
    warm_up: int = 1
    threads: int | None = None
    against: str | None = None
    store_dir: Path | None = None

    def check(self) -> None:
        """Look at the values.

        Raises:
            ConfigError: With all faults.
        """
        faults = [_unknown("--forms", form, FORMS) for form in self.forms if form not in FORMS]
        if self.device not in DEVICES:
            faults.append(_unknown("--device", self.device, DEVICES))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                faults.append(f"--{name.replace('_', '-')}={value}: at least {least} is needed")
        faults += [f"--lengths={each}: at least 1 is needed" for each in self.lengths if each < 1]
        if self.lengths and self.rows:
            faults.append("--lengths, --rows: rows are of fixed lengths or of a run; take one")
        if not self.forms:
            faults.append(f"--forms: name at least one of {', '.join(FORMS)}")
        faults += [
            f"{place}: there is no such run or model{what_there_is(Path(place))}"
            for _, place in map(name_and_place, self.typed)
            if _is_nowhere(place)
        ]
        if faults:
            raise ConfigError(faults)


def name_and_place(typed: str) -> tuple[str, str]:
    """Return the name that was given to a run or model, else an empty string, and where it is.

    Args:
        typed: `NAME=PLACE`, or a place, which may have an equals sign in it.
    """
    name, sign, place = typed.partition("=")
    return (name, place) if sign and name and not Path(typed).exists() else ("", typed)


def _is_nowhere(place: str) -> bool:
    """Whether something is below a folder that is here, as no name of the hub is, and not there."""
    path = Path(place)
    return len(path.parts) > 1 and path.parents[-2].is_dir() and not path.exists()


def _unknown(key: str, value: str, known: Sequence[str]) -> str:
    return f"{key}={value}: choose among {', '.join(known)}{did_you_mean(value, known)}"
