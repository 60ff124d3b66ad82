"""Which operators can be registered, and what that does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx as reference
import pytest
from onnx.defs import OpSchema
from xdsl.dialects.builtin import UnrankedTensorType, f32

from dsc.errors import UsageError
from dsc.ir import OPERATORS, Fact, Graph, has, onnx, register_operator, tensor
from dsc.ir.onnx.facts import with_implied
from dsc.ir.onnx.operators import STATABLE
from dsc.ir.types import tensor_of_dims
from dsc.passes.base import PassRecord
from dsc.passes.driver import rewrite
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule
from tests.domains import mine
from tests.domains.mine import operand, schema


def test_an_operator_is_one_of_the_dialect() -> None:
    swoosh = mine.swoosh()
    assert (swoosh.name, swoosh.onnx_name) == ("onnx.com.mine.Swoosh", "com.mine.Swoosh")
    assert onnx.OPS["com.mine.Swoosh"] is swoosh
    graph = Graph.build([("x", tensor_of_dims(f32, ["n", 3]))])
    op = swoosh.make(graph.inputs[0])
    assert op.out.type == graph.inputs[0].type
    assert op.attr("beta") == 1.5
    assert has(op, Fact.ELEMENTWISE)
    assert not has(op, Fact.CHEAP)


def test_nothing_of_it_stays() -> None:
    onnx.unregister_operator(mine.swoosh())
    assert not reference.defs.has("Swoosh", "com.mine")
    assert "com.mine.Swoosh" not in onnx.OPS
    assert not any("com.mine.Swoosh" in names for names in OPERATORS.values())
    assert mine.swoosh() is onnx.OPS["com.mine.Swoosh"]


def test_the_same_again_is_the_same_class() -> None:
    assert mine.swoosh() is mine.swoosh()
    for others in ({"beta": 2.0}, {"beta": 1.5, "version": 2}):
        with pytest.raises(UsageError, match=r"com\.mine\.Swoosh is registered already, at version 1, and is another"):
            register_operator(schema("Swoosh", [operand("X")], **others), facts=[Fact.ACTIVATION])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is registered already"):
        register_operator(schema("Swoosh", [operand("X")], beta=1.5), facts=[Fact.CHEAP])


def test_a_domain_that_onnx_knows() -> None:
    """ONNX has schemas of ai.onnx.ml; a class of one is all that is missing, and they stay when it goes."""
    binarizer = register_operator(reference.defs.get_schema("Binarizer", "ai.onnx.ml"))
    graph = Graph.build([("x", tensor(np.float32, (2, 3)))])
    assert binarizer.make(graph.inputs[0], threshold=0.5).out.type == graph.inputs[0].type
    onnx.unregister_operator(binarizer)
    assert reference.defs.has("Binarizer", "ai.onnx.ml")
    other = schema("Binarizer", [operand("X")], domain="ai.onnx.ml")
    with pytest.raises(
        UsageError, match=r"ai\.onnx\.ml\.Binarizer: the onnx package has another operator of that name"
    ):
        register_operator(other)


def test_a_name_that_onnx_has_in_its_own_domain_is_another_operator() -> None:
    """What rules, tables and names of results say of Relu and Conv is not said of com.mine.Relu."""
    relu = register_operator(schema("Relu", [operand("X")]))
    graph = Graph.build([("x", tensor(np.float32, (2,)))])
    op = relu.make(graph.inputs[0])
    assert not isinstance(op, onnx.Relu)
    assert not any(has(op, fact) for fact in Fact)
    with pytest.raises(UsageError, match=r"onnx\.com\.mine\.Relu has no attribute alpha"):
        relu.make(graph.inputs[0], alpha=1.0)


@pytest.mark.parametrize("pattern", [ops.any("com.mine.Swoosh")(value("x")), ops.being(Fact.ACTIVATION)(value("x"))])
def test_rules_can_name_it_or_what_it_is(pattern: Any) -> None:
    class Drop(Rule):
        """swoosh(x) => identity(x)"""

        def rewrite(self, m: Match) -> Any:
            return m.emit(onnx.Identity, m.x).out

    Drop.pattern = pattern
    graph = Graph.build([("x", tensor(np.float32, (2,)))])
    op = mine.swoosh().make(graph.inputs[0])
    graph.body.add_op(op)
    graph.set_outputs([("y", op.out)])
    rewrite(graph, [Drop()], PassRecord("drop"))
    assert [o.name for o in graph.ops()] == ["onnx.Identity"]


def test_facts_of_results_that_passes_read_are_not_for_plugins() -> None:
    assert frozenset(Fact) > STATABLE == with_implied(STATABLE)
    with pytest.raises(UsageError, match=r"com\.mine\.View: PRODUCT, VIEW is true of operators of ONNX only"):
        register_operator(schema("View", [operand("X")]), facts=[Fact.VIEW, Fact.PRODUCT])
    with pytest.raises(UsageError, match=r"com\.mine\.Two: an elementwise operator has one output"):
        register_operator(schema("Two", [operand("X")], [operand("Y"), operand("Z")]), facts=[Fact.CHEAP])


def test_random_operators_are_not_pure() -> None:
    from xdsl.traits import is_side_effect_free

    graph = Graph.build([("x", tensor(np.float32, (2,)))])
    noise = register_operator(schema("Noise", [operand("X")]), facts=[Fact.RANDOM])
    assert not is_side_effect_free(noise.make(graph.inputs[0]))
    assert is_side_effect_free(mine.swoosh().make(graph.inputs[0]))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (schema("S", [operand("X")], infer=None), "does not say what types its results have"),
        (schema("S", [operand("X")], domain=""), "the default domain has ONNX's operators only"),
        (schema("S", [operand("X")], domain="dsc"), "domain 'dsc' is dsc's own"),
        (schema("S", [operand("X")], domain="my domain"), "domains are words with dots between them"),
        (schema("S", [operand("X")], version=0), "version 0 is none, they start at 1"),
        (schema("a.S", [operand("X")]), "names of operators are one word"),
        (schema("S", [operand("Y")]), "need names of their own; Y is twice"),
        (schema("S", [operand("X")], X=1), "need names of their own; X is twice"),
        (schema("S", [operand("operands")]), "the name operands is one that every op has"),
        (schema("S", [operand("X")], onnx_name="s"), "the name onnx_name is one that every op has"),
        (schema("S", [operand("name")]), "the name name is one that every op has"),
    ],
)
def test_what_is_no_complete_operator_is_refused(made: OpSchema, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        register_operator(made)
    assert not onnx.registered_operators()
    assert not reference.defs.has("S", "com.mine")


def test_attributes_that_are_graphs_are_refused() -> None:
    body = OpSchema.Attribute("body", OpSchema.AttrType.GRAPH, required=True)
    made = OpSchema("S", "com.mine", 1, attributes=[body])
    made.set_type_and_shape_inference_function(mine.like_first)
    with pytest.raises(UsageError, match="attribute body is of type GRAPH"):
        register_operator(made)


def test_errors_and_omissions_of_the_inference_function() -> None:
    def raises(context: Any) -> None:
        raise KeyError("my own words")

    graph = Graph.build([("x", tensor(np.float32, (2,)))])
    with pytest.raises(
        UsageError, match=r"onnx\.com\.mine\.Raises of \(.*\) with {} is not valid: KeyError: 'my own words'"
    ):
        register_operator(schema("Raises", [operand("X")], infer=raises)).make(graph.inputs[0])
    silent = register_operator(schema("Silent", [operand("X")], infer=lambda _: None))
    assert silent.make(graph.inputs[0]).out.type == UnrankedTensorType(f32)
