"""Kernels beside PyTorch's on the same GPU: what they compute must agree, and how long both take is printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm

from dsc.codegen.selection import Failures, fastest_by_estimate, select
from dsc.codegen.single import load_kernel
from dsc.runtime.devices import device as runtime_device
from tests.gpu.device import RealDevice
from tests.targets.regions import Region

pytestmark = pytest.mark.gpu

CALLS = 50
CASES: dict[str, tuple[str, Callable[..., Any]]] = {
    "product": (
        "(float[2048,1024] a, float[1024,4096] b) => (float[2048,4096] y) { y = MatMul(a, b) }",
        lambda torch, a, b: a @ b,
    ),
    "product of halves": (
        "(float16[2048,1024] a, float16[1024,4096] b) => (float16[2048,4096] y) { y = MatMul(a, b) }",
        lambda torch, a, b: a @ b,
    ),
    "convolution": (
        "(float[8,64,56,56] x, float[64,64,3,3] w) => (float[8,64,56,56] y) { y = Conv<pads=[1,1,1,1]>(x, w) }",
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, padding=1),
    ),
    "depthwise": (
        "(float[8,96,56,56] x, float[96,1,3,3] w) => (float[8,96,56,56] y) { y = Conv<group=96,pads=[1,1,1,1]>(x, w) }",
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, padding=1, groups=96),
    ),
    "softmax": (
        "(float[4096,1000] x) => (float[4096,1000] y) { y = Softmax<axis=-1>(x) }",
        lambda torch, x: torch.softmax(x, -1),
    ),
    "norm": (
        "(float[4096,768] x, float[768] s, float[768] b) => (float[4096,768] y) { y = LayerNormalization(x, s, b) }",
        lambda torch, x, s, b: torch.nn.functional.layer_norm(x, (768,), s, b),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_beside_pytorchs(name: str, device: RealDevice, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    text, theirs = CASES[name]
    region = Region(text)
    selected = select(region.workload(), device.target, fastest_by_estimate, Failures())
    assert not selected.implementation.packings  # nothing is constant here
    on = runtime_device(device.target.family.name, "test")
    kernel = load_kernel(selected.implementation.func, device.target.backend(), on, 1)
    arrays = region.arrays()
    given = [tvm.runtime.tensor(array, device.handle) for array in arrays]
    tensors = [torch.from_numpy(array).cuda() for array in arrays]
    expected = theirs(torch, *tensors)
    result = tvm.runtime.empty(tuple(expected.shape), str(arrays[0].dtype), device.handle)
    ours = _seconds(lambda: kernel(*given, result), device.handle.sync)
    half = arrays[0].dtype == np.float16
    wanted = expected.float().cpu().numpy()
    assert np.abs(result.numpy().astype(np.float32) - wanted).max() <= (2e-2 if half else 1e-4) * np.abs(wanted).max()
    them = _seconds(lambda: theirs(torch, *tensors), torch.cuda.synchronize)
    with capsys.disabled():
        print(
            f"\n{name}: {ours * 1e6:.1f} us by {selected.candidate.kernel.name}, {them * 1e6:.1f} us by PyTorch "
            f"{torch.__version__} (ratio {them / ours:.2f}); estimated {selected.candidate.estimate * 1e6:.1f} us"
        )


def _seconds(call: Callable[[], object], synchronize: Callable[[], object]) -> float:
    """Of one call among many that follow each other, after some that warm up; the best of five rounds."""
    best = float("inf")
    for _ in range(6):
        synchronize()
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        synchronize()
        best = min(best, (time.perf_counter() - began) / CALLS)
    return best
