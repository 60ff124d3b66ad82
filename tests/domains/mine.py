"""The operators of domain com.mine that the tests register, as the author of a plugin would write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx
from onnx import helper
from onnx.defs import OpSchema
from onnx.shape_inference import InferenceContext
from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import Fact, OnnxOp, register_operator
from dsc.lower import Call, Requirement, composed, const_like, elementwise, let, lowers, requires, same_shape, shape_of

Infer = Callable[[InferenceContext], None]
Option = OpSchema.FormalParameterOption


def operand(name: str, option: Option = Option.Single) -> OpSchema.FormalParameter:
    return OpSchema.FormalParameter(name, "T", param_option=option)


def like_first(context: InferenceContext) -> None:
    """All results have the type of the first operand."""
    for index in range(context.get_num_outputs()):
        context.set_output_type(index, context.get_input_type(0))


def schema(
    name: str,
    inputs: Sequence[OpSchema.FormalParameter],
    outputs: Sequence[OpSchema.FormalParameter] = (operand("Y"),),
    infer: Infer | None = like_first,
    version: int = 1,
    domain: str = "com.mine",
    **defaults: object,
) -> OpSchema:
    """A schema of float tensors; defaults: attributes with their default values."""
    made = OpSchema(
        name,
        domain,
        version,
        inputs=inputs,
        outputs=outputs,
        type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "")],
        attributes=[OpSchema.Attribute(n, helper.make_attribute(n, value)) for n, value in defaults.items()],
    )
    return made if infer is None else made.set_type_and_shape_inference_function(infer)


def swoosh(version: int = 1) -> type[OnnxOp]:
    """x sigmoid(beta x): an activation with an attribute that has a default."""
    op_type = register_operator(schema("Swoosh", [operand("X")], version=version, beta=1.5), facts=[Fact.ACTIVATION])

    @lowers(op_type)
    def lower(call: Call) -> te.Tensor:
        def of(x: Expr) -> Expr:
            return x * composed.sigmoid(x * const_like(call.attr("beta"), x))

        return elementwise(lambda x: let(x, of), call.inputs[0], name="swoosh")

    return op_type


def blend() -> type[OnnxOp]:
    """x + y, or x + w y: an optional operand; all have one shape."""
    op_type = register_operator(schema("Blend", [operand("X"), operand("Y0"), operand("W", Option.Optional)]))

    @requires(op_type)
    def sizes(call: Call) -> Iterator[Requirement]:
        x, *others = (shape_of(tensor) for tensor in call.inputs if tensor is not None)
        for other in others:
            yield from same_shape(x, other, "its operands")

    @lowers(op_type)
    def lower(call: Call) -> te.Tensor:
        if call.has(2):
            return elementwise(lambda x, y, w: x + w * y, *call.inputs, name="blend")
        return elementwise(lambda x, y: x + y, *call.inputs[:2], name="blend")

    return op_type


def largest() -> type[OnnxOp]:
    """The largest of any number of operands, which broadcast: a variadic operand."""
    facts = [Fact.COMMUTATIVE, Fact.CHEAP]
    op_type = register_operator(schema("Largest", [operand("Xs", Option.Variadic)], infer=broadcast), facts=facts)

    @lowers(op_type)
    def lower(call: Call) -> te.Tensor:
        result = call.inputs[0]
        for other in call.inputs[1:]:
            result = elementwise(tirx.Max, result, other, name="largest")
        return result

    return op_type


def broadcast(context: InferenceContext) -> None:
    """The result of operands of one rank."""
    shapes = [context.get_input_type(i).tensor_type.shape.dim for i in range(context.get_num_inputs())]
    result = onnx.TypeProto()
    result.CopyFrom(context.get_input_type(0))
    for dims, dim in zip(zip(*shapes, strict=True), result.tensor_type.shape.dim, strict=True):
        dim.CopyFrom(next((d for d in dims if d.dim_value != 1), dims[0]))
    context.set_output_type(0, result)


def halves() -> type[OnnxOp]:
    """min(x, 0) and max(x, 0): two outputs."""
    op_type = register_operator(schema("Halves", [operand("X")], [operand("Low"), operand("High")]))

    @lowers(op_type)
    def lower(call: Call) -> list[te.Tensor]:
        (x,) = call.inputs
        return [
            elementwise(lambda v: tirx.Min(v, const_like(0, v)), x, name="low"),
            elementwise(lambda v: tirx.Max(v, const_like(0, v)), x, name="high"),
        ]

    return op_type
