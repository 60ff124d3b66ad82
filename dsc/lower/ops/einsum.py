"""Einsum."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import broadcast_dim, broadcast_index


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Labels of the dims of operands and result; those of an ellipsis are "...0", "...1" from the right.

    Without an arrow the result has the ellipsis, then the labels that occur once, in alphabetical order.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [_labels(term, rank) for term, rank in zip(left.split(","), ranks, strict=True)]
    dots = max((sum(n.startswith("...") for n in term) for term in terms), default=0)
    if arrow:
        shown = sum(c != "." for c in right) + (dots if "." in right else 0)
        return terms, _labels(right, shown)
    everything = [n for term in terms for n in term if not n.startswith("...")]
    once = sorted(n for n in set(everything) if everything.count(n) == 1)
    return terms, [*(f"...{k}" for k in reversed(range(dots))), *once]


def _labels(term: str, rank: int) -> list[str]:
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    if hidden < 0 or (not dots and len(before) != rank):
        raise UnsupportedOpError(f"einsum term '{term}' does not fit an operand of rank {rank}")
    return [*before, *(f"...{k}" for k in reversed(range(hidden))), *after]


@lowers(onnx.Einsum)
def einsum(call: Call) -> te.Tensor:
    """The sum of products over the labels that the result does not have."""
    operands = call.inputs
    terms, result = parse(call.attr("equation"), [len(x.shape) for x in operands])
    sizes: dict[str, Dim] = {}
    for x, term in zip(operands, terms, strict=True):
        for label, size in zip(term, dims(x.shape), strict=True):
            sizes[label] = broadcast_dim(sizes[label], size) if label in sizes else size
    summed = {n: te.reduce_axis((0, d), n.strip(".")) for n, d in sizes.items() if n not in result}

    def element(*indices: Expr) -> Expr:
        where = {**dict(zip(result, indices, strict=True)), **{n: k.var for n, k in summed.items()}}
        product = None
        for x, term in zip(operands, terms, strict=True):
            target = [sizes[n] for n in term]
            load = x(*broadcast_index(x.shape, target, [where[n] for n in term]))
            product = load if product is None else product * load
        return te.sum(product, axis=list(summed.values())) if summed else product

    return te.compute([sizes[n] for n in result], element, name="einsum")
