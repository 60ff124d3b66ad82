"""ONNX's operator cases through the generic kernel of GPUs on a simulated device: all, every n-th, or those of a name.

`python -m tests.targets.cuda --arch gfx942 --match cast` runs those of Cast on one of AMD's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import tvm
from tvm import tirx

from dsc.lower import UnsupportedOpError
from dsc.simulator import Simulation, simulated_cuda, simulated_rocm
from dsc.simulator.errors import UnknownInstructionError
from dsc.targets.gpu.generic.kernel import Generic
from tests.lower.node_cases import Case, judge, onnx_cases
from tests.lower.test_node_cases import DEVIATIONS
from tests.targets.cuda.simulated import backend, device, library, machine

CHUNK = 40
"""Cases compiled as one library."""
NOT_YET = {f"test_bitshift_{side}_uint{bits}" for side in ("left", "right") for bits in (32, 64)}
"""TVM's simplifier subtracts unsigned numbers below 0 there, and raises."""


def on_device(function: tvm.runtime.Function, on: tvm.runtime.Device, results: int) -> Callable[..., None]:
    """A function of tensors in the host's memory; the last ones are its results."""

    def call(*tensors: tvm.runtime.Tensor) -> None:
        copies = [tvm.runtime.tensor(tensor.numpy(), on) for tensor in tensors]
        function(*copies)
        for tensor, copy in zip(tensors[-results:], copies[-results:], strict=True):
            tensor.copyfrom(copy.numpy())

    return call


def judged(cases: Sequence[Case], simulation: Simulation) -> dict[str, str]:
    """What came of each case that has a lowering."""
    built: dict[str, tuple[Case, tirx.PrimFunc]] = {}
    for case in cases:
        try:
            space = Generic().match(case.workload, machine(simulation.arch))
            built[case.name] = case, space.build(min(space.points(), key=space.estimate)).func
        except UnsupportedOpError:
            continue
    functions = {name: func for name, (_, func) in built.items()}
    try:
        code = library(functions, backend(simulation))
    except (tvm.error.InternalError, UnknownInstructionError) as error:
        if len(cases) > 1:  # find out which
            return {name: result for case in cases for name, result in judged([case], simulation).items()}
        return dict.fromkeys(functions, f"no code: {str(error).splitlines()[-1]}")
    on = device(simulation)
    return {name: judge(case, on_device(code[name], on, len(case.expected))) for name, (case, _) in built.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="sm_80", help="a GPU that can be simulated, as gfx942")
    parser.add_argument("--one-in", type=int, default=1, help="take every n-th case")
    parser.add_argument("--match", default="", help="take the cases whose name has this in it")
    arguments = parser.parse_args()
    cases = [case for _, case in onnx_cases() if isinstance(case, Case) and case.name not in NOT_YET]
    cases = [case for case in cases if arguments.match in case.name][:: arguments.one_in]
    simulated = simulated_rocm if arguments.arch.startswith("gfx") else simulated_cuda
    wrong = 0
    with simulated(arguments.arch) as simulation:
        for start in range(0, len(cases), CHUNK):
            results = judged(cases[start : start + CHUNK], simulation)
            for name, result in results.items():
                if result != "ok" and name not in DEVIATIONS:
                    wrong += 1
                    print(f"{name}: {result}")
            print(f"{min(start + CHUNK, len(cases))} of {len(cases)}, {wrong} wrong", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
