"""Energy that a counter of the machine has counted; never an estimate."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

RAPL = Path("/sys/class/powercap")
NOT_MEASURED = "not measured"
Reading = tuple[float, ...]


class Counter(Protocol):
    """What counts joules.

    Attributes:
        about: What it counts, or why there is none.
    """

    about: str

    def read(self) -> Reading:
        """Return where it stands; nothing where there is none."""
        ...

    def since(self, before: Reading) -> float | None:
        """Return joules since a reading; None where nothing is counted."""
        ...


class NoCounter:
    """A machine that does not count.

    Args:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        self.about = f"energy: {NOT_MEASURED} ({reason})"

    def read(self) -> Reading:
        """Return nothing."""
        return ()

    def since(self, before: Reading) -> None:
        """Return nothing."""


class Rapl:
    """Energy of the processor's packages, as the kernel reads it from the processor.

    All that runs on them is in it. A counter returns to 0 past `max_energy_range_uj`, after some
    minutes at full load; a pass is shorter.

    Args:
        packages: Folders with `energy_uj`, in microjoules.
    """

    def __init__(self, packages: list[Path]) -> None:
        self.packages = packages
        self.ranges = [_number(folder / "max_energy_range_uj") for folder in packages]
        names = ", ".join(_name(folder) for folder in packages)
        self.about = f"energy: of the whole processor ({names}), by RAPL"

    def read(self) -> Reading:
        """Return the microjoules of each package."""
        return tuple(float(_number(folder / "energy_uj")) for folder in self.packages)

    def since(self, before: Reading) -> float:
        """Return joules of all packages since a reading."""
        spent = zip(before, self.read(), self.ranges, strict=True)
        return sum(b - a if b >= a else b - a + whole for a, b, whole in spent) / 1e6


class Nvml:
    """Energy of a GPU, as NVIDIA's driver counts it.

    Args:
        library: `pynvml`, started.
        index: Of the GPU.
    """

    def __init__(self, library: Any, index: int) -> None:
        self.library = library
        self.handle = library.nvmlDeviceGetHandleByIndex(index)
        self.read()  # GPUs before Volta do not count
        self.about = "energy: of the whole GPU, by NVML"

    def read(self) -> Reading:
        """Return millijoules."""
        return (float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)),)

    def since(self, before: Reading) -> float:
        """Return joules since a reading."""
        return (self.read()[0] - before[0]) / 1e3


def counter(device: str, root: Path = RAPL) -> Counter:
    """Return what counts the energy of a device here.

    Args:
        device: "cpu" or "cuda".
        root: Where the kernel shows RAPL.
    """
    return _nvml() if device == "cuda" else _rapl(root)


def _rapl(root: Path) -> Counter:
    # Packages alone: what lies below them is in them, `psys` is around them, and `intel-rapl-mmio`
    # is another way to the same counters.
    zones = sorted(root.glob("intel-rapl:*"))
    packages = [path for path in zones if _name(path).startswith("package")]
    if not packages:
        return NoCounter("this machine shows no RAPL counter")
    try:
        rapl = Rapl(packages)
        rapl.read()
    except PermissionError as error:
        return NoCounter(f"{error.filename} may be read by root alone")
    except (OSError, ValueError) as error:
        return NoCounter(f"its RAPL counter cannot be read: {error}")
    return rapl


def _nvml() -> Counter:
    try:
        import pynvml
    except ImportError:
        return NoCounter("type: pip install 'distill-lab[energy]'")
    try:
        pynvml.nvmlInit()
        index = _gpu(pynvml)
        if index is None:
            return NoCounter("NVML does not list the GPU that torch takes")
        return Nvml(pynvml, index)
    except pynvml.NVMLError as error:
        return NoCounter(f"NVML says: {error}")


def _gpu(library: Any) -> int | None:
    """Return NVML's number of the GPU that torch takes; NVML lists hidden ones too."""
    import torch

    wanted = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    for index in range(int(library.nvmlDeviceGetCount())):
        uuid = library.nvmlDeviceGetUUID(library.nvmlDeviceGetHandleByIndex(index))
        if (uuid.decode() if isinstance(uuid, bytes) else uuid) == wanted:
            return index
    return None


def _name(folder: Path) -> str:
    with suppress(OSError):
        return (folder / "name").read_text(encoding="ascii").strip()
    return ""


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
