"""ONNX's operator cases through the generic kernel of GPUs on the simulated device: all, or every n-th."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import tvm
from tvm import tirx

from dsc.lower import UnsupportedOpError
from dsc.simulator import Simulation, simulated_cuda
from dsc.targets.gpu.generic.kernel import Generic
from tests.lower.node_cases import Case, judge, onnx_cases
from tests.lower.test_node_cases import DEVIATIONS
from tests.targets.cuda.simulated import backend, library, machine

CHUNK = 40
"""Cases compiled as one library."""
NOT_YET = {
    "test_bitshift_left_uint64": "TVM's simplifier subtracts unsigned numbers below 0",
    "test_bitshift_right_uint64": "the same",
}


def on_device(function: tvm.runtime.Function, results: int) -> Callable[..., None]:
    """A function of tensors in the host's memory; the last ones are its results."""

    def call(*tensors: tvm.runtime.Tensor) -> None:
        copies = [tvm.runtime.tensor(tensor.numpy(), tvm.cuda(0)) for tensor in tensors]
        function(*copies)
        for tensor, copy in zip(tensors[-results:], copies[-results:], strict=True):
            tensor.copyfrom(copy.numpy())

    return call


def judged(cases: Sequence[Case], simulation: Simulation) -> dict[str, str]:
    """What came of each case that has a lowering."""
    built: dict[str, tuple[Case, tirx.PrimFunc]] = {}
    for case in cases:
        space = Generic().match(case.workload, machine())
        try:
            built[case.name] = case, space.build(min(space.points(), key=space.estimate)).func
        except UnsupportedOpError:
            continue
    code = library({name: func for name, (_, func) in built.items()}, backend(simulation))
    return {name: judge(case, on_device(code[name], len(case.expected))) for name, (case, _) in built.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-in", type=int, default=1, help="take every n-th case")
    arguments = parser.parse_args()
    known = {**DEVIATIONS, **NOT_YET}
    cases = [case for _, case in onnx_cases() if isinstance(case, Case) and case.name not in NOT_YET]
    cases = cases[:: arguments.one_in]
    wrong: dict[str, str] = {}
    with simulated_cuda("sm_80") as simulation:
        for start in range(0, len(cases), CHUNK):
            results = judged(cases[start : start + CHUNK], simulation)
            wrong |= {name: result for name, result in results.items() if result != "ok" and name not in known}
            print(f"{start + len(results)} of {len(cases)}, {len(wrong)} wrong", flush=True)
    print(*(f"{name}: {result}" for name, result in wrong.items()), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
