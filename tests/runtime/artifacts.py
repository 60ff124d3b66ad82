"""A tiny artifact made without the front of the compiler: y = x + w0 + w1 + ..., rows in parallel."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tvm
from tvm import relax, s_tir, te, tirx

from dsc.codegen.build import compile_module
from dsc.host import cpu_features
from dsc.needs import Needs
from dsc.runtime.container import write_artifact
from dsc.runtime.manifest import Manifest, TensorSpec
from dsc.runtime.weights import Weight
from dsc.targets import target

COLUMNS = 64


@dataclass(frozen=True)
class Sum:
    """What the artifact holds."""

    manifest: Manifest
    library: bytes
    arrays: list[np.ndarray]

    def write(self, path: Path) -> Path:
        weights = [
            Weight(name, "float32", array.shape, lambda array=array: array)
            for name, array in zip(self.manifest.parameters, self.arrays, strict=True)
        ]
        write_artifact(path, self.manifest, self.library, weights)
        return path

    def expected(self, x: np.ndarray) -> np.ndarray:
        return x + sum(self.arrays)


def make_sum(terms: int = 3) -> Sum:
    rng = np.random.default_rng(7)
    arrays = [rng.standard_normal(COLUMNS, dtype=np.float32) for _ in range(terms)]
    manifest = Manifest(
        name="sum",
        target="x86:test",
        needs=(Needs("cpu", {"arch": platform.machine(), "features": tuple(sorted(cpu_features() & {"avx2"}))}),),
        inputs=(TensorSpec("x", "float32", ("batch", COLUMNS)),),
        outputs=(TensorSpec("y", "float32", ("batch", COLUMNS)),),
        parameters=tuple(f"w{i}" for i in range(terms)),
        versions={"apache-tvm": version("apache-tvm")},
    )
    return Sum(manifest, compile_module(_module(terms), target("x86").backend()), arrays)


def _module(terms: int) -> tvm.IRModule:
    batch = tirx.Var("batch", "int64")
    table = relax.TensorType((batch, tirx.IntImm("int64", COLUMNS)), "float32")
    x = relax.Var("x", table)
    parameters = [relax.Var(f"w{i}", relax.TensorType((COLUMNS,), "float32")) for i in range(terms)]
    builder = relax.BlockBuilder()
    add = builder.add_func(add_rows(), "add")
    bindings, value = [], x
    for index, parameter in enumerate(parameters):
        value_of = relax.Var(f"v{index}", table)
        call = relax.call_tir(add, relax.Tuple([value, parameter]), [table])
        bindings.append(relax.VarBinding(value_of, call))
        value = value_of
    output = relax.Var("outputs", relax.TupleType([table]))
    bindings.append(relax.VarBinding(output, relax.Tuple([value])))
    attributes = tvm.ir.make_node("ir.DictAttrs", global_symbol="main", num_input=1)
    body = relax.SeqExpr([relax.BindingBlock(bindings)], output)
    function = relax.Function([x, *parameters], body, output.ty, is_pure=True, attrs=attributes)
    builder.add_func(function, "main")
    return builder.get()


def add_rows() -> tirx.PrimFunc:
    rows, columns = tirx.Var("rows", "int64"), tirx.IntImm("int64", COLUMNS)
    a = te.placeholder((rows, columns), "float32", name="a")
    b = te.placeholder((columns,), "float32", name="b")
    c = te.compute((rows, columns), lambda i, j: a[i, j] + b[j], name="c")
    schedule = s_tir.Schedule(te.create_prim_func([a, b, c]))
    row, column = schedule.get_loops(schedule.get_sblock("c"))
    schedule.parallel(row)
    schedule.vectorize(schedule.split(column, [None, 8])[1])
    return schedule.mod["main"].without_attr("global_symbol")
