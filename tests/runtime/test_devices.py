"""Devices: the contract, by one whose memory is not the caller's."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import tvm

from dsc.errors import ArtifactError
from dsc.needs import Facts, Needs
from dsc.runtime import devices, load
from dsc.runtime.devices import SeparateMemory, Staging, register_device
from tests.runtime.artifacts import Sum, make_sum

X = np.random.default_rng(0).standard_normal((5, 64), np.float32)


class Apart(SeparateMemory):
    """This processor, but no kernel sees memory of the caller, and nobody is told when one is done."""

    name = "apart"

    def __init__(self) -> None:
        super().__init__(tvm.cpu())
        self.given: list[tvm.runtime.Tensor] = []
        self.waits = 0

    def check(self, facts: Facts, target: str, source: str) -> None:
        if facts["place"] != "elsewhere":
            raise ArtifactError(f"{source} is for {target}, at {facts['place']}")

    def put(self, array: np.ndarray, staging: Staging) -> tvm.runtime.Tensor:
        tensor = super().put(array, staging)
        assert array.size == 0 or tensor.data_ptr() != array.ctypes.data
        self.given.append(tensor)
        return tensor

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        assert not any(tensor.same_as(given) for given in self.given)
        return super().get(tensor)

    def synchronize(self) -> None:
        self.waits += 1
        super().synchronize()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Apart:
    monkeypatch.setattr(devices.registry, "_added", {})
    return register_device(Apart())


@pytest.fixture(scope="module")
def elsewhere() -> Sum:
    """An artifact for it."""
    found = make_sum()
    needs = (*found.manifest.needs, Needs("apart", {"place": "elsewhere"}))
    return replace(found, manifest=replace(found.manifest, needs=needs))


def test_tensors_are_copied_both_ways(apart: Apart, elsewhere: Sum, tmp_path: Path) -> None:
    module = load(elsewhere.write(tmp_path / "m.dsc"))
    assert module.device is apart
    for x in (X, X[::-1], X[:3], X[:0]):
        np.testing.assert_allclose(module.run({"x": x})["y"], elsewhere.expected(x), rtol=1e-6, atol=1e-6)
    result = module.run({"x": X})["y"]
    result[:] = 0  # is the caller's
    np.testing.assert_allclose(module.run({"x": X})["y"], elsewhere.expected(X), rtol=1e-6, atol=1e-6)


def test_weights_are_put_there_once(apart: Apart, elsewhere: Sum, tmp_path: Path) -> None:
    module = load(elsewhere.write(tmp_path / "m.dsc"))
    before = len(apart.given)
    assert before == len(elsewhere.arrays)
    module.run({"x": X})
    module.run({"x": X})
    first, second = apart.given[before:]
    assert first.same_as(second)  # of the same shape: the same memory


def test_times_of_kernels_wait_for_them(apart: Apart, elsewhere: Sum, tmp_path: Path) -> None:
    module = load(elsewhere.write(tmp_path / "m.dsc"))
    assert apart.waits == 0
    assert len(module.profile({"x": X})) == apart.waits == len(elsewhere.arrays)


def test_another_device_than_the_artifact_needs(apart: Apart, elsewhere: Sum, tmp_path: Path) -> None:
    needs = (*elsewhere.manifest.needs[:-1], Needs("apart", {"place": "nowhere"}))
    wrong = replace(elsewhere, manifest=replace(elsewhere.manifest, needs=needs))
    with pytest.raises(ArtifactError, match="is for x86:test, at nowhere"):
        load(wrong.write(tmp_path / "m.dsc"))


def test_a_device_whose_package_is_broken(elsewhere: Sum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("apart", "dsc_package_that_is_not_there:Apart", devices.registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(devices.registry, "_added", {})
    monkeypatch.setattr(devices.registry, "entry_points", lambda **_: [broken])
    with pytest.raises(ArtifactError, match=r"m.dsc needs a device 'apart', whose package does not load: ModuleNot"):
        load(elsewhere.write(tmp_path / "m.dsc"))


def test_a_tensor_of_no_dims_is_put(apart: Apart) -> None:
    assert apart.put(np.array(3, np.float32), Staging()).numpy() == np.float32(3)


def test_a_place_is_not_used_for_another_type(apart: Apart) -> None:
    staging = Staging()
    first, second = (apart.put(np.arange(4, dtype=dtype), staging) for dtype in (np.float32, np.int32))
    assert not first.same_as(second)
    np.testing.assert_array_equal(second.numpy(), np.arange(4, dtype=np.int32))
