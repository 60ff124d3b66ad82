"""Indices that floats are computed to: TVM reasons about bounds of all that an index is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

import dsc
from dsc.exchange import export_model
from tests.exchange.models import assert_close, run
from tests.passes.equations import Builder, build


def _positions(b: Builder, x: SSAValue) -> SSAValue:
    size = b("Gather", b("Shape", x), np.int64(1))
    line = b("Range", 0, size, 1)
    return b("Sub", b("Unsqueeze", line, np.array([0])), b("Unsqueeze", line, np.array([1])))


def _t5(b: Builder, x: SSAValue) -> SSAValue:
    """Buckets of relative positions: exact for small distances, logarithmic for large ones."""
    relative = _positions(b, x)
    distance = b("Abs", relative)
    ratio = b("Div", b("Log", b("Div", b("Cast", distance, to=1), np.float32(8))), np.float32(np.log(16)))
    far = b("Min", b("Add", b("Cast", b("Mul", ratio, np.float32(8)), to=7), np.int64(8)), np.int64(15))
    bucket = b("Where", b("Less", distance, np.int64(8)), distance, far)
    later = b("Mul", b("Cast", b("Greater", relative, np.int64(0)), to=7), np.int64(16))
    return b("Gather", b.c(32, 4), b("Add", bucket, later))


def _rounded(name: str) -> Callable[[Builder, SSAValue], list[SSAValue]]:
    def body(b: Builder, x: SSAValue) -> list[SSAValue]:
        index = b("Cast", b(name, b("Abs", x)), to=7)
        return [index, b("Gather", b.c(8, 4), b("Clip", index, np.int64(0), np.int64(7)))]

    return body


def _signs(b: Builder, x: SSAValue) -> SSAValue:
    return b("Gather", b.c(3, 4), b("Add", b("Cast", b("Sign", b("Cast", x, to=3)), to=7), np.int64(1)))


CASES: dict[str, Callable[[Builder, SSAValue], SSAValue | list[SSAValue]]] = {
    "t5": _t5,
    "signs": _signs,
    **{name: _rounded(name) for name in ("Log", "Softplus", "Exp", "Sqrt")},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dims", [("b", "s"), (3, 29)])
def test_floats_to_indices(name: str, dims: tuple[str | int, ...]) -> None:
    graph = build(dims, CASES[name])
    module = dsc.compile(export_model(graph))
    for shape in ((3, 29), (2, 1)) if "s" in dims else ((3, 29),):
        x = np.random.default_rng(2).uniform(-9, 9, shape).astype(np.float32)
        assert_close(list(module.run({"x": x}).values()), run(export_model(graph), {"x": x}), 1e-6)
