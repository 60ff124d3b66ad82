"""Products whose factors may be rounded to bfloat16, as instructions multiply pairs of these: `Product` again."""

from __future__ import annotations

from tvm import te
from xdsl.dialects.builtin import BFloat16Type, TensorType
from xdsl.ir import Attribute, SSAValue

from dsc.ir import onnx, with_elements
from dsc.lower.rounding import narrowed
from dsc.lower.te import Lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import Product, product_of
from dsc.targets.kernel import Refusal

BFLOAT16 = ("bfloat16", "bfloat16", "float32")


def bfloat16_product(workload: Workload) -> Product | Refusal:
    """The product that `workload` is, of factors as bits of bfloat16, or why it is none. Its sums are of float32."""
    if workload.multiplied_as != "bfloat16":
        return Refusal("factors may not be rounded to bfloat16")
    return product_of(workload, BFLOAT16, _bits)


def _bits(body: Lowered, value: SSAValue) -> te.Tensor:
    """A factor in bfloat16: as it is in memory where a Cast only widens it, else rounded."""
    owner = value.owner
    if isinstance(owner, onnx.Cast) and _is_bfloat16(owner.input.type):
        return body.tensor(owner.input)
    return narrowed(body.tensor(value), with_elements(value.type, "bfloat16"))


def _is_bfloat16(type_: Attribute) -> bool:
    return isinstance(type_, TensorType) and isinstance(type_.element_type, BFloat16Type)
