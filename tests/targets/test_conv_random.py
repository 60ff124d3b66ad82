"""Random convolutions on guarded memory, by every kernel that takes them, at any point of its space."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dsc.targets import Implementation, Kernel, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.conv.kernels import Depthwise, Direct, Winograd
from dsc.targets.cpu.sparse import SparseConv
from tests.guard_pages import run_guarded
from tests.kernels import compiled, machine
from tests.targets.conv_regions import Case, arguments, pack

SEED = random.SystemRandom().randrange(1 << 30)
KERNELS: dict[str, Kernel] = {
    "direct": Direct(),
    "depthwise": Depthwise(),
    "winograd": Winograd(),
    "sparse": SparseConv(),
}
COUNT = 4
"""Cases of each kernel in a run of the tests."""
TOLERANCE = 2e-5


def random_case(kind: str, draw: random.Random) -> Case:
    """Kernels up to 7 x 7, pads larger than them, strides, dilations, groups, blocks, free sizes."""
    mixed = kind in ("direct", "sparse")
    block = draw.choice((1, 4, 8, 16) if mixed else (4, 8, 16))
    blocks, groups = draw.randint(1, 3), 1
    channels = block * blocks if block > 1 else draw.randint(1, 20)
    outputs = draw.randint(1, 40) if mixed else block * draw.randint(1, 3)
    if kind == "depthwise":
        groups = outputs = channels
    elif kind == "direct" and draw.random() < 0.5:
        groups = draw.choice([g for g in (2, 3, 4) if channels % g == 0] or [1])
        outputs = groups * draw.randint(1, 20)
    wino = kind == "winograd"
    kernel = (3, 3) if wino else draw.choice([(1, 1), (draw.randint(1, 7), draw.randint(1, 7))])
    steps = [(1, 1) if wino else (draw.randint(1, 3), draw.randint(1, 3)) for _ in range(2)]
    pads = tuple(draw.choice((0, 1, draw.randint(0, 9))) for _ in range(4)) if draw.random() < 0.7 else (0,) * 4
    free = () if wino or draw.random() < 0.6 else tuple(sorted(draw.sample((0, 2, 3), draw.randint(1, 3))))
    free = (0,) if free and kind == "sparse" else free
    out_blocks = [b for b in (1, 4, 8, 16) if outputs % b == 0 and (b > 1 or not wino)]
    case = Case(
        (draw.randint(1, 3), channels, draw.randint(1, 20), draw.randint(1, 35)),
        outputs, kernel, steps[0], pads, steps[1], groups, block, draw.choice(out_blocks),
        bias=draw.random() < 0.5, activation=draw.choice(("", "Relu", "Silu")), symbolic=free,
        residual=not free and draw.random() < 0.3, gate=not free and draw.random() < 0.2,
        pattern=draw.choice(("unstructured", "2x1", "4x1", "16x1", "4x4", "1x4", "2:4")) if kind == "sparse" else "",
        density=draw.choice((0.0, 0.1, 0.5, 1.0)),
    )  # fmt: skip
    # a convolution of one group and one channel is depthwise to no kernel
    return case if min(case.result[2:]) > 0 and (kind != "direct" or groups < channels) else random_case(kind, draw)


def run(case: Case, implementation: Implementation, arrays: list[np.ndarray], end: bool) -> np.ndarray:
    """The result of the kernel on memory that is guarded behind (or before) every array."""
    function = compiled(implementation.func, CpuBackend(machine()))
    shape = pack(np.empty(case.result, np.float32), case.out_block).shape
    given = [tensor.numpy() for tensor in arguments(case, arrays, implementation)]
    return run_guarded(function, given, np.full(shape, np.nan, np.float32), end)


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("name", KERNELS)
def test_random_convolutions(name: str, number: int) -> None:
    seed = f"{SEED} {name} {number}"
    draw = random.Random(seed)
    case = random_case(name, draw)
    space = KERNELS[name].match(case.workload(), machine("x86"))
    assert not isinstance(space, Refusal), f"{seed}: {case}: {space}"
    point = draw.choice([min(space.points(), key=space.estimate), draw.choice(space.points())])
    arrays = case.arrays(number)
    expected = pack(case.reference(arrays), case.out_block)
    print(f"seed {seed}: {case} at {point}", flush=True)  # seen when the process dies
    found = run(case, space.build(point), arrays, end=draw.random() < 0.7)
    assert np.abs(found - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max()), f"seed {seed}"
