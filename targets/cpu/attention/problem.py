"""What an attention region computes, apart from how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tvm import te, tirx
from tvm.ir import Expr
from xdsl.ir import SSAValue

from dsc.ir import Fact, OnnxOp, dims_of, has, onnx
from dsc.lower.exprs import Dim, dims
from dsc.lower.te import Lowered, lowered
from dsc.lower.workload import Workload, is_constant, is_scalar
from dsc.targets.cpu.attention.quantized import QuantizedFactors, quantized_factors
from dsc.targets.cpu.gemm.product import same_place, unproven_dims, zero
from dsc.targets.cpu.inline import Inliner, Leaf, kept_types
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Step:
    """A change of shape, or a transposition, on the way from the context to the output."""

    shape: tuple[Dim, ...]
    """After it."""
    permutation: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Chosen:
    """Which blocks of keys blocks of queries attend to."""

    blocks: te.Tensor
    """``[batch..., blocks of queries, blocks of keys]``, an input: 0 for those that are left out."""
    each: te.Tensor
    """The same for each score, from which `scores` are made."""
    size: int
    """Queries, and keys, in a block."""
    share: float
    """Of the keys, which is kept."""


@dataclass(frozen=True, eq=False)
class Problem:
    """``softmax(scores(q @ k)) @ v`` for each of `batch`; ``q[s, d]``, ``k[d, t]``, ``v[t, e]``.

    `q`, `k` and `v` are expressions of the inputs, mostly changes of place. `scores` (scale, mask) and
    `weights` (what is done to the probabilities) are elementwise in `product` and `probabilities`.
    """

    params: tuple[te.Tensor, ...]
    scalars: tuple[tirx.Var, ...]
    batch: tuple[Dim, ...]
    queries: Dim
    keys: Dim
    depth: int
    """Size of d."""
    width: int
    """Size of e."""
    q: te.Tensor
    k: te.Tensor
    v: te.Tensor
    product: te.Tensor
    """``q @ k``, where `scores` begin."""
    scores: te.Tensor
    probabilities: te.Tensor
    """The softmax of the scores, where `weights` begin."""
    weights: te.Tensor
    guarded: bool
    """Whether a row without probabilities, all of it NaN, has weights of 0, before all that makes `weights`."""
    context: te.Tensor
    """``weights @ v``."""
    output: te.Tensor
    """That after the steps, in the type in which it is stored: cast, or quantized by one scale."""
    converted: bool
    """Whether it is not stored as it is summed."""
    steps: tuple[Step, ...]
    assumed: tuple[tuple[Dim, Dim], ...]
    """Dims that are equal where the model is right, though nothing proves it."""
    kept: tuple[tuple[str, ...], tuple[str, ...]]
    """Types of the values that a kernel keeps on the way to scores and to weights; none where it must not."""
    rounds: bool
    """Whether factors may be rounded to bfloat16 before they are multiplied."""
    quantized: QuantizedFactors | None
    """The factors of both products as bytes, if they are made of such."""
    window: int | None
    """How many positions from a query keys may lie; `scores` are -inf, and `weights` 0, of those that lie further."""
    chosen: Chosen | None
    """Where some blocks of keys are kept only: `scores` are -inf, and `weights` 0, of all others."""

    def kept_leaves(self) -> dict[te.Tensor, Leaf]:
        """What code knows that goes through the chosen keys only."""
        return {} if self.chosen is None else {self.chosen.each: lambda _: tirx.const(True, "bool")}

    def stored(self, value: Expr, parameters: Mapping[te.Tensor, Leaf] | None = None) -> Expr:
        """An element of the context, in float32, as the output has it; `parameters` give scales and zero points."""
        if not self.converted:
            return value
        anywhere = [tirx.const(0, str(tirx.convert(size).ty)) for size in self.output.shape]
        inliner = Inliner({**(parameters or {}), self.context: lambda _: value})
        converted = inliner.at(self.output, anywhere)
        assert not inliner.problems, inliner.problems
        return converted

    def place(self, batch: Sequence[Expr], s: Expr, e: Expr) -> Expr:
        """Position in the output's memory of element (s, e) of the context."""
        at, shape = [*batch, s, e], (*self.batch, self.queries, self.width)
        for index, step in enumerate(self.steps):
            if step.permutation is not None:
                at, shape = [at[axis] for axis in step.permutation], step.shape
            elif any(later.permutation is not None for later in self.steps[index:]):
                at, shape = _unravel(_flatten(at, shape), step.shape), step.shape
        return _flatten(at, shape)


def _flatten(at: Sequence[Expr], shape: Sequence[Dim]) -> Expr:
    position = at[0]
    for index, size in zip(at[1:], shape[1:], strict=True):
        position = position * size + index
    return position


def _unravel(position: Expr, shape: Sequence[Dim]) -> list[Expr]:
    at: list[Expr] = []
    for size in reversed(shape[1:]):
        at.insert(0, tirx.floormod(position, size))
        position = tirx.floordiv(position, size)
    return [position, *at]


