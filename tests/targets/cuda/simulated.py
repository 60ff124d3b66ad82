"""Kernels for GPUs, CUDA's or AMD's, run on a device, simulated or not, and compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tvm
from tvm import tirx

from dsc.codegen.objects import compile_kernels, write_imports, write_object
from dsc.files import scratch_folder
from dsc.runtime.library import load_library
from dsc.simulator import Simulation
from dsc.targets import AnyTarget, Implementation, Kernel, Point, Refusal, Space, Target, target
from dsc.targets.backend import Backend
from dsc.targets.cuda import Cuda
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.toolchain import Assembled, assemble
from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm import Rocm
from tests.gpu.device import Device, RealDevice
from tests.targets.conv_regions import Case, arguments, pack
from tests.targets.regions import Region

Choose = Callable[[Space], Sequence[Point]]


def machine(tag: str = "sm_80") -> Gpu:
    """The GPU of that tag, of AMD's as ``gfx942``."""
    found = target(f"{'rocm' if tag.startswith('gfx') else 'cuda'}:{tag}").machine
    assert isinstance(found, Gpu)
    return found


def target_of(simulation: Device) -> AnyTarget:
    """The target, with code that this device runs."""
    if isinstance(simulation, RealDevice):
        return simulation.target
    assert isinstance(simulation, Simulation)
    family = Rocm if simulation.arch.startswith("gfx") else Cuda
    return Target(family(lambda source, _: simulation.compile(source)), machine(simulation.arch))


def backend(simulation: Device) -> Backend:
    """The backend, with images for that device."""
    return target_of(simulation).backend()


def device(simulation: Device) -> tvm.runtime.Device:
    """The device, as TVM has it."""
    return tvm.rocm(0) if simulation.arch.startswith("gfx") else tvm.cuda(0)


def best(space: Space) -> list[Point]:
    """The point of least estimate."""
    return [min(space.points(), key=space.estimate)]


def every(space: Space) -> list[Point]:
    """All points."""
    return list(space.points())


def library(functions: Mapping[str, tirx.PrimFunc], made: Backend) -> tvm.runtime.Module:
    """All functions in one library, as a model has them: linked and loaded again."""
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    with scratch_folder() as folder:
        code = compile_kernels(tvm.IRModule(named), made)
        objects = [folder / "kernels.o", folder / "imports.o"]
        write_object(code, objects[0])
        write_imports(code, code, made, objects[1])
        made.link(objects, folder / "lib.so")
        return load_library((folder / "lib.so").read_bytes(), "kernels")


def assembled(found: Sequence[Implementation], arch: str) -> Assembled:
    """Kernels ``k0_kernel`` and so on for one of NVIDIA's GPUs: one image, and what ptxas says of them."""
    functions = {f"k{i}": each.func.with_attr("global_symbol", f"k{i}") for i, each in enumerate(found)}
    sources: list[str] = []

    def keep(source: str, _: str) -> bytes:
        sources.append(source)
        return b""

    made = CudaBackend(machine(arch), assemble=keep)
    made.generate(made.lower(tvm.IRModule(functions)))
    return assemble(sources[0], arch)


def check(kernel: Kernel[Gpu], regions: Sequence[Region], simulation: Device, choose: Choose = best) -> None:
    """Builds the chosen points of every region, all in one library, and compares each with ONNX Runtime."""
    built: list[tuple[Region, Point, Implementation]] = []
    for region in regions:
        space = kernel.match(region.workload(), machine(simulation.arch))
        assert not isinstance(space, Refusal), f"{region.text}: {space.reason}"
        built += [(region, point, space.build(point)) for point in choose(space)]
    functions = {f"k{i}": implementation.func for i, (_, _, implementation) in enumerate(built)}
    code, on = library(functions, backend(simulation)), device(simulation)
    for name, (region, point, _) in zip(functions, built, strict=True):
        arrays = region.arrays()
        expected = [region.pack(array, "outputs") for array in region.reference(arrays)]
        inputs = [tvm.runtime.tensor(region.pack(array, "inputs"), on) for array in arrays]
        outputs = [tvm.runtime.tensor(np.full_like(array, 77), on) for array in expected]
        code[name](*inputs, *outputs)
        for output, array in zip(outputs, expected, strict=True):
            message = f"{region.text} {point}"
            np.testing.assert_allclose(output.numpy(), array, atol=region.atol, rtol=1e-4, err_msg=message)
    assert not simulation.faults()


def check_convolutions(kernel: Kernel[Gpu], cases: Sequence[Case], simulation: Device, choose: Choose = best) -> None:
    """The same for convolutions whose images are packed, or not, and whose weights are constant."""
    built: list[tuple[Case, Point, Implementation]] = []
    for case in cases:
        space = kernel.match(case.workload(), machine(simulation.arch))
        assert not isinstance(space, Refusal), f"{case}: {space.reason}"
        built += [(case, point, space.build(point)) for point in choose(space)]
    functions = {f"k{i}": implementation.func for i, (_, _, implementation) in enumerate(built)}
    code, on = library(functions, backend(simulation)), device(simulation)
    for i, (case, point, implementation) in enumerate(built):
        arrays = case.arrays(seed=i)
        expected = pack(case.reference(arrays), case.out_block)
        inputs = [tvm.runtime.tensor(given.numpy(), on) for given in arguments(case, arrays, implementation)]
        output = tvm.runtime.tensor(np.full(expected.shape, np.nan, np.float32), on)
        code[f"k{i}"](*inputs, output)
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(output.numpy() / scale, expected / scale, atol=1e-5, err_msg=f"{case} {point}")
    assert not simulation.faults()
