"""What a workload with one product by chosen matrices computes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvm import te

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims, product
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import FLOAT32, Product, checked, product_of, same_dims
from dsc.targets.kernel import Refusal


@dataclass(frozen=True, eq=False)
class ChosenProduct:
    """``acc[pair.., 0, n] = sum over k of a[pair.., 0, k] * w[choice[pair..], k, n]``, and its epilogue."""

    product: Product
    """Its batch are the pairs of a vector and a choice, its weight is `w`: all matrices."""
    choice: te.Tensor
    """Placeholder: the number of the matrix of each pair; from the last one if it is negative."""
    matrices: int
    pairs: int
    depth: int
    columns: int


def chosen_product(workload: Workload) -> ChosenProduct | Refusal:
    """The product that `workload` is, or why it is none."""
    products = [op for op in workload.body if isinstance(op, onnx.MatMul)]
    gather = products[0].B.owner if len(products) == 1 else None
    if not isinstance(gather, onnx.Gather) or gather not in workload.body:
        return Refusal("no product by what is chosen among weights")
    given = {operand.value: index for index, operand in enumerate(workload.operands)}
    weight, choice = given.get(gather.data), given.get(gather.indices)
    if weight is None or choice is None or not workload.operands[weight].constant:
        return Refusal("what is chosen, or the choice, is computed in the region")
    shape = workload.operands[weight].shape
    if len(shape) != 3 or gather.attr("axis", 0) != 0 or workload.operands[weight].element.dtype.name != "float32":
        return Refusal("what is chosen are no matrices of float32")
    found = product_of(workload)
    if isinstance(found, Refusal):
        return found
    indices = lowered(workload).inputs[choice]
    known = all(isinstance(size, int) for size in (*found.batch, *found.rows, *shape))
    if not known or found.operands != FLOAT32:
        return Refusal("sizes that are not known")
    if found.m != 1 or not _one_each(indices, found.batch):
        return Refusal("a matrix is chosen for several rows at once")
    whole = checked(replace(found, weight=weight))
    if isinstance(whole, Refusal):
        return whole
    if whole.weight is None:
        return Refusal("more than the product reads the weights")
    matrices, depth, columns = map(int, shape)
    return ChosenProduct(whole, indices, matrices, int(product(dims(indices.shape))), depth, columns)


def _one_each(choice: te.Tensor, batch: tuple[Dim, ...]) -> bool:
    """Whether each of the batch has a choice of its own; that of a single one is no batch."""
    if not batch:
        return product(dims(choice.shape)) == 1
    return len(choice.shape) == len(batch) and same_dims(choice.shape, batch)
