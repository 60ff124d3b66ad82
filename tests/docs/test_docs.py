"""The code in docs/ runs as it stands, and does what the text says."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from typer.main import get_command

import dsc.models as zoo
from dsc.check import random_inputs, verify
from dsc.cli.app import app
from dsc.codegen.selection import Failures, candidates
from dsc.exchange import import_model
from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from dsc.passes import PassError
from dsc.pipeline import compile_model
from dsc.plugins import load_plugin
from dsc.runtime.devices import device
from dsc.targets import Refusal, registry, target
from dsc.targets.cpu.backend import CpuBackend
from dsc.tune import measure
from tests.compiled import TextModel
from tests.domains.models import model as domain_model
from tests.domains.models import swooshed
from tests.domains.registrations import taken_back
from tests.kernels import compiled, compiled_library, machine
from tests.targets.assembly import X86

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


IMAGES = [(1, 12, 8, 6, 8), (1, 3, 4, 5, 7), (2, 16, 12, 7, 7), (1, 7, 5, 9, 11)]


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages register is gone afterwards."""
    monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(registry, "_kernels", {})


def pointwise(n: int, c: int, oc: int, h: int, w: int) -> TextModel:
    """relu(conv 1x1) + residual"""
    random = np.random.default_rng(n + c + oc)
    weights = {"w": random.standard_normal((oc, c, 1, 1), np.float32), "b": random.standard_normal(oc, np.float32)}
    text = f"(float[{n},{c},{h},{w}] x, float[{n},{oc},{h},{w}] r) => (float[{n},{oc},{h},{w}] y)"
    return TextModel(f"{text} {{ c = Conv(x, w, b) z = Relu(c) y = Add(z, r) }}", weights)


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize("sizes", IMAGES, ids=str)
def test_the_kernel_of_the_docs_computes(sizes: tuple[int, int, int, int, int]) -> None:
    kernel, (n, c, oc, h, w) = executed("writing-a-kernel.md")["Pointwise"](), sizes
    model, random = pointwise(*sizes), np.random.default_rng(3)
    graph = compile_model(model.proto(), passes="canonicalize,fuse").graph
    fusion = next(op for op in graph.ops() if op.name == "dsc.fusion")
    space = kernel.match(Workload.of(fusion), machine("x86"))
    assert not isinstance(space, Refusal)
    shapes = {"x": (n, c, h, w), "r": (n, oc, h, w)}
    feeds = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    (expected,) = model.reference(feeds)
    for point in space.points():
        implementation = space.build(point)
        assert 0 < space.estimate(point) < 1
        packings = [implementation.packings.get(i) for i in range(len(space.workload.operands))]
        sources = [operand.source for operand in space.workload.operands]
        arrays = [_argument(graph, *pair, feeds) for pair in zip(sources, packings, strict=True)]
        result = tvm.runtime.tensor(np.full_like(expected, 77))
        compiled(implementation.func, CpuBackend(machine("x86")))(*map(tvm.runtime.tensor, arrays), result)
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert 0 < measure(implementation, target("x86"), device("cpu", "test"), seconds=0.001) < 1


def _argument(graph: Graph, source: Any, packing: Any, feeds: dict[str, np.ndarray]) -> np.ndarray:
    constant = graph.constant(source)
    if constant is None:
        return feeds[graph.input_names[graph.inputs.index(source)]]
    return constant if packing is None else packing.apply(constant)[0]


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(float[1,3,9,9] x) => (float[1,4,9,9] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", "not 1x1"),
        ("(float[1,3,9,9] x) => (float[1,3,9,9] y) { y = Relu(x) }", "not one convolution and one result"),
        ("(float[1,3,h,9] x) => (float[1,4,h,9] y) { y = Conv(x, v) }", "an image of unknown size, or smaller"),
    ],
)
def test_the_kernel_of_the_docs_refuses(text: str, reason: str) -> None:
    weights = {"w": np.ones((4, 3, 3, 3), np.float32), "v": np.ones((4, 3, 1, 1), np.float32)}
    executed("writing-a-kernel.md")
    model = TextModel(text, {name: array for name, array in weights.items() if f"{name})" in text})
    (choice,) = compile_model(model.proto(), passes="canonicalize,fuse").model.choices
    assert dict(choice.refusals)["plugin.pointwise"].startswith(reason)


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Path]:
    """The plugins of the pages, as a reader saves them."""
    files = {"pointwise": "writing-a-kernel.md", "plain": "adding-a-target.md"}
    for name, page in files.items():
        (tmp_path / f"{name}.py").write_text("\n".join(blocks(page)))
    return {name: tmp_path / f"{name}.py" for name in files}


