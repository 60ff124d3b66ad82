"""Models with operators of plugins: read, printed, parsed, written, refused."""

from __future__ import annotations

import onnx as reference
import onnx.parser
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import export_model, import_model
from dsc.ir import Graph, dims_of, register_operator
from tests.domains import mine
from tests.domains.mine import Option, operand, schema
from tests.domains.models import SWOOSH, model


def names(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops()]


def test_a_model_is_read_with_types() -> None:
    mine.swoosh()
    graph = import_model(
        model("(float[n,8] x) => (float[n,8] y) { a = com.mine.Swoosh(x) y = com.mine.Swoosh<beta=2.0>(a) }")
    )
    first, second = graph.ops()
    assert names(graph) == ["onnx.com.mine.Swoosh"] * 2
    assert dims_of(first.results[0].type) == ("n", 8)
    assert (first.attr("beta"), second.attr("beta")) == (1.5, 2.0)  # type: ignore[attr-defined]


def test_the_text_of_the_ir_is_read_back() -> None:
    mine.swoosh()
    mine.blend()
    mine.largest()
    mine.halves()
    graph = import_model(
        model("""(float[n,8] x, float[n,8] z) => (float[n,8] y) {
            low, high = com.mine.Halves(x)
            a = com.mine.Blend(low, z)
            b = com.mine.Blend(low, high, z)
            c = com.mine.Largest(a, b, x)
            y = com.mine.Swoosh<beta=2.0>(c)
        }""")
    )
    assert str(Graph.parse(str(graph))) == str(graph)


def test_a_subgraph_and_a_function_may_have_them() -> None:
    mine.swoosh()
    text = """<ir_version: 10, opset_import: ["": 20, "com.mine": 1, "f": 1]>
    m (float[n,8] x, bool c) => (float[n,8] y) {
        a = f.twice(x)
        y = If(c) <then_branch = t () => (float[n,8] t) { t = com.mine.Swoosh(a) },
                   else_branch = e () => (float[n,8] e) { e = Identity(a) }>
    }
    <domain: "f", opset_import: ["": 20, "com.mine": 1]>
    twice (v) => (w) { u = com.mine.Swoosh(v) w = com.mine.Swoosh(u) }
    """
    graph = import_model(onnx.parser.parse_model(text))
    assert names(graph) == ["onnx.com.mine.Swoosh"] * 2 + ["onnx.If"]
    assert "onnx.com.mine.Swoosh" in str(graph.body.last_op.prev_op)  # type: ignore[union-attr]


def test_a_model_is_written_with_its_domain() -> None:
    mine.swoosh()
    given = model("(float[n,8] x) => (float[n,8] y) { a = Relu(x) y = com.mine.Swoosh<beta=2.0>(a) }")
    written = export_model(import_model(given))
    reference.checker.check_model(written, full_check=True)
    assert [(n.domain, n.op_type) for n in written.graph.node] == [("", "Relu"), ("com.mine", "Swoosh")]
    assert {i.domain: i.version for i in written.opset_import} == {"": 18, "com.mine": 1}
    assert str(import_model(written)) == str(import_model(given))


def test_a_domain_is_imported_at_the_version_of_its_newest_operator() -> None:
    mine.swoosh()
    register_operator(schema("Later", [operand("X")], version=3))
    text = "(float[n,8] x) => (float[n,8] y) { a = com.mine.Swoosh(x) y = com.mine.Later(a) }"
    written = export_model(import_model(model(text, version=3)))
    assert {i.domain: i.version for i in written.opset_import} == {"": 18, "com.mine": 3}
    with pytest.raises(
        UnsupportedModelError, match=r"com\.mine\.Later \('y'\) is registered at version 3, .* version 2"
    ):
        import_model(model(text, version=2))


def test_a_model_without_its_plugin_is_refused() -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"(?s)1 operators.*com\.mine\.Swoosh:.*a plugin \(--plugin\) can add"
    ):
        import_model(model(SWOOSH))
    with pytest.raises(UnsupportedModelError) as refused:
        import_model(model("(float[n,8] x) => (float[n,8] y) { y = Swoosh(x) }"))
    assert "plugin" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        (
            SWOOSH,
            2,
            r"com\.mine\.Swoosh \('y'\) is registered at version 1, but the model imports version 2 of com\.mine",
        ),
        (SWOOSH, None, r"not a valid ONNX model: .*domain.*com\.mine"),
        (SWOOSH.replace("Swoosh(x)", "Swoosh<alpha=1.0>(x)"), 1, "Unrecognized attribute: alpha"),
        (SWOOSH.replace("Swoosh(x)", "Swoosh<beta=1>(x)"), 1, "Mismatched attribute type.*beta.*Expected: 'FLOAT'"),
        (SWOOSH.replace("Swoosh(x)", "Swoosh(x, x)"), 1, r"not a valid ONNX model: .*input size 2"),
        (SWOOSH.replace("float[n,8] x", "double[n,8] x"), 1, r"do not fit together: .*tensor\(double\)"),
    ],
)
def test_nodes_that_do_not_fit_their_schema_are_refused(text: str, version: int | None, message: str) -> None:
    mine.swoosh()
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(model(text, version=version))


def test_what_inference_raises_or_leaves_open() -> None:
    def raises(context: reference.shape_inference.InferenceContext) -> None:
        raise ValueError("x must have two dims")

    register_operator(schema("Raises", [operand("X")], infer=raises))
    with pytest.raises(UnsupportedModelError, match=r"do not fit together: .*ValueError: x must have two dims"):
        import_model(model(SWOOSH.replace("Swoosh", "Raises")))
    two = [operand("Y"), operand("Z", Option.Optional)]
    register_operator(schema("Open", [operand("X")], two, infer=lambda _: None))
    graph = import_model(model("(float[n,8] x) => (float[n,8] y) { a = com.mine.Open(x) y = Relu(a) }"))
    assert dims_of(next(iter(graph.ops())).results[0].type) is None


@pytest.mark.parametrize(("domain", "op_type"), [("com", "mine.Swoosh"), ("", "com.mine.Swoosh")])
def test_dots_in_the_name_of_a_node_do_not_make_it_another(domain: str, op_type: str) -> None:
    mine.swoosh()
    given = model(SWOOSH)
    given.graph.node[0].domain, given.graph.node[0].op_type = domain, op_type
    given.opset_import.append(reference.helper.make_opsetid("com", 1))
    with pytest.raises(UnsupportedModelError, match="1 operators are not among"):
        import_model(given)


def test_what_a_plugin_registers_goes_before_our_own_rules() -> None:
    """Gelu of com.microsoft is read as ONNX's, unless a plugin says what it is."""
    text = """<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
    m (float[n,8] x) => (float[n,8] y) { y = com.microsoft.Gelu(x) }"""
    assert names(import_model(onnx.parser.parse_model(text))) == ["onnx.Gelu"]
    register_operator(schema("Gelu", [operand("X")], domain="com.microsoft"))
    assert names(import_model(onnx.parser.parse_model(text))) == ["onnx.com.microsoft.Gelu"]


def test_a_name_of_the_default_domain_is_kept_apart() -> None:
    register_operator(schema("Constant", [operand("X")]))
    register_operator(schema("Identity", [operand("X")]))
    graph = import_model(
        model("(float[n,8] x) => (float[n,8] y) { a = com.mine.Constant(x) y = com.mine.Identity(a) }")
    )
    assert names(graph) == ["onnx.com.mine.Constant", "onnx.com.mine.Identity"]
    assert [n.domain for n in export_model(graph).graph.node] == ["com.mine", "com.mine"]
