"""Bytes by a table of bytes, in vectors where the machine has instructions for it."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.pipeline import compile_model
from dsc.targets import Refusal, target
from dsc.targets.cpu.lookup import Lookup
from tests.compiled import TextModel, kernels
from tests.kernels import compiled_library, machine
from tests.targets.assembly import ARM, X86, Syntax
from tests.targets.weighted import Weighted

RANDOM = np.random.default_rng()
SIZES = [0, 1, 15, 16, 63, 64, 65, 1000, 16383, 16384, 16385, 70001]


def model(shape: str, x: str = "uint8", table: str = "uint8") -> TextModel:
    entries = RANDOM.integers(0, 256, 256, np.uint8).view(table)
    return TextModel(
        f"({x}[{shape}] x) => ({table}[{shape}] y) {{ i = Cast<to=6>(x) y = Gather(t, i) }}", {"t": entries}
    )


@pytest.mark.parametrize("table", ["uint8", "int8"])
@pytest.mark.parametrize("x", ["uint8", "int8"])
def test_every_size(x: str, table: str) -> None:
    """Of one size that a run tells: each byte, vectors, what is left of them, and several tasks."""
    given = model("n", x, table)
    compilation = compile_model(given.proto())
    looks_up = machine().byte_table is not None
    assert kernels(compilation) == ["cpu.lookup" if looks_up else "cpu.generic"]
    for threads in (1, 2):
        module = compilation.model.load(threads)
        for size in SIZES:
            array = RANDOM.integers(0, 256, size, np.uint8).view(x)
            np.testing.assert_array_equal(module.run({"x": array})["y"], given.weights["t"][array.view(np.uint8)])


@pytest.mark.parametrize("shape", ["256", "7,11", "3,5,64", "2,40000", "1"])
def test_known_shapes(shape: str) -> None:
    """Against ONNX Runtime, with each byte among them where there is room."""
    given = model(shape)
    dims = [int(size) for size in shape.split(",") if size]
    x = np.resize(np.arange(256, dtype=np.uint8), dims)
    (expected,) = given.reference({"x": x})
    np.testing.assert_array_equal(compile_model(given.proto()).model.load(2).run({"x": x})["y"], expected)


TABLE = "(uint8[100000] x, uint8[256] t) => (uint8[100000] y) { i = Cast<to=6>(x) y = Gather(t, i) }"


@pytest.mark.parametrize(
    ("tag", "syntax", "mnemonics", "count"),
    [("x86:znver4", X86, ("vpermi2b", "vpermt2b"), 2), ("arm:cortex-a76", ARM, ("tbl", "tbx"), 4)],
)
def test_instructions(tag: str, syntax: Syntax, mnemonics: tuple[str, ...], count: int) -> None:
    """The table is in registers, and a vector goes through all of it."""
    space = Lookup().match(Weighted(TABLE, weights=("t",)).workload(), machine(tag))
    assert not isinstance(space, Refusal)
    func = space.build(space.points()[0]).func
    assembly = compiled_library({"kernel": func}, target(tag).backend()).inspect_source("asm")
    loops = {tuple(loop) for mnemonic in mnemonics for loop in syntax.innermost_loops(assembly, mnemonic)}
    assert loops
    for loop in map(list, loops):
        found = sum(syntax.count(loop, mnemonic) for mnemonic in mnemonics)
        assert found
        assert found % count == 0
        assert not syntax.on_stack(loop)
        assert len(loop) <= 6 * found


REFUSED = {
    "(uint8[9] x, uint8[256] t) => (uint8[9] y) { y = BitwiseNot(x) }": "no lookup alone",
    "(uint8[9] x, uint8[99] t) => (uint8[9] y) { i = Cast<to=6>(x) y = Gather(t, i) }": "has not 256 elements",
    "(uint8[9] x, float[256] t) => (float[9] y) { i = Cast<to=6>(x) y = Gather(t, i) }": "not bytes by bytes",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals(text: str) -> None:
    refusal = Lookup().match(Weighted(text, weights=("t",)).workload(), machine("x86:znver4"))
    assert isinstance(refusal, Refusal)
    assert REFUSED[text] in refusal.reason


def test_without_such_instructions() -> None:
    refusal = Lookup().match(Weighted(TABLE, weights=("t",)).workload(), machine("x86:haswell"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "no instruction looks bytes up"