@pytest.mark.usefixtures("no_plugins")
def test_the_target_of_the_docs_runs_a_network(pages: dict[str, Path]) -> None:
    """A family that is not x86's, in one file: its machine, a kernel and the generic one; MobileNetV2, as a whole."""
    text = pages["pointwise"].read_text().replace('family="x86"', 'family="plain"')
    pages["plain"].write_text(f"{text}\n{pages['plain'].read_text()}")
    assert load_plugin(pages["plain"]) == ["plain", "plugin.pointwise"]
    path = zoo.fetch("mobilenet-v2")
    shapes = {spec.name: list(spec.pinned) for spec in zoo.recipe("mobilenet-v2").inputs}
    compilation = compile_model(path, target="plain", shapes=shapes)
    chosen = Counter(choice.kernel for choice in compilation.model.choices)
    assert set(chosen) == {"plugin.pointwise", "plain.generic"}
    assert chosen["plugin.pointwise"] > 10
    assert verify(path, compilation.model.load(2), [random_inputs(compilation.graph)]).passed


def test_the_instruction_of_the_docs_is_used() -> None:
    ours = executed("adding-an-instruction.md")["ours"]
    graph = Graph.build([("a", tensor("uint8", (40, 96)))])
    weight = graph.make_constant(np.ones((96, 48), np.int8))
    product = onnx.MatMulInteger.make(graph.inputs[0], weight.results[0])
    graph.body.add_ops([weight, product])
    best = candidates(Workload.of(product), ours, Failures())[0][0]
    backend = ours.backend()
    code = compiled_library({"product": best.build().func}, backend)
    loops = X86.innermost_loops(backend.assembly(code), "vpdpbusd")
    assert max(X86.count(loop, "vpdpbusd") for loop in loops) >= best.point.rows * best.point.vectors
    assert all(X86.widths(loop) == {256} for loop in loops)


def test_the_bound_of_the_docs() -> None:
    executed("estimates.md")


@pytest.fixture(scope="module")
def precisions() -> dict[str, Any]:
    return executed("precision.md")


def test_the_precision_of_the_docs_halves_the_weights(precisions: dict[str, Any]) -> None:
    names = precisions
    assert names["sizes"]["fp16"] == 64 * 64 * 2
    assert names["sizes"]["fp32"] >= 64 * 64 * 4
    assert 1e-5 < names["error"] < 1e-2


def test_a_model_of_bfloat16_in_the_docs_is_computed_in_float32(precisions: dict[str, Any]) -> None:
    names = precisions
    w, x = (names[name].astype(names["half"]).astype(np.float32) for name in ("w", "given"))
    expected, found = np.maximum(x @ w, 0) @ w, names["rounded"]
    assert found.dtype == names["half"]
    # one rounding, of 2^-9; sums are in another order
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2.0**-8, atol=1e-6)
    assert names["stored"].count("bfloat16") == 1


def test_the_formulas_of_the_docs_are_good_for_eight_bits() -> None:
    assert 38 < executed("numerics.md")["decibels"] < 42  # two roundings of 41 or 42 dB


def test_the_docs_quantize_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed("quantization.md")
    report = names["report"]
    assert report.accuracy.quantized >= 0.95
    assert report.share == 1
    assert names["half"].report.share == 1
    assert names["kinds"] == {"first": "int8", "second": "fp16"}
    assert (tmp_path / "quantized.onnx").exists()


def test_the_docs_prune_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed("pruning.md")
    assert names["pruned"].report.sparsity == pytest.approx(0.5, abs=0.01)
    assert Path("pruned.onnx").stat().st_size > 4 * (24 * 32 + 32 * 10)


def test_the_weights_of_the_docs_are_small(capsys: pytest.CaptureFixture[str]) -> None:
    names = executed("weight-only.md")
    assert 0.15 < names["share"] < 0.17  # 4 bits, a scale and a zero point for 32 of them
    assert 0.01 < names["off"] < 0.15
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["embed", "project"]


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


def test_the_ranges_of_the_docs() -> None:
    names = executed("calibration.md")
    assert sorted(names["ranges"]) == ["entropy", "minmax", "mse", "percentile-99.9"]
    widest = names["ranges"]["minmax"]["h"]
    assert widest.low <= names["low"] < 0 < names["high"] <= widest.high
    assert names["maxima"]["x"].shape == (64,)
    np.testing.assert_array_equal(names["maxima"]["w"], np.abs(names["w"]).max(1))


def test_getting_started_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed("getting-started.md")
    for name, array in names["outputs"].items():
        np.testing.assert_array_equal(names["again"][name], array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["optimized.onnx", "squeezenet.dsc"]
