"""What kernels take of a multiprocessor: what ptxas says of them, and what their machine code is made of."""

from __future__ import annotations

import pytest
import tvm

from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.resources import resources
from dsc.targets.cuda.toolchain import assemble
from dsc.targets.gpu.generic.kernel import Generic
from tests.targets.cuda.sass import LOCAL, MATRIX, count, images, instructions
from tests.targets.cuda.simulated import machine
from tests.targets.regions import Region

MULTIPLIED = """
extern "C" __global__ void __launch_bounds__(32) multiplied(float* d, unsigned* a) {
  float x[4] = {d[threadIdx.x], 0.0f, 0.0f, 0.0f};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
    "{%0,%1,%2,%3};"
    : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3])
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]));
  d[threadIdx.x] = x[0] + x[1] + x[2] + x[3];
}
extern "C" __global__ void __launch_bounds__(1024) spilling(float* x) {
  float a[90];
  __shared__ float s[24];
  #pragma unroll
  for (int i = 0; i < 90; ++i) a[i] = x[i * 1024 + threadIdx.x];
  if (threadIdx.x < 24) s[threadIdx.x] = a[7];
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 90; ++i) x[i * 1024 + threadIdx.x] = a[89 - i] + s[i % 24];
}
"""


def test_what_ptxas_says_and_what_the_code_does() -> None:
    made = assemble(MULTIPLIED, "sm_80")
    threads = {"multiplied": 32, "spilling": 1024}
    multiplied, spilling = resources(made.said, machine(), threads, {"multiplied": 0, "spilling": 1024})
    assert (multiplied.spilled_bytes, multiplied.stack_bytes, multiplied.shared_bytes) == (0, 0, 0)
    assert multiplied.resident_blocks == 32  # of one warp each: a multiprocessor holds no more blocks
    assert multiplied.occupancy == 0.5
    assert spilling.registers == 64  # all that 1024 threads leave to each
    assert spilling.spilled_bytes >= 2 * 4 * (90 - 64)
    assert spilling.stack_bytes >= 4 * (90 - 64)
    assert spilling.shared_bytes == 96 + 1024
    assert (spilling.resident_blocks, spilling.occupancy) == (1, 0.5)
    code = instructions(made.image)
    assert {name: count(found, MATRIX) for name, found in code.items()} == {"multiplied": 1, "spilling": 0}
    assert count(code["multiplied"], LOCAL) == 0
    assert count(code["spilling"], LOCAL) >= 90 - 64


def test_what_ptxas_does_not_say() -> None:
    with pytest.raises(ValueError, match="says nothing of the kernel other"):
        resources(assembled_text(), machine(), {"k": 32, "other": 32}, {"k": 0, "other": 0})
    with pytest.raises(ValueError, match="kernel k has another form"):
        resources(assembled_text().replace("registers", "regs"), machine(), {"k": 32}, {"k": 0})


def assembled_text() -> str:
    return (
        "ptxas info    : Compiling entry function 'k' for 'sm_80'\nptxas info    : Function properties for k\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 9 registers\n"
    )


def test_a_backend_tells_of_all_launches_of_a_function() -> None:
    """A matrix product by rows that others read: two launches."""
    text = "(float[6,5] x) => (float[6,6] y) { p = Transpose<perm=[1,0]>(x) t = MatMul(x, p) y = Softmax<axis=-1>(t) }"
    space = Generic().match(Region(text).workload(), machine())
    made = CudaBackend(machine())
    module = tvm.IRModule({"k": space.build(space.points()[0]).func.with_attr("global_symbol", "k")})
    lowered = made.lower(module)
    code = made.generate(lowered)
    used = made.resources(lowered, code)
    assert [each.kernel for each in used] == ["k_kernel", "k_kernel_1"]
    assert all(each.threads % 32 == 0 and each.registers > 0 and not each.spilled_bytes for each in used)
    packed = made.pack(tvm.get_global_func("runtime.ModulePackImportsToTensor")(code).numpy().tobytes())
    (image,) = images(packed)
    assert set(instructions(image)) == {"k_kernel", "k_kernel_1"}
