"""The code in docs/ runs as it stands, and does what the text says."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from typer.main import get_command

from dsc.cli.app import app
from dsc.exchange import import_model
from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from dsc.passes import PassError
from dsc.pipeline import compile_model
from dsc.plugins import load_plugin
from dsc.runtime.devices import device
from dsc.targets import Refusal, target
from dsc.targets.cpu.backend import CpuBackend
from dsc.tune import measure
from tests.domains.models import model as domain_model
from tests.domains.models import swooshed
from tests.domains.registrations import taken_back
from tests.kernels import compiled, machine

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def executed(page: str) -> dict[str, Any]:
    """The names that all Python blocks of a page define, run one after the other."""
    module = ModuleType(f"docs_{page.partition('.')[0].replace('-', '_')}")
    sys.modules[module.__name__] = module
    for block in blocks(page):
        exec(compile(block, page, "exec"), vars(module))
    return vars(module)


def length(page: str, name: str) -> int:
    """Lines of a class in a page, without blank ones."""
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ClassDef) and node.name == name:
                lines = block.splitlines()[node.lineno - 1 : node.end_lineno]
                return sum(bool(line.strip()) for line in lines)
    raise AssertionError(f"{page} defines no {name}")


def scaled_conv(scale: float) -> tuple[Graph, np.ndarray]:
    """identity(conv(x, w) * scale), and w."""
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [node("Conv", ["x", "w"], "c"), node("Mul", ["c", "s"], "y"), node("Identity", ["y"], "z")]
    return import_model(model(nodes, {"w": w, "s": np.float32(scale)})), w


def node(op: str, inputs: list[str], output: str) -> NodeProto:
    return helper.make_node(op, inputs, [output], name=f"node_{output}")


def model(nodes: list[NodeProto], weights: dict[str, Any]) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 6, 6])
    initializers = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "net", [x], [z], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_rule_of_the_docs_is_short_and_rewrites() -> None:
    assert length("writing-a-pass.md", "ScaleConv") <= 15
    graph, w = scaled_conv(2.5)
    record = executed("writing-a-pass.md")["ScaleConvs"]().run(graph)
    assert record.fired == {"conv(x, w) * scale => conv(x, w * scale)": 1}
    conv = next(op for op in graph.ops() if isinstance(op, onnx.Conv))
    np.testing.assert_array_equal(graph.constant(conv.W), w * np.float32(2.5))


def test_the_rule_of_the_docs_says_why_not() -> None:
    graph, _ = scaled_conv(0.0)
    record = executed("writing-a-pass.md")["ScaleConvs"]().run(graph)
    assert not record.changed
    assert "1 of 1: scale is zero" in str(record.near_misses()[0])


def test_the_pass_of_the_docs_is_short_and_rewrites() -> None:
    assert length("writing-a-pass.md", "DropIdentity") <= 25
    graph, _ = scaled_conv(1.0)
    drop = executed("writing-a-pass.md")["DropIdentity"]
    assert drop(limit=0).run(graph).fired == {}
    assert drop().run(graph).fired == {"identity(x) => x": 1}
    assert not [op for op in graph.ops() if isinstance(op, onnx.Identity)]


def test_an_exception_in_a_rule_points_at_the_op() -> None:
    names = executed("writing-a-pass.md")
    rule = names["ScaleConv"]

    class Broken(rule):  # type: ignore[misc, valid-type]
        """conv(x, w) * scale => nothing"""

        def rewrite(self, m: Any) -> Any:
            raise ZeroDivisionError("on purpose")

    broken = type("BrokenPass", (names["ScaleConvs"],), {"name": "broken", "rules": (Broken(),)})
    graph, _ = scaled_conv(2.0)
    with pytest.raises(PassError, match=r"(?s)ZeroDivisionError.*onnx\.Mul.*node_y"):
        broken().run(graph)


def test_the_kernel_of_the_docs_computes() -> None:
    kernel = executed("writing-a-kernel.md")["Flat"]()
    here = machine("x86")
    graph = Graph.build([("x", tensor("float32", (6, 64)))])
    relu = onnx.Relu.make(graph.inputs[0])
    graph.body.add_op(relu)
    graph.set_outputs([("y", relu.out)])
    space = kernel.match(Workload.of(relu), here)
    assert not isinstance(space, Refusal)
    best = min(space.points(), key=space.estimate)
    implementation = space.build(best)
    x = np.random.default_rng(1).standard_normal((6, 64)).astype(np.float32)
    given, result = tvm.runtime.tensor(x), tvm.runtime.tensor(np.empty_like(x))
    compiled(implementation.func, CpuBackend(here))(given, result)
    np.testing.assert_array_equal(result.numpy(), np.maximum(x, 0))
    assert 0 < measure(implementation, target("x86"), device("cpu", "test"), seconds=0.001) < 1


def test_the_kernel_of_the_docs_refuses() -> None:
    kernel = executed("writing-a-kernel.md")["Flat"]()
    graph = Graph.build([("x", tensor("float32", (5, 7)))])
    relu = onnx.Relu.make(graph.inputs[0])
    graph.body.add_op(relu)
    assert kernel.match(Workload.of(relu), machine("x86")) == Refusal("a ragged end")


def test_the_operator_of_the_docs_is_a_plugin(tmp_path: Path) -> None:
    """Alone, and in the epilogue of a product, as the page says."""
    (block,) = blocks("adding-an-operator.md")
    (path := tmp_path / "swoosh.py").write_text(block)
    w, x = (np.random.default_rng(i).standard_normal((8, 8)).astype(np.float32) for i in range(2))
    text = """(float[n,8] x) => (float[n,8] y, float[n,8] z) {
        y = com.mine.Swoosh<beta=2.0>(x)
        a = MatMul(x, w)
        z = com.mine.Swoosh(a)
    }"""
    with taken_back():
        assert load_plugin(path) == ["onnx.com.mine.Swoosh"]
        compilation = compile_model(domain_model(text, {"w": w}))
        assert "com.mine.swoosh(x @ c)" in str(compilation.graph)
        y, z = compilation.model.load(threads=1).run({"x": x}).values()
    np.testing.assert_allclose(y, swooshed(x, 2.0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(z, swooshed(x @ w), rtol=1e-4, atol=1e-5)  # sums of 8 products


def verbs() -> list[tuple[str, Any]]:
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(f"{name} {n}", c) for n, c in inner.items()] if inner else [(name, command)]
    return found


@pytest.mark.parametrize(("verb", "command"), verbs())
def test_every_option_is_documented(verb: str, command: Any) -> None:
    page = (DOCS / "command-line.md").read_text()
    section = re.search(rf"^## dsc {verb.split()[0]}\b(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"docs/command-line.md has no section on dsc {verb}"
    options = [max(p.opts, key=len) for p in command.params if p.opts[0].startswith("-") and p.name != "help"]
    missing = [option for option in options if f"`{option}" not in section.group(1)]
    assert not missing


def test_getting_started_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed("getting-started.md")
    for name, array in names["outputs"].items():
        np.testing.assert_array_equal(names["again"][name], array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["optimized.onnx", "squeezenet.dsc"]
