"""What a model requires at run time, as code: sizes in a function of their own, indices in kernels beside those that
use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.exprs import Scalar
from dsc.lower.requirements import Indexed, Required, Requirement, located
from dsc.lower.requirements.requirement import DIVISIONS, expression
from dsc.lower.sizes import SizeRequirements
from dsc.lower.walk import Place
from dsc.runtime.checks import PASSED
from dsc.runtime.manifest import Check, Checks
from dsc.targets.backend import ON_HOST


@dataclass
class CheckList:
    """Collects the requirements of a model; equal ones are checked once."""

    places: Mapping[tirx.Var, Place]
    """The dims that give the variables their values, in order."""
    sizes: list[Check] = field(default_factory=list)
    indices: list[Check] = field(default_factory=list)
    _conditions: list[tuple[Expr, Requirement]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def require(self, requirements: Sequence[Required]) -> None:
        """Add requirements, in terms of the variables of `places`."""
        for where, requirement in requirements:
            condition = requirement.condition()
            if str(condition) in self._seen:
                continue
            self._seen.add(str(condition))
            self._conditions.append((condition, requirement))
            used = tirx.analysis.undefined_vars(condition)
            places = tuple(place for variable, place in self.places.items() if any(variable.same_as(u) for u in used))
            self.sizes.append(Check(f"{where}: {requirement.text}", places))

    def add_indices(self, indexed: Indexed, places: Sequence[Place]) -> None:
        """Number a check of indices, which come from the inputs of `places`."""
        self.indices.append(Check(f"{located(indexed.op)}: {indexed.indices.text}", tuple(places)))

    def adopt(self, found: SizeRequirements) -> None:
        """Add requirements in terms of variables of their own; what depends on others than dims of inputs is left."""
        variables = {place: variable for variable, place in self.places.items()}
        known = {own: variables[place] for own, place in found.places.items() if place in variables}

        def renamed(value: Scalar) -> Scalar:
            if not isinstance(value, Expr):
                return value
            return tvm_ffi.structural_map(value, (tirx.Var, lambda variable: known.get(variable, variable)))

        for where, requirement in found.required:
            if all(used in known for used in tirx.analysis.undefined_vars(requirement.condition())):
                self.require([(where, requirement.mapped(renamed))])

    def table(self) -> Checks:
        """What the manifest says of them."""
        return Checks(tuple(self.places.values()), tuple(self.sizes), tuple(self.indices))

    def size_function(self) -> tirx.PrimFunc:
        """(status: int64[3], a value for each variable): the number of the first check that fails and its sides."""
        status = tirx.decl_buffer((3,), "int64", "status")
        body: list[tirx.Stmt] = [_store(status, 0, PASSED)]
        # the last that is written is the first in the list
        for number, (condition, requirement) in reversed(list(enumerate(self._conditions))):
            sides = [_whole(_without_zero(expression(side))) for side in (requirement.left, requirement.right)]
            failed = [_store(status, 0, number), *(_store(status, i + 1, side) for i, side in enumerate(sides))]
            body.append(tirx.IfThenElse(tirx.Not(_without_zero(condition)), tirx.SeqStmt(failed), None))
        params = [status, *self.places]
        return tirx.PrimFunc(params, tirx.SeqStmt(body)).with_attrs(
            {"s_tir": True, "tirx.noalias": True, ON_HOST: True}
        )


def _store(status: tirx.Buffer, position: int, value: int | Expr) -> tirx.Stmt:
    return tirx.BufferStore(status, expression(value), [tirx.const(position, "int32")])


def _whole(value: Expr) -> Expr:
    """Counts of bytes, which are floats so that they do not overflow, as integers."""
    if "float" not in str(value.expr_ty()):
        return value
    return tirx.Cast("int64", tirx.Min(value, tirx.const(2.0**62, "float64")))


def _without_zero(value: Expr) -> Expr:
    """`value` that divides by 1 where it would by less: another check fails then, and this must be computed too."""

    def division(node: tirx.FloorDiv, mutator: StructuralMutator) -> Expr:
        a, b = mutator.mutate(node.a), mutator.mutate(node.b)
        return type(node)(a, b if isinstance(b, tirx.IntImm) else tirx.Max(b, tirx.const(1, "int64")))

    return tvm_ffi.structural_mutate(value, [(DIVISIONS, division)])
