"""Graph: a model in the IR: one `func.func @main` of onnx and dsc ops, and the weights it names."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import ml_dtypes
import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, Builtin, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import Func, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from dsc.errors import UsageError
from dsc.ir import onnx
from dsc.ir.dialect import DIALECT, WeightOp
from dsc.ir.parser import GraphParser
from dsc.ir.types import tensor
from dsc.ir.verify import verify
from dsc.ir.weights import WeightStore

SMALL_CONSTANT = 64
"""Constants of up to this many elements are in the IR as `onnx.Constant`; larger ones are `dsc.weight`."""

_NO_CONSTANTS = frozenset(np.dtype(t) for t in (ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn))
"""Types that ONNX's Constant does not take."""

_NAME = "onnx.name"


def context() -> Context:
    """An xDSL context that knows the builtin, func, onnx and dsc dialects."""
    ctx = Context()
    for dialect in (Builtin, Func, onnx.DIALECT, DIALECT):
        ctx.load_dialect(dialect)
    return ctx


@dataclass
class Graph:
    """A model: `module` holds `func.func @main`, `weights` the data of its `dsc.weight` ops.

    metadata: what the ONNX file says about itself (producer, doc string, metadata_props), kept for the
    export.
    """

    module: ModuleOp
    weights: WeightStore = field(default_factory=WeightStore)
    name: str = "main"
    metadata: dict[str, str] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        inputs: Sequence[tuple[str, Attribute]],
        weights: WeightStore | None = None,
        name: str = "main",
        metadata: dict[str, str] | None = None,
    ) -> Graph:
        """An empty graph with named, typed inputs. Add ops to `body`, then call `set_outputs`."""
        block = Block(arg_types=[type_ for _, type_ in inputs])
        for argument, (input_name, _) in zip(block.args, inputs, strict=True):
            argument.name_hint = name_hint(input_name)
        named = ArrayAttr([DictionaryAttr({_NAME: StringAttr(n)}) for n, _ in inputs])
        func = FuncOp("main", ([t for _, t in inputs], []), Region(block), arg_attrs=named)
        return cls(ModuleOp([func]), weights if weights is not None else WeightStore(), name, metadata or {})

    def set_outputs(self, outputs: Sequence[tuple[str, SSAValue]]) -> None:
        """Make the named values the outputs of the model, in this order (replacing what was)."""
        if isinstance(self.body.last_op, ReturnOp):
            self.body.erase_op(self.body.last_op)
        self.body.add_op(ReturnOp(*[value for _, value in outputs]))
        self.func.properties["res_attrs"] = ArrayAttr([DictionaryAttr({_NAME: StringAttr(n)}) for n, _ in outputs])
        self.update_signature()

    def update_signature(self) -> None:
        """Make the type of `@main` follow its arguments and results, after their types were changed."""
        self.func.update_function_type()  # type: ignore[no-untyped-call]

    @property
    def func(self) -> FuncOp:
        """The `func.func @main`."""
        return cast(FuncOp, self.module.body.block.first_op)

    @property
    def body(self) -> Block:
        """The block of `@main`."""
        return self.func.body.block

    @property
    def inputs(self) -> tuple[BlockArgument, ...]:
        """The model's inputs."""
        return self.body.args

    @property
    def outputs(self) -> tuple[SSAValue, ...]:
        """The model's outputs."""
        assert isinstance(self.body.last_op, ReturnOp)
        return tuple(self.body.last_op.operands)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs in the ONNX model."""
        return _names(self.func.properties.get("arg_attrs"), "arg", len(self.inputs))

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs in the ONNX model."""
        return _names(self.func.properties.get("res_attrs"), "out", len(self.outputs))

    def ops(self) -> Iterator[Operation]:
        """The top-level ops, without the return."""
        return (op for op in self.body.ops if not isinstance(op, ReturnOp))

    def constant(self, value: SSAValue | None) -> np.ndarray | None:
        """The array of a value made by `onnx.Constant` or `dsc.weight` (read-only); None if it is not
        constant."""
        if value is None:
            return None
        if isinstance(value.owner, WeightOp):
            return self.weights.get(value.owner.weight)
        return onnx.constant_value(value)

    def make_constant(self, array: np.ndarray, name: str = "weight") -> Operation:
        """A detached op for a constant: `onnx.Constant` when small or of strings, else `dsc.weight` (data is
        added)."""
        array = np.asarray(array)
        is_small = array.size <= SMALL_CONSTANT and array.dtype not in _NO_CONSTANTS
        if is_small or array.dtype.kind in "OUS":
            return onnx.Constant.make(value=array)
        op = WeightOp(self.weights.add(array, name), tensor(array.dtype, array.shape))
        op.out.name_hint = name_hint(name)
        return op

    def weight_op(self, name: str) -> WeightOp:
        """A detached `dsc.weight` for an entry of the store."""
        type_ = tensor(self.weights.dtype(name), self.weights.shape(name))
        op = WeightOp(name, type_)
        op.out.name_hint = name_hint(name)
        return op

    def clone(self) -> Graph:
        """A copy of the IR; the weight store, whose entries never change, is shared."""
        return Graph(self.module.clone(), self.weights, self.name, dict(self.metadata))

    def text(self) -> str:
        """The MLIR text of the module."""
        out = io.StringIO()
        Printer(stream=out).print_op(self.module)
        return out.getvalue() + "\n"

    @classmethod
    def parse(cls, text: str, weights: WeightStore | None = None, name: str = "main") -> Graph:
        """The graph of a text. Raises UsageError, with the place, where it is not a module of these
        dialects."""
        try:
            module = GraphParser(context(), text, f"<{name}>").parse_module()
        except ParseError as error:
            raise UsageError(f"not a dsc module: {error}") from error
        return cls(module, weights if weights is not None else WeightStore(), name)

    def verify(self) -> None:
        """Raise VerificationError, pointing at the op, when the IR is not well formed."""
        verify(self.module, self.weights)

    def __str__(self) -> str:
        return self.text()


def _names(attributes: Attribute | None, prefix: str, count: int) -> list[str]:
    dictionaries = list(attributes) if isinstance(attributes, ArrayAttr) else [DictionaryAttr({})] * count
    found = [cast(DictionaryAttr, d).data.get(_NAME) for d in dictionaries]
    return [n.data if isinstance(n, StringAttr) else f"{prefix}{i}" for i, n in enumerate(found)]


def name_hint(name: str) -> str | None:
    """The SSA name for an ONNX name, e.g. "/model/conv.0/out" -> "model_conv.0_out"; None when nothing is
    left."""
    hint = re.sub(r"[^A-Za-z0-9_$.-]+", "_", name).strip("_")
    if not hint:
        return None
    return f"v{hint}" if hint[0].isdigit() else hint
