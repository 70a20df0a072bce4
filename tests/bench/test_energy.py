"""Counters of energy, read from folders as the kernel has them and from a library like NVML's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill_lab.bench.energy import NoCounter, Nvml, Rapl, counter


def zone(root: Path, folder: str, name: str, microjoules: int, most: int = 10_000_000) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    return path


def test_packages_are_summed_and_what_is_in_or_around_them_is_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    whole = zone(tmp_path, "intel-rapl:2", "psys", 0)
    again = zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    found = counter("cpu", tmp_path)
    before = found.read()
    for path, now in ((first, 1_500_000), (second, 7_000_000)):
        (path / "energy_uj").write_text(str(now))
    for path in (core, whole, again):
        (path / "energy_uj").write_text("900000")
    assert found.since(before) == pytest.approx(2.5)
    assert "package-0, package-1" in found.about and "RAPL" in found.about


def test_a_counter_that_returns_to_zero_goes_on(tmp_path: Path) -> None:
    one = zone(tmp_path, "intel-rapl:0", "package-0", 9_900_000)
    two = zone(tmp_path, "intel-rapl:1", "package-1", 100)
    found = counter("cpu", tmp_path)
    before = found.read()
    (one / "energy_uj").write_text("150000")
    (two / "energy_uj").write_text("100100")
    assert found.since(before) == pytest.approx(0.25 + 0.1)


def test_a_machine_without_a_counter_measures_nothing(tmp_path: Path) -> None:
    found = counter("cpu", tmp_path / "powercap")
    assert isinstance(found, NoCounter)
    assert found.since(found.read()) is None
    assert "not measured" in found.about and "no RAPL counter" in found.about


def test_a_counter_that_may_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj"

    def closed(self: Rapl) -> tuple[float, ...]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Rapl, "read", closed)
    found = counter("cpu", tmp_path)
    assert found.since(found.read()) is None
    assert f"not measured ({path} may be read by root alone)" in found.about


def test_a_counter_that_is_none_is_said(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (path / "energy_uj").write_text("n/a")
    assert "not measured (its RAPL counter cannot be read" in counter("cpu", tmp_path).about


class Library(SimpleNamespace):
    """What `pynvml` has of functions that are called here."""

    class NVMLError(Exception):
        pass

    def __init__(self, millijoules: list[int], uuids: list[str], fault: str = "") -> None:
        super().__init__(millijoules=iter(millijoules), uuids=uuids, fault=fault, asked=[])

    def nvmlInit(self) -> None:
        if self.fault:
            raise self.NVMLError(self.fault)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return str(self.uuids[handle])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        self.asked.append(handle)
        return int(next(self.millijoules))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a library in the place of NVML's, beside a GPU of torch."""
    properties = SimpleNamespace(uuid="0b")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties)
    return lambda library: monkeypatch.setitem(sys.modules, "pynvml", library)


def test_a_gpu_is_the_one_that_torch_takes(gpu: Any) -> None:
    library = Library([0, 1_000, 3_500], ["GPU-0a", "GPU-0b"])
    gpu(library)
    found = counter("cuda")
    assert isinstance(found, Nvml)
    assert found.since(found.read()) == 2.5
    assert set(library.asked) == {1}


def test_a_gpu_that_nvml_does_not_know_is_not_measured(gpu: Any) -> None:
    gpu(Library([0, 0], ["GPU-0a"]))
    assert "not measured (NVML does not list" in counter("cuda").about


def test_what_nvml_says_is_told(gpu: Any) -> None:
    gpu(Library([], [], "Driver Not Loaded"))
    assert "not measured (NVML says: Driver Not Loaded)" in counter("cuda").about


def test_a_missing_library_is_named(gpu: Any) -> None:
    gpu(None)  # importing it is then an ImportError
    found = counter("cuda")
    assert "pip install 'distill-lab[energy]'" in found.about and found.read() == ()
