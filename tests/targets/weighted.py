"""Regions some of whose inputs are weights: built with every point asked for, compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from xdsl.ir import Block
from xdsl.ir import Region as IrRegion

from dsc.exchange.importer import import_model
from dsc.ir.dialect import FusionOp, WeightOp, YieldOp
from dsc.lower.workload import Workload
from dsc.targets import Implementation, Kernel, Point, Refusal, Space
from dsc.targets.cpu.machine import Cpu
from tests.targets.regions import Region, library


@dataclass(frozen=True)
class Weighted(Region):
    """A region in which the inputs named in `weights` are constant."""

    weights: tuple[str, ...] = ()
    kind: str = "matmul"

    def workload(self) -> Workload:
        """The region as one dsc.fusion of weights and arguments."""
        graph = import_model(self.model())
        types = [value.type for value in graph.inputs]
        block, outside = Block(arg_types=types), Block(arg_types=types)
        values = dict(zip(graph.inputs, block.args, strict=True))
        for op in graph.ops():
            block.add_op(op.clone(values))
        outputs = [values[value] for value in graph.outputs]
        block.add_op(YieldOp(*outputs))
        operands = []
        for name, argument in zip(graph.input_names, outside.args, strict=True):
            weight = WeightOp(name, argument.type) if name in self.weights else None
            if weight is not None:
                outside.add_op(weight)
            operands.append(argument if weight is None else weight.out)
        fusion = FusionOp(self.kind, operands, [value.type for value in outputs], IrRegion(block))
        outside.add_op(fusion)
        return Workload.of(fusion)


def best(space: Space) -> list[Point]:
    """The point of least estimate."""
    return [min(space.points(), key=space.estimate)]


def check(
    kernel: Kernel,
    regions: Sequence[Region],
    machine: Cpu,
    choose: Callable[[Space], Sequence[Point]] = best,
) -> None:
    """Builds the points chosen of every region in one module, and compares each with ONNX Runtime."""
    built = [(region, point, impl) for region in regions for point, impl in _built(kernel, region, machine, choose)]
    functions = library([impl for _, _, impl in built], machine)
    for (region, point, impl), function in zip(built, functions, strict=True):
        arrays = region.arrays()
        expected = region.reference(arrays)
        inputs = [impl.packings[i].apply(a) if i in impl.packings else (a,) for i, a in enumerate(arrays)]
        outputs = [tvm.runtime.tensor(np.full_like(e, 77)) for e in expected]
        function(*(tvm.runtime.tensor(part) for parts in inputs for part in parts), *outputs)
        for output, array in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(
                output.numpy(), array, atol=region.atol, rtol=1e-4, err_msg=f"{region.text} {point}"
            )


def _built(
    kernel: Kernel, region: Region, machine: Cpu, choose: Callable[[Space], Sequence[Point]]
) -> list[tuple[Point, Implementation]]:
    space = kernel.match(region.workload(), machine)
    assert not isinstance(space, Refusal), f"{region.text}: {space.reason}"
    return [(point, space.build(point)) for point in choose(space)]
