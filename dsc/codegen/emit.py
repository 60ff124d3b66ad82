"""A graph as one Relax function: a call of a scheduled PrimFunc for each fusion or lone op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.ir import Expr
from xdsl.ir import Operation, SSAValue

from dsc.codegen.bindings import Bindings, tensor_type
from dsc.codegen.checks import CheckList
from dsc.codegen.functions import Code, Functions
from dsc.codegen.index_checks import index_check
from dsc.codegen.parameters import Parameters
from dsc.codegen.selection import Choice, Chooser, Failures
from dsc.ir import Fact, Graph, describe, dims_of, element_of, has, is_constant, onnx
from dsc.lower.exprs import Scalar
from dsc.lower.registry import stored_dtype, tvm_dtype
from dsc.lower.requirements import Indexed, located, undecided
from dsc.lower.rounding import narrowed
from dsc.lower.sizes import SizeRequirements
from dsc.lower.te import Interface, in_callers_terms, literal
from dsc.lower.walk import Lowered, Place, Walk, identifier
from dsc.lower.workload import Workload
from dsc.runtime.checks import SIZES
from dsc.runtime.manifest import Checks, TensorSpec
from dsc.targets.family import AnyTarget
from dsc.targets.kernel import ArrayType

STATUS = relax.TensorType((3,), "int64")


@dataclass(frozen=True)
class Call:
    """One run of a kernel within the model: what it computes is the workload."""

    code: Code
    workload: Workload
    parts: tuple[int, ...]
    """How many arguments of the kernel each input of the workload is: a packed weight may be several arrays."""


@dataclass(frozen=True)
class Emitted:
    """The Relax module of a graph and what belongs to it."""

    module: tvm.IRModule
    parameters: Parameters
    choices: list[Choice]
    calls: list[Call]
    """In the order in which they run."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    checks: Checks


