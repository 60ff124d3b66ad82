"""The operators that the dialect has: those of ONNX's default domain, and those of others that plugins register."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import onnx.defs
import onnx.shape_inference
from onnx.defs import OpSchema
from xdsl.ir import Dialect, Operation

from dsc.errors import UsageError
from dsc.ir.onnx.attributes import StringsAttr
from dsc.ir.onnx.base import OnnxOp
from dsc.ir.onnx.facts import Fact, facts_of, forget_facts, state_facts, with_implied
from dsc.ir.onnx.names import operator_name
from dsc.ir.onnx.schemas import op_class, op_classes
from dsc.ir.types import OptionalType, SequenceType, StringType

OPS: dict[str, type[OnnxOp]] = op_classes()
"""The operation classes by name: "Conv", "com.mine.Swoosh"."""

_classes: list[type[Operation]] = list(OPS.values())
DIALECT = Dialect("onnx", _classes, [StringsAttr, StringType, SequenceType, OptionalType])

STATABLE = frozenset({
    Fact.ELEMENTWISE, Fact.CHEAP, Fact.ACTIVATION, Fact.BROADCASTS, Fact.COMMUTATIVE,
    Fact.EXACT, Fact.WHOLE, Fact.SENSITIVE, Fact.RANDOM,
})  # fmt: skip
"""What may be said of an operator of another domain. Passes and kernels know the attributes of those of which the other
facts are true."""

_KINDS = ("INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS", "TENSOR", "TYPE_PROTO")
_DOMAIN, _NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII), re.compile(r"[A-Za-z_]\w*", re.ASCII)
_told: dict[str, OpSchema] = {}
"""The schemas that ONNX did not know, by the operator's name."""

_Inference = Callable[[onnx.shape_inference.InferenceContext], None]


def register_operator(schema: OpSchema, facts: Iterable[Fact] = ()) -> type[OnnxOp]:
    """The class of an operator of another domain, which becomes part of the dialect: models may have it from now on.

    schema: says what the types of its results are (`set_type_and_shape_inference_function`). ONNX learns it too, for
    its checker and its shape inference. A domain has one version of an operator, the newest.
    facts: what is true of it whatever its operands are, of `STATABLE`; what these imply is added.
    Registering the same again gives the same class. Raises UsageError for what is no complete operator, and for another
    one of that name.
    """
    name, facts = operator_name(schema.domain, schema.name), frozenset(facts)
    if (known := OPS.get(name)) is not None and schema.domain:
        return _again(known, schema, facts)
    _check_names(schema)
    _check_contents(schema, facts)
    op_type = op_class(schema, facts)
    _tell_onnx(schema)
    state_facts(name, facts)
    OPS[name] = op_type
    _classes.append(op_type)
    return op_type


def unregister_operator(op_type: type[OnnxOp]) -> None:
    """Takes back what `register_operator` did: for tests, which should leave nothing behind."""
    name = op_type.onnx_name
    if (schema := _told.pop(name, None)) is not None:
        onnx.defs.deregister_schema(schema.name, schema.since_version, schema.domain)
    del OPS[name]
    _classes.remove(op_type)
    forget_facts(name)


def find_operator(domain: str, op_type: str) -> type[OnnxOp] | None:
    """The class of a node's operator; None where the dialect does not have it."""
    found = OPS.get(operator_name(domain, op_type))
    return found if found is not None and found.onnx_schema.name == op_type else None  # a model may write any name


def registered_operators() -> list[type[OnnxOp]]:
    """The operators of other domains."""
    return [op_type for op_type in OPS.values() if op_type.onnx_schema.domain]


def _again(known: type[OnnxOp], schema: OpSchema, facts: frozenset[Fact]) -> type[OnnxOp]:
    if repr(known.onnx_schema) != repr(schema) or with_implied(facts) != facts_of(known.onnx_name):
        version = known.onnx_schema.since_version
        raise UsageError(f"{known.onnx_name} is registered already, at version {version}, and is another operator")
    return known


def _check_names(schema: OpSchema) -> None:
    name = operator_name(schema.domain, schema.name)
    if schema.domain in ("", "ai.onnx"):
        raise UsageError(f"{name}: the default domain has ONNX's operators only; give the schema a domain of your own")
    if schema.domain.split(".")[0] == "dsc":
        raise UsageError(f"{name}: domain {schema.domain!r} is dsc's own")
    if not _DOMAIN.fullmatch(schema.domain) or not _NAME.fullmatch(schema.name):
        raise UsageError(f"{name}: domains are words with dots between them, names of operators are one word")
    if schema.since_version < 1:
        raise UsageError(f"{name}: version {schema.since_version} is none, they start at 1")
    names = [p.name for p in (*schema.inputs, *schema.outputs)] + list(schema.attributes)
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise UsageError(f"{name}: inputs, outputs and attributes need names of their own; {', '.join(twice)} is twice")


def _check_contents(schema: OpSchema, facts: frozenset[Fact]) -> None:
    name = operator_name(schema.domain, schema.name)
    if not schema.has_type_and_shape_inference_function:
        raise UsageError(
            f"{name}: the schema does not say what types its results have; give it a function with "
            "set_type_and_shape_inference_function"
        )
    for attribute in schema.attributes.values():
        if attribute.type.name not in _KINDS:
            raise UsageError(
                f"{name}: attribute {attribute.name} is of type {attribute.type.name}, which no plugin can have"
            )
    if others := sorted(fact.name for fact in facts - STATABLE):
        raise UsageError(f"{name}: {', '.join(others)} is true of operators of ONNX only")
    is_single = [o.option for o in schema.outputs] == [OpSchema.FormalParameterOption.Single]
    if not is_single and Fact.ELEMENTWISE in with_implied(facts):
        raise UsageError(f"{name}: an elementwise operator has one output")


def _tell_onnx(schema: OpSchema) -> None:
    """Register a schema with ONNX, if it does not have it (ai.onnx.ml is known to it, but not to the dialect)."""
    name = operator_name(schema.domain, schema.name)
    newest = onnx.defs.get_schema(schema.name, schema.domain) if onnx.defs.has(schema.name, schema.domain) else None
    if newest is not None and newest.since_version >= schema.since_version:
        if repr(newest) != repr(schema):
            raise UsageError(
                f"{name}: the onnx package has another operator of that name, of version {newest.since_version}"
            )
        return
    infer: _Inference = schema.get_type_and_shape_inference_function()
    schema.set_type_and_shape_inference_function(_explained(infer))
    onnx.defs.register_schema(schema)
    _told[name] = schema


def _explained(infer: _Inference) -> _Inference:
    """What the function of a plugin raises is an error of inference, as those that ONNX's own functions raise are."""

    def inferred(context: onnx.shape_inference.InferenceContext) -> None:
        try:
            infer(context)
        except Exception as error:
            raise onnx.shape_inference.InferenceError(f"{type(error).__name__}: {error}") from error

    return inferred
