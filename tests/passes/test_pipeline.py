"""Passes, their options in text, pipelines, observers and plugins."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import dsc
from dsc.errors import UsageError, VerificationError
from dsc.ir import Graph, onnx
from dsc.passes import (
    Pass,
    PassError,
    PassRecord,
    Pipeline,
    dump_phases,
    pass_class,
    pass_names,
    print_after,
    replace_op,
)  # fmt: skip
from dsc.plugins import load_plugin
from tests.passes.net import Net, summary

PLUGIN = """
from dataclasses import dataclass
from dsc.passes import Pass

@dataclass(frozen=True)
class Marks(Pass):
    name = "test-marks"
    how_often: int = 1
    only: tuple[str, ...] = ()
    strict: bool = False

    def apply(self, graph, record):
        record.fire("mark", self.how_often)
"""


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("plugins") / "my-plugin.py"
    path.write_text(PLUGIN)
    assert load_plugin(path) == ["test-marks"]


def relu() -> Graph:
    net = Net(x=(2,))
    return net.done(net.Relu(net.inputs()[0], node="act"))


@pytest.mark.parametrize(
    "text",
    [
        "test-marks",
        "test-marks{how-often=3}",
        'test-marks{how-often=2 only="a","b" strict=true},fuse',
        "layout{block=8}",
    ],
)
def test_text_and_passes_round_trip(text):
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_options_may_have_underscores_too():
    (found,) = Pipeline.parse("test-marks{how_often=4}").passes
    assert str(found) == "test-marks{how-often=4}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"there is no pass 'nonsense'; there are canonicalize, .*fuse, .*layout"),
        ("fuse{", "is not a pipeline"),
        ("fuse{depth=3}", r"pass fuse\{depth=3\}: .*; the options of fuse are max-epilogue: int, "),
        ("fuse{max-epilogue=many}", "max-epilogue=.*many.*expected <class 'int'>"),
    ],
)
def test_wrong_pipelines_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Pipeline.parse(text)


def test_observers_see_each_phase(tmp_path):
    out = io.StringIO()
    pipeline = Pipeline.parse("test-marks,fuse")
    records = pipeline.run(relu(), [dump_phases(tmp_path), print_after(["fuse"], out)])
    assert [r.name for r in records] == ["test-marks", "fuse"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["01-test-marks.mlir", "02-fuse.mlir"]
    assert out.getvalue().startswith("// IR after fuse\n")
    assert Graph.parse((tmp_path / "02-fuse.mlir").read_text()).output_names == ["out0"]


def test_a_pass_that_leaves_wrong_ir_is_named():
    class Breaks(Pass):
        name = "breaks"

        def apply(self, graph, record):
            graph.body.first_op.detach()

    with pytest.raises(VerificationError, match="after pass breaks: operand 0 is used before"):
        Breaks().run(relu())


def test_an_exception_in_a_pass_is_one_message_that_points_at_the_op():
    @dataclass(frozen=True)
    class Fails(Pass):
        name = "fails"

        def apply(self, graph: Graph, record: PassRecord) -> None:
            for op in graph.ops():
                record.fire(op.attributes["not there"])

    with pytest.raises(PassError) as caught:
        Fails().run(relu())
    assert "pass fails failed: KeyError: 'not there'" in str(caught.value)
    assert "from ONNX node 'act'" in str(caught.value)


def test_names_are_listed():
    assert {"canonicalize", "fuse", "layout", "test-marks"} <= set(pass_names())
    assert pass_class("layout").name == "layout"


def blocks() -> list[str]:
    text = (Path(dsc.__file__).parents[1] / "docs" / "writing-a-pass.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_documented_rule_and_pass_run_and_are_short():
    rule, rule_pass, own_pass = blocks()[:3]
    assert len(rule.strip().splitlines()) <= 15
    assert len(own_pass.strip().splitlines()) <= 25
    scope: dict[str, object] = {"__name__": "documented"}
    for code in (rule, rule_pass, own_pass):
        exec(compile(code, "writing-a-pass.md", "exec", dont_inherit=True), scope)
    net = Net(x=(1, 3, 4, 4))
    (x,) = net.inputs()
    graph = net.done(net.Identity(net.Mul(net.Conv(x, net.random(4, 3, 1, 1)), 0.5)))
    assert scope["ScaleConvs"]().run(graph).fired.total() == 1
    assert scope["DropIdentity"](limit=5).run(graph).fired.total() == 1
    assert summary(graph) == ["Conv"]


def test_replacing_an_op_keeps_what_both_types_tell():
    net = Net(x=("n", 3))
    (x,) = net.inputs()
    op = net.op(onnx.Relu, x)
    graph = net.done(op.out)
    replace_op(op, [graph.inputs[0]])
    assert graph.outputs == (graph.inputs[0],)
