"""Ways to break AMD's kernels, and whether the simulator notices: `python -m tests.simulator.amd.mutations [kernels]`.

The kernels are those that dsc makes of regions. One place of LLVM's code is changed at a time, after LLVM has optimized
it: what is noticed is what such a mistake of a kernel's writer, or of a pass, would look like in the end.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from dsc.simulator import KernelError, simulated_kernels
from dsc.targets.gpu.contraction import Contract
from tests.simulator.mutations import Mutant, report
from tests.targets.regions import Region
from tests.targets.rocm.direct import Launch, launch

ARCH = "gfx942"
TOLERANCE = 1e-5
"""Relative to the largest element: sums are rounded in another order."""
REGIONS = {
    "product": "(float[37,50] a, float[50,67] b) => (float[37,67] y) { p = MatMul(a, b)  y = Relu(p) }",
    "convolution": "(float[1,5,9,11] x, float[7,5,3,3] w) => (float[1,7,7,9] y) { y = Conv(x, w) }",
    "attention": "(float[1,21,24] q, float[1,24,150] k, float[1,150,24] v) => (float[1,21,24] y) "
    "{ p = MatMul(q, k)  w = Softmax(p)  y = MatMul(w, v) }",
    "softmax": "(float[3,700] x) => (float[3,700] y) { y = Softmax(x) }",
    "norm": "(float[5,77] x, float[77] s, float[77] b) => (float[5,77] y) { y = LayerNormalization(x, s, b) }",
    "transpose": "(float[5,17,9] x) => (float[9,5,17] y) { y = Transpose<perm=[2,0,1]>(x) }",
    "pool": "(float[2,5,15,15] x) => (float[2,5,7,7] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(x) }",
}
KERNELS = {"product": Contract(), "convolution": Contract()}
"""By tiles in local memory, also where they are so small that others are faster."""
MOST = 24
"""Mutants of a kind and kernel; of more, so many that lie evenly apart: code is unrolled."""
_ACCESS = re.compile(
    r"^(?P<before>  (?:%\S+ = load|store) .*)ptr addrspace\((?P<space>[13])\) (?P<pointer>%\S+), align (?P<align>\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Case:
    """A kernel, what it is given, and what it must give."""

    launch: Launch
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray


@cache
def case(name: str) -> Case:
    """Of a region."""
    region = Region(REGIONS[name])
    inputs = region.arrays(seed=1)
    return Case(launch(ARCH, region, KERNELS.get(name)), tuple(inputs), region.reference(inputs)[0])


def mutants(code: str) -> Iterator[Mutant]:
    """Some of each kind there is in the kernel, beside which there are TVM's conversions of halves."""
    begin = code.index("amdgpu_kernel")
    end = code.index("\n}", begin)
    for kind, pattern, replacement in _REPLACED:
        matches = list(re.compile(pattern, re.MULTILINE).finditer(code, begin, end))
        for match in matches[:: -(-len(matches) // MOST)] if matches else ():
            changed = code[: match.start()] + match.expand(replacement) + code[match.end() :]
            yield Mutant(kind, code.count("\n", 0, match.start()) + 1, changed)


_REPLACED = (
    ("barrier removed", r"^  (?:tail )?call void @llvm\.amdgcn\.s\.barrier\(\).*$", ""),
    ("fence removed", r'^  fence syncscope\("workgroup"\) (?:release|acquire).*$', ""),
    ("limit one too far", r" = icmp (?:samesign )?([su])lt ", r" = icmp \1le "),
    (
        "access four bytes further",
        _ACCESS.pattern,
        r"  %mutant = getelementptr i8, ptr addrspace(\g<space>) \g<pointer>, i32 4\n"
        r"\g<before>ptr addrspace(\g<space>) %mutant, align \g<align>",
    ),
)


def verdict(name: str, code: str, checks: bool = True) -> str:
    """What is noticed: a rule that is broken, wrong numbers, or nothing."""
    found = case(name)
    for order in ("forward", "reverse"):
        result = np.full_like(found.expected, 77)
        try:
            with simulated_kernels(ARCH, order=order, checks=checks) as simulation:
                found.launch.run(simulation, code, [*found.inputs, result])
        except KernelError as error:
            return f"rule: {error.fault.what}"
        difference = np.nan_to_num(np.abs(result.astype(np.float64) - found.expected), nan=np.inf)
        if difference.max() > TOLERANCE * np.abs(found.expected).max():
            return "numbers"
    return "nothing"


def main() -> None:
    """Print what is noticed of each kind of change, and all that is not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", default=list(REGIONS))
    parser.add_argument("--unchecked", action="store_true")
    arguments = parser.parse_args()
    report(
        (name, mutant, verdict(name, mutant.source, not arguments.unchecked))
        for name in arguments.kernels
        for mutant in mutants(case(name).launch.code)
    )


if __name__ == "__main__":
    main()
