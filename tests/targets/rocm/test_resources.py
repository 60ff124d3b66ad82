"""What kernels take of a compute unit: their metadata, and their matrix instructions."""

from __future__ import annotations

import pytest
import tvm

from dsc.targets.gpu.contraction import Contract
from dsc.targets.rocm.backend import RocmBackend
from dsc.targets.rocm.resources import kernel_resources, matrix_instructions
from tests.targets.regions import Region
from tests.targets.rocm.compiled import machine

ASSEMBLY = """
one_kernel:
	v_mfma_f32_16x16x16_f16 a[0:3], v[0:1], v[2:3], a[0:3]
	v_mad_f32 v0, v1, v2, v3
	v_mfma_f32_16x16x16_f16 a[4:7], v[0:1], v[2:3], a[4:7]
.Lfunc_end0:
other_kernel:
	v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]
	s_endpgm
.Lfunc_end1:
	.amdgpu_metadata
---
amdhsa.kernels:
  - .agpr_count:     8
    .group_segment_fixed_size: 1024
    .name:           one_kernel
    .private_segment_fixed_size: 24
    .sgpr_count:     29
    .sgpr_spill_count: 0
    .vgpr_count:     128
    .vgpr_spill_count: 6
  - .group_segment_fixed_size: 0
    .name:           other_kernel
    .private_segment_fixed_size: 0
    .sgpr_count:     9
    .sgpr_spill_count: 0
    .vgpr_count:     24
    .vgpr_spill_count: 0
amdhsa.target:   amdgcn-amd-amdhsa-hcc-gfx942
	.end_amdgpu_metadata
"""


def test_of_the_metadata_and_the_code() -> None:
    one, other = kernel_resources(ASSEMBLY, machine("gfx942"), {"one_kernel": 256, "other_kernel": 64})
    assert (one.registers, one.spilled_bytes, one.stack_bytes, one.shared_bytes) == (128, 24, 24, 1024)
    assert (one.matrix_instructions, other.matrix_instructions) == (2, 1)
    per_unit = machine("gfx942").registers // (128 * 256)
    assert one.resident_blocks == per_unit
    assert one.occupancy == per_unit * 256 / machine("gfx942").resident_threads
    with pytest.raises(ValueError, match="no kernel k"):
        matrix_instructions(ASSEMBLY, "k")


@pytest.mark.parametrize("arch", ["gfx942", "gfx1100"])
def test_of_a_tiled_product(arch: str) -> None:
    region = Region("(float[257,40] a, float[40,190] b) => (float[257,190] y) { y = MatMul(a, b) }")
    space = Contract().match(region.workload(), machine(arch))
    point = min(space.points(), key=space.estimate)
    module = tvm.IRModule({"k": space.build(point).func.with_attr("global_symbol", "k")})
    backend = RocmBackend(machine(arch))
    lowered = backend.lower(module)
    (used,) = backend.resources(lowered, backend.generate(lowered))
    assert (used.kernel, used.threads, used.spilled_bytes, used.stack_bytes) == ("k_kernel", point.threads, 0, 0)
    assert used.shared_bytes in (point.shared_bytes, point.shared_bytes - 4 * point.exchanged)
    assert used.matrix_instructions == 0
    assert used.resident_blocks > 0
    assert 0 < used.occupancy <= 1
