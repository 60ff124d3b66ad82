"""The Relax function of a model: its bindings, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax, tirx
from tvm.ir import Expr
from xdsl.ir import SSAValue

from dsc.lower.exprs import Scalar
from dsc.lower.registry import stored_dtype
from dsc.runtime.sessions import MAIN


class Bindings:
    """Collects the bindings of a function; each value is a variable `v<n>`."""

    def __init__(self) -> None:
        self._bindings: list[relax.VarBinding] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._bindings)

    def call(
        self,
        function: tvm.ir.GlobalVar,
        tensors: Sequence[relax.Expr],
        scalars: Sequence[Scalar],
        types: Sequence[relax.TensorType],
    ) -> list[relax.Expr]:
        """The results, of `types`, of a PrimFunc that takes tensors, then scalars."""
        arguments = relax.Tuple([*tensors, *index_typed(scalars)])
        return self._bind(relax.call_tir(function, arguments, list(types)), types)

    def reshape(self, tensor: relax.Expr, type_: relax.TensorType) -> relax.Expr:
        """A tensor in the shape of `type_`: itself where it has that already."""
        if [str(d) for d in tensor.ty.shape] == [str(d) for d in type_.shape]:
            return tensor
        return self._bind(relax.op.reshape(tensor, type_.shape), [type_])[0]

    def function(
        self, inputs: Sequence[relax.Var], parameters: Sequence[relax.Var], results: Sequence[relax.Expr]
    ) -> relax.Function:
        """The function of the model's inputs and weights that returns a tuple of `results`."""
        output = relax.Var("outputs", relax.TupleType([result.ty for result in results]))
        bindings = [*self._bindings, relax.VarBinding(output, relax.Tuple(list(results)))]
        body = relax.SeqExpr([relax.BindingBlock(bindings)], output)
        attributes = tvm.ir.make_node("ir.DictAttrs", global_symbol=MAIN, num_input=len(inputs))
        return relax.Function([*inputs, *parameters], body, output.ty, is_pure=True, attrs=attributes)

    def _bind(self, value: relax.Expr, types: Sequence[relax.TensorType]) -> list[relax.Expr]:
        """Bind `value` to a variable; a tuple is taken apart."""
        number = len(self._bindings)
        if len(types) == 1:
            variable = relax.Var(f"v{number}", types[0])
            self._bindings.append(relax.VarBinding(variable, value))
            return [variable]
        whole = relax.Var(f"v{number}", relax.TupleType(list(types)))
        self._bindings.append(relax.VarBinding(whole, value))
        parts = [relax.Var(f"v{number}_{index}", type_) for index, type_ in enumerate(types)]
        for index, part in enumerate(parts):
            self._bindings.append(relax.VarBinding(part, relax.TupleGetItem(whole, index)))
        return list(parts)


def tensor_type(value: SSAValue, sizes: Sequence[Scalar]) -> relax.TensorType:
    """The Relax type of a value of these sizes, as it is stored."""
    return relax.TensorType(index_typed(sizes), stored_dtype(value.type))


def index_typed(sizes: Sequence[Scalar]) -> list[Expr]:
    """Sizes as expressions of type int64."""
    return [d if isinstance(d, Expr) else tirx.IntImm("int64", int(d)) for d in sizes]