def problem_of(workload: Workload) -> Problem | Refusal:
    """The attention that `workload` is, or why it is none."""
    softmaxes = [op for op in workload.body if isinstance(op, onnx.Softmax)]
    products = [op for op in workload.body if isinstance(op, onnx.MatMul)]
    if len(softmaxes) != 1 or len(products) != 2 or len(workload.outputs) != 1:
        return Refusal(f"{len(products)} products, {len(softmaxes)} softmaxes, {len(workload.outputs)} outputs")
    (softmax,), (first, second) = softmaxes, products
    body = lowered(workload)
    followed = _steps(workload, body, second.results[0])
    if isinstance(followed, Refusal):
        return followed
    steps, converted = followed
    q, k, v = map(body.tensor, (first.operands[0], first.operands[1], second.operands[1]))
    multiplied, context = body.tensor(first.results[0]), body.tensor(second.results[0])
    if {str(t.dtype) for t in (q, k, v)} != {"float32"}:
        return Refusal(f"element type {q.dtype}")
    if min(len(t.shape) for t in (q, k, v)) < 2:
        return Refusal("a vector operand")
    *batch, queries, keys = dims(multiplied.shape)
    depth, width = dims((q.shape[-1], v.shape[-1]))
    if not isinstance(depth, int) or not isinstance(width, int):
        return Refusal("heads of symbolic size")
    if any(isinstance(size, int) and size == 0 for size in (*batch, queries, keys, depth, width)):
        return Refusal("an attention without elements")
    same_batch = unproven_dims(context.shape[:-2], batch)
    if same_batch is None:
        return Refusal("values of another batch than the scores")
    if softmax.attr("axis", -1) not in (-1, len(batch) + 1):
        return Refusal("softmax over another axis than the keys")
    guard = _guard(workload, softmax.results[0])
    probabilities = body.tensor(guard or softmax.results[0])
    scores, weights = body.tensor(softmax.operands[0]), body.tensor(second.operands[0])
    (output,) = body.outputs
    found = Problem(
        tuple(body.inputs), workload.scalars, tuple(batch), queries, keys, depth, width, q, k, v, multiplied, scores,
        probabilities, weights, guard is not None, context, output, converted, steps, tuple(same_batch), ((), ()),
        workload.multiplied_as == "bfloat16", quantized_factors(first, second, body), workload.attention_window,
        _chosen(workload, body, softmax.operands[0]),
    )  # fmt: skip
    return _checked(found)


def _chosen(workload: Workload, body: Lowered, scores: SSAValue) -> Chosen | None:
    """The choice that the body makes last before the softmax, by its last operand."""
    kept = workload.attention_keep
    if kept is None:
        return None
    choice = scores.owner
    assert isinstance(choice, onnx.Where)
    blocks = body.tensor(workload.op.regions[0].block.args[-1])
    return Chosen(blocks, body.tensor(choice.condition), kept.block, kept.share)


def _guard(workload: Workload, probabilities: SSAValue) -> SSAValue | None:
    """``where(is_nan(p), 0, p)``, if that is all that is made of the probabilities.

    A softmax gives numbers only, or NaN only: where a score is NaN or inf, or all of them are -inf.
    """
    users = [op for op in workload.body if probabilities in op.operands]
    where = next((op for op in users if isinstance(op, onnx.Where)), None)
    if where is None or where.Y is not probabilities or workload.reads(probabilities) != 2:
        return None
    test, zero = where.condition.owner, where.X
    if not isinstance(test, onnx.IsNaN) or test.X is not probabilities:
        return None
    value = onnx.constant_value(zero) if is_constant(zero) and is_scalar(zero) else None
    rank = len(dims_of(probabilities.type) or ())
    return where.out if value is not None and not value.any() and value.ndim <= rank else None


def _steps(workload: Workload, body: Lowered, value: SSAValue) -> tuple[tuple[Step, ...], bool] | Refusal:
    """What leads from the context to the output: views and transpositions, and whether elements are converted as well.

    A Cast or a quantization by one scale is the same wherever the element lies.
    """
    steps: list[Step] = []
    converted = False
    while value is not workload.outputs[0]:
        users = [use.operation for use in value.uses]
        if len(users) != 1 or not isinstance(users[0], OnnxOp):
            return Refusal("the context has several users")
        op = users[0]
        value = op.results[0]
        if isinstance(op, onnx.Cast) or (isinstance(op, onnx.QuantizeLinear) and all(map(is_scalar, op.operands[1:]))):
            converted = True
            continue
        if not has(op, Fact.VIEW) and not isinstance(op, onnx.Transpose):
            return Refusal(f"{op.name} after the attention")
        shape = dims(body.tensor(value).shape)
        rank = len(shape)
        permutation = op.attr("perm", tuple(reversed(range(rank)))) if op.name == "onnx.Transpose" else None
        steps.append(Step(tuple(shape), None if permutation is None else tuple(permutation)))
    return tuple(steps), converted


def _checked(found: Problem) -> Problem | Refusal:
    """`found`, once scores and weights are known to be elementwise."""
    shape = (*found.batch, found.queries, found.keys)
    at = [tirx.Var(f"i{axis}", str(tirx.convert(d).ty)) for axis, d in enumerate(found.product.shape)]
    moved: list[str] = []

    def here(indices: Sequence[Expr]) -> Expr:
        if not same_place(indices, at, shape):
            moved.append("an op between the products moves elements")
        return tirx.const(0.0, "float32")

    leaves: dict[te.Tensor, Leaf] = {p: zero(p) for p in found.params}
    leaves = {**leaves, found.product: here, found.probabilities: here, **found.kept_leaves()}
    unproven = [unproven_dims(tensor.shape, shape) for tensor in (found.scores, found.weights)]
    if any(pairs is None for pairs in unproven):
        return Refusal("scores of another shape than the product")
    assumed = tuple(pair for pairs in unproven for pair in pairs or ())
    scores, weights = (kept_types([tensor], at, leaves) for tensor in (found.scores, found.weights))
    problems = [*moved, *scores[1], *weights[1]]
    if problems:
        return Refusal(problems[0])
    return replace(found, assumed=found.assumed + assumed, kept=(scores[0], weights[0]))