class Emitter:
    """Walks a graph once: views and calls become bindings, what they call becomes functions."""

    def __init__(
        self,
        graph: Graph,
        target: AnyTarget,
        chooser: Chooser,
        progress: Callable[[int, int], None],
        required: SizeRequirements | None = None,
        failures: Failures | None = None,
    ) -> None:
        """`progress` is told how many ops are done, and of how many; `required` is checked besides what ops need;
        kernels with `failures` are not taken again."""
        self.graph, self.progress = graph, progress
        self.parameters = Parameters(graph)
        self.calls: list[Call] = []
        self._walk = Walk(graph)
        self._functions = Functions(target, chooser, failures or Failures())
        self._bindings = Bindings()
        self._checks = CheckList(self._walk.places)
        self._checks.adopt(required or SizeRequirements())
        self._status: relax.Expr | None = None
        """That of the index checks so far."""
        self._tensors: dict[SSAValue, relax.Expr] = {}
        """Values that exist at run time."""

    def emit(self) -> Emitted:
        """The module of the graph. Raises `UnsupportedModelError` where an op cannot be lowered."""
        named_inputs = list(zip(self.graph.inputs, self.graph.input_names, strict=True))
        variables = [self._input(value, name) for value, name in named_inputs]
        ops = list(self.graph.ops())
        for done, op in enumerate(ops):
            self.progress(done, len(ops))
            try:
                self._op(op)
            except Exception as error:
                error.add_note(f"in code generation for {describe(op)}")
                raise
        results = [self._tensor(value) for value in self.graph.outputs] + self._statuses()
        self._functions.add_main(self._bindings.function(variables, self.parameters.variables, results))
        if self._checks.sizes:
            self._functions.add(self._checks.size_function(), SIZES)
        return Emitted(
            self._functions.module(),
            self.parameters,
            self._functions.choices,
            self.calls,
            tuple(_input_spec(value, name) for value, name in named_inputs),
            tuple(map(self._output_spec, self.graph.outputs, self.graph.output_names)),
            self._checks.table(),
        )

    # --- inputs and outputs

    def _input(self, value: SSAValue, name: str) -> relax.Var:
        variable = relax.Var(identifier(name), relax.TensorType(self._sizes(value), stored_dtype(value.type)))
        self._tensors[value] = variable
        return variable

    def _output_spec(self, value: SSAValue, name: str) -> TensorSpec:
        """The interface of an output: a computed dim has the name that the model gives it, if any."""
        names = {variable: name for name, variable in self._walk.symbols.items()}
        sizes = self._sizes(value)
        given = dims_of(value.type)
        if given is None:  # the rank is known only now
            given = ("",) * len(sizes)
        dims = [
            int(size)
            if not isinstance(size, Expr)
            else names.get(size) or (dim if isinstance(dim, str) else "") or None
            for size, dim in zip(sizes, given, strict=True)
        ]
        return TensorSpec(name, _element(value), tuple(dims))

    # --- ops

    def _op(self, op: Operation) -> None:
        step = self._walk.lower(op)
        self._checks.require(step.requirements)
        if not isinstance(step, Lowered):
            return
        for indexed in step.interface.indices:
            self._check_indices(step.workload, step.interface, indexed)
        if has(op, Fact.VIEW) and not _is_empty(self._sizes(op.results[0])):  # Relax takes a 0 for "as it was"
            self._tensors[op.results[0]] = self._bindings.reshape(
                self._tensor(op.operands[0]), *self._types(op.results)
            )
        else:
            self._call(step.workload, op.results)

    def _check_indices(self, workload: Workload, found: Interface, indexed: Indexed) -> None:
        """Have indices checked before they are used; those of constants now."""
        operand = dict(zip(found.inputs, workload.operands, strict=True)).get(indexed.tensor)
        source = None if operand is None else operand.source
        constant = None if source is None else self.graph.constant(source)
        if constant is not None:
            for requirement in undecided(indexed.op, indexed.indices.of(constant)):
                mapped = requirement.mapped(lambda value: in_callers_terms(workload, value))
                self._checks.require([(located(indexed.op), left) for left in undecided(indexed.op, [mapped])])
            return
        places = [] if source is None else self._origins(source)
        check = index_check(workload, found, indexed, len(self._checks.indices), first=self._status is None)
        self._checks.add_indices(indexed, places)
        tensors = [self._tensor(workload.operands[position].source) for position in check.inputs] + self._statuses()
        scalars = [in_callers_terms(workload, variable) for variable in check.scalars]
        name = f"indices_{self._bindings.count}"
        function = self._functions.add_plain(check.tensors, check.scalars, [check.status], name)
        (self._status,) = self._bindings.call(function, tensors, scalars, [STATUS])

    def _statuses(self) -> list[relax.Expr]:
        """That of the index checks, if there are any."""
        return [] if self._status is None else [self._status]

    def _origins(self, value: SSAValue) -> list[Place]:
        """The input that `value` is moved or cast from, if it is."""
        while isinstance(value.owner, Operation) and _passes_values_on(value.owner):
            value = value.owner.operands[0]
        return [(self.graph.inputs.index(value), 0)] if value in self.graph.inputs else []

    def _call(self, workload: Workload, results: Sequence[SSAValue]) -> None:
        code = self._functions.code(workload)
        given = [
            self.parameters.add(operand.source, code.implementation.packings.get(index), _array_type(operand.source))
            if operand.constant
            else [self._tensor(operand.source)]
            for index, operand in enumerate(workload.operands)
        ]
        self.calls.append(Call(code, workload, tuple(map(len, given))))
        arguments = [argument for arguments in given for argument in arguments]
        scalars = [in_callers_terms(workload, variable) for variable in workload.scalars]
        found = self._bindings.call(code.function, arguments, scalars, self._types(results))
        self._tensors.update(zip(results, found, strict=True))

    # --- values

    def _sizes(self, value: SSAValue) -> list[Scalar]:
        """The dims of a value, all of which have a rank by now (`dsc.lower.unsupported` lists those that have none)."""
        sizes = self._walk.sizes(value)
        assert sizes is not None
        return sizes

    def _types(self, values: Sequence[SSAValue]) -> list[relax.TensorType]:
        return [tensor_type(value, self._sizes(value)) for value in values]

    def _tensor(self, value: SSAValue) -> relax.Expr:
        """`value` as something a kernel can read: constants become parameters, shapes are written out."""
        if value not in self._tensors:
            if is_constant(value):
                (self._tensors[value],) = self.parameters.add(value, None, _array_type(value))
            else:
                self._tensors[value] = self._written_out(value)
        return self._tensors[value]

    def _written_out(self, value: SSAValue) -> relax.Expr:
        elements = self._walk.known[value]
        if not any(isinstance(element, Expr) for element in elements.reshape(-1)):
            return self.parameters.add_array(elements.astype(element_of(value.type).dtype))
        symbols = list(self._walk.places)
        result = narrowed(literal(elements, tvm_dtype(value.type)), value.type)
        function = self._functions.add_plain([], symbols, [result], f"shape_value_{self._bindings.count}")
        return self._bindings.call(function, [], symbols, self._types([value]))[0]


def _array_type(constant: SSAValue) -> ArrayType:
    return ArrayType(tuple(int(d) for d in dims_of(constant.type) or ()), stored_dtype(constant.type))


def _passes_values_on(op: Operation) -> bool:
    """Whether the results have no values but those of the first operand."""
    return has(op, Fact.MOVES) or isinstance(op, onnx.Cast)


def _is_empty(sizes: Sequence[Scalar]) -> bool:
    return any(isinstance(d, int) and d == 0 for d in sizes)


def _element(value: SSAValue) -> str:
    """The element type that callers see."""
    return element_of(value.type).dtype.name


def _input_spec(value: SSAValue, name: str) -> TensorSpec:
    dims = tuple(dim if isinstance(dim, int) else dim or None for dim in dims_of(value.type) or ())
    return TensorSpec(name, _element(value), dims)
