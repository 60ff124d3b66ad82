"""Code in modules of TVM's: loading it, launching its kernels, and what is said where either cannot be."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from dsc.simulator import KernelError, Simulation, simulated_rocm
from tests.hip.modules import address, image, load, put, serialized

X = np.random.default_rng(0).standard_normal(250, np.float32)


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with simulated_rocm("gfx942") as simulation:
        yield simulation


def test_a_kernel(simulation: Simulation) -> None:
    padded = np.pad(X, (0, 6)).reshape(4, 64)
    x = put(X)
    for _ in range(2):
        y = put(np.zeros_like(X))
        load(serialized())["reversed"](address(x), address(y), 250, 1.5, 4, 64)
        np.testing.assert_array_equal(y.numpy(), (1.5 * padded[:, ::-1]).reshape(-1)[:250])
    assert simulation.counters()["reversed"].launches == 2
    assert simulation.counters()["reversed"].barriers == 2 * 4


NUMBERS = (-7, 65530, -(1 << 40), (1 << 32) - 5, 1 / 3, np.float32(0.1), True)


def test_arguments_of_all_types_and_numbers_of_launches_in_any_order(simulation: Simulation) -> None:
    out = put(np.zeros(14))
    numbers = load(serialized())["numbers"]
    numbers(address(out), *NUMBERS[:5], float(NUMBERS[5]), True, 5, 3, 2, 4, 1, 2, 4 * 3 * 2 * 8)
    np.testing.assert_array_equal(out.numpy(), [*map(float, NUMBERS), 2, 1, 5, 4, 3, 2, 4 * 3 * 2 - 1])
    assert simulation.counters()["numbers"].shared_bytes == 4 * 3 * 2 * 8


def test_a_grid_of_no_blocks_is_one(simulation: Simulation) -> None:
    """As where a dim that is known at run time is 0."""
    x, y = put(X), put(X)
    load(serialized())["reversed"](address(x), address(y), 0, 1.0, 0, 64)
    np.testing.assert_array_equal(y.numpy(), X)
    assert simulation.counters()["reversed"].blocks == 1


def test_another_number_of_arguments(simulation: Simulation) -> None:
    told = "kernel reversed takes 4 arguments and 2 numbers of its launch, there are 5"
    with pytest.raises(TypeError, match=told):
        load(serialized())["reversed"](address(put(X)), address(put(X)), 250, 1.0, 4)


@pytest.mark.parametrize("type_", ["float16", "bfloat16", "float32x4"])
def test_arguments_that_cannot_be_passed(simulation: Simulation, type_: str) -> None:
    module = load(serialized(["beyond"], types=["handle", type_]))
    with pytest.raises(ValueError, match="kernel beyond takes an argument of a type that cannot be passed"):
        module.get_function("beyond")


def test_a_launch_that_is_refused_names_the_kernel_and_its_sizes() -> None:
    told = r"launching kernel reversed with 4 x 1 x 1 blocks of 65 x 1 x 1 threads and 0 bytes of dynamic local memory"
    with simulated_rocm("gfx942"), pytest.raises(RuntimeError, match=f"HIP: {told}: .*at most 64 are possible"):
        load(serialized())["reversed"](address(put(X)), address(put(X)), 250, 1.0, 4, 65)


def read_beyond() -> None:
    with simulated_rocm("gfx942"):
        x, y = put(X), put(X)
        load(serialized())["beyond"](address(x), address(y), 250, 1)


def test_what_a_kernel_breaks_is_told() -> None:
    told = r"kernel beyond, .*thread \(0, 0, 0\): reads 4 bytes of global memory"
    with pytest.raises(KernelError, match=told):
        read_beyond()


def test_functions_that_there_are(simulation: Simulation) -> None:
    module = load(serialized(["beyond"]))
    assert module.implements_function("beyond")
    assert not module.implements_function("reversed")  # is in the code, but TVM does not know how to call it


def test_a_kernel_that_is_not_in_the_code(simulation: Simulation) -> None:
    with pytest.raises(RuntimeError, match="HIP: finding kernel absent: there is no such kernel"):
        load(serialized(["beyond", "absent"]))


def test_code_for_something_else(simulation: Simulation) -> None:
    with pytest.raises(RuntimeError, match="HIP: loading the code of kernel beyond: this is no code for the simulator"):
        load(serialized(["beyond"], code=b"\x7fELF" + bytes(100)))


def test_damaged_code(simulation: Simulation) -> None:
    broken = image()[:24] + bytes(len(image()) - 24)
    with pytest.raises(RuntimeError, match=r"HIP: loading the code of kernel beyond: .*invalid ELF header"):
        load(serialized(["beyond"], code=broken))


def damaged() -> Sequence[tuple[bytes, str]]:
    whole = serialized(["beyond"])
    strings = struct.pack("<Q", 6) + b"beyond"
    return (
        (serialized(["beyond"], format_="ptx"), "its code is ptx, expected hsaco"),
        (serialized(["beyond"], launch=["vthread.x"]), "launches with vthread.x are not known here"),
        (serialized(["beyond"], code=b"short"), "its code is cut short"),
        (whole + b"\0", "there is more after its end"),
        (whole.replace(strings + strings, strings + strings[:-1] + b"t", 1), "a kernel has two names"),
        (whole.replace(struct.pack("<Q", 3), struct.pack("<Q", 1 << 60), 1), "a list is longer than what is left"),
        *((whole[:size], "it ends too early|longer than what is left") for size in (0, 7, 12, 20, 40, 60, 90, -1)),
    )


@pytest.mark.parametrize(("module", "told"), damaged())
def test_bytes_that_are_no_module(module: bytes, told: str, simulation: Simulation) -> None:
    with pytest.raises(ValueError, match=f"this is no module of ROCm: ({told})"):
        load(module)
