"""pack and unpack are index maps that cancel."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import s_tir
from tvm.s_tir import Schedule
from xdsl.dialects.test import TestOp as AnyOp
from xdsl.ir import Block, Region

from dsc.ir import FusionOp, PackOp, UnpackOp, YieldOp, onnx, tensor
from dsc.lower import Workload
from tests.kernels import compiled
from tests.lower.node_cases import BACKEND, function


def fused_relu(shape: tuple[int, ...], block: int) -> Workload:
    """A fusion unpack -> Relu -> pack of a packed tensor."""
    packed = tensor("float32", shape)
    body = Block(arg_types=[packed])
    unpack = UnpackOp(body.args[0], block)
    relu = onnx.Relu.make(unpack.out)
    pack = PackOp(relu.out, block)
    body.add_ops([unpack, relu, pack, YieldOp(pack.out)])
    return Workload.of(FusionOp("relu", AnyOp(result_types=[packed]).results, [packed], Region(body)))


@pytest.mark.parametrize("shape", [(2, 4, 7, 5, 16), (1, 3, 9, 8)])
def test_pack_of_relu_of_unpack_reads_packed_elements_directly(shape: tuple[int, ...]) -> None:
    schedule = Schedule(function(fused_relu(shape, shape[-1])))
    for name in ("unpack", "relu"):
        schedule.compute_inline(schedule.get_sblock(name))
    text = s_tir.transform.StmtSimplify()(schedule.mod).script()
    hidden = "T.dsc.max(T.dsc.constant(T.float32(0.0)), in0"
    (stored,) = (line for line in text.splitlines() if hidden in line)
    target, value = stored.split(" = ")
    assert value.removeprefix(hidden).removesuffix(")") == target.strip().removeprefix("pack")


def test_pack_moves_blocks_of_channels_innermost() -> None:
    plain = tensor("float32", (2, 12, 3, 5))
    workload = Workload.of(PackOp(AnyOp(result_types=[plain]).results[0], 4))
    x = np.random.default_rng(3).standard_normal((2, 12, 3, 5)).astype(np.float32)
    result = tvm.runtime.tensor(np.zeros((2, 3, 3, 5, 4), np.float32))
    compiled(function(workload), BACKEND)(tvm.runtime.tensor(x), result)
    np.testing.assert_array_equal(result.numpy(), x.reshape(2, 3, 4, 3, 5).transpose(0, 1, 3, 4, 2))
