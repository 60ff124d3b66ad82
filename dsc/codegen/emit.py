"""A graph as one Relax function: a call of a scheduled PrimFunc for each fusion or lone op."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.ir import Expr
from xdsl.ir import Operation, SSAValue

from dsc.codegen.checks import CheckList
from dsc.codegen.index_checks import index_check
from dsc.codegen.parameters import Parameters
from dsc.codegen.selection import Choice, Chooser, Failures, select
from dsc.ir import Fact, Graph, describe, dims_of, element_of, has, is_constant, onnx
from dsc.lower import shape_values
from dsc.lower.exprs import Scalar, simplify
from dsc.lower.floats import opaque_tensors
from dsc.lower.registry import operands_of, stored_dtype, tvm_dtype
from dsc.lower.requirements import Indexed, located, undecided
from dsc.lower.requirements.requirement import of_divisions
from dsc.lower.rounding import narrowed
from dsc.lower.sizes import Place, SizeRequirements
from dsc.lower.te import Interface, in_callers_terms, interface, literal
from dsc.lower.workload import Workload
from dsc.runtime.checks import SIZES
from dsc.runtime.manifest import Checks, TensorSpec
from dsc.runtime.sessions import MAIN
from dsc.targets.kernel import Implementation, Kernel
from dsc.targets.machine import Machine

STATUS = relax.TensorType((3,), "int64")


@dataclass(frozen=True)
class Code:
    """A kernel that is part of the module."""

    function: tvm.ir.GlobalVar
    implementation: Implementation


@dataclass(frozen=True)
class Call:
    """One run of a kernel within the model: what it computes is the workload."""

    code: Code
    workload: Workload


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
    """Walks a graph once and collects the bindings of its function."""

    def __init__(
        self,
        graph: Graph,
        machine: Machine,
        kernels: Sequence[Kernel],
        chooser: Chooser,
        progress: Callable[[int, int], None],
        required: SizeRequirements | None = None,
        failures: Failures | None = None,
    ) -> None:
        """`progress` is told how many ops are done, and of how many; `required` is checked besides what ops need;
        kernels with `failures` are not taken again."""
        self.graph, self.machine, self.kernels = graph, machine, kernels
        self.chooser, self.progress = chooser, progress
        self.required, self.failures = required or SizeRequirements(), failures or Failures()
        self.parameters = Parameters(graph)
        self.choices: list[Choice] = []
        self.calls: list[Call] = []
        self._checks = CheckList()
        self._status: relax.Var | None = None
        """That of the index checks so far."""
        self._bindings: list[relax.VarBinding] = []
        self._builder = relax.BlockBuilder()
        self._codes: dict[str, Code] = {}
        self._symbols: dict[str, tirx.Var] = {}
        self._tensors: dict[SSAValue, relax.Expr] = {}
        """Values that exist at run time."""
        self._dims: dict[SSAValue, list[Scalar]] = {}
        """Sizes, in terms of the symbolic dims of the inputs."""
        self._known: dict[SSAValue, np.ndarray] = {}
        """Values known at compile time: shapes and what is computed from them."""

    def emit(self) -> Emitted:
        """The module of the graph. Raises `UnsupportedModelError` where an op cannot be lowered."""
        named_inputs = list(zip(self.graph.inputs, self.graph.input_names, strict=True))
        variables = [self._input(position, value, name) for position, (value, name) in enumerate(named_inputs)]
        self._checks.adopt(self.required)
        ops = list(self.graph.ops())
        for done, op in enumerate(ops):
            self.progress(done, len(ops))
            try:
                self._op(op)
            except Exception as error:
                error.add_note(f"in code generation for {describe(op)}")
                raise
        results = [self._tensor(value) for value in self.graph.outputs]
        results += [self._status] * (self._status is not None)
        if not self._codes:
            # A module of VM instructions alone is not exported by TVM.
            self._builder.add_func(tirx.PrimFunc([], tirx.Evaluate(0)), "nothing")
        self._builder.add_func(self._function(variables, results), MAIN)
        if self._checks.sizes:
            self._builder.add_func(self._checks.size_function(), SIZES)
        return Emitted(
            self._builder.get(),
            self.parameters,
            self.choices,
            self.calls,
            tuple(_input_spec(value, name) for value, name in named_inputs),
            tuple(map(self._output_spec, self.graph.outputs, self.graph.output_names)),
            self._checks.table(),
        )

    # --- inputs and outputs

    def _input(self, position: int, value: SSAValue, name: str) -> relax.Var:
        dims = dims_of(value.type)
        assert dims is not None, "inputs have a rank; dsc.lower.unsupported lists those that do not"
        sizes = [self._symbol(d or f"{name}.{axis}") if isinstance(d, str) else d for axis, d in enumerate(dims)]
        for axis, size in enumerate(sizes):
            if isinstance(size, tirx.Var):
                self._checks.places.setdefault(size, (position, axis))
        variable = relax.Var(_identifier(name), relax.TensorType(sizes, stored_dtype(value.type)))
        self._tensors[value], self._dims[value] = variable, list(sizes)
        return variable

    def _symbol(self, name: str) -> tirx.Var:
        """The variable of a symbolic dim: one for each name."""
        return self._symbols.setdefault(name, tirx.Var(_identifier(name), "int64"))

    def _output_spec(self, value: SSAValue, name: str) -> TensorSpec:
        """The interface of an output: a computed dim has the name that the model gives it, if any."""
        names = {variable: name for name, variable in self._symbols.items()}
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

    def _function(self, inputs: Sequence[relax.Var], results: Sequence[relax.Expr]) -> relax.Function:
        parameters = [*inputs, *self.parameters.variables]
        output = relax.Var("outputs", relax.TupleType([result.ty for result in results]))
        bindings = [*self._bindings, relax.VarBinding(output, relax.Tuple(list(results)))]
        body = relax.SeqExpr([relax.BindingBlock(bindings)], output)
        attributes = tvm.ir.make_node("ir.DictAttrs", global_symbol=MAIN, num_input=len(inputs))
        return relax.Function(parameters, body, output.ty, is_pure=True, attrs=attributes)

    # --- ops

    def _op(self, op: Operation) -> None:
        if op.name == "dsc.weight":
            return
        if op.name != "dsc.fusion" and self._evaluate(op):
            return
        workload = Workload.of(op, self._dims, self._known)
        found = interface(workload)
        self._checks.require(found.requirements)
        for result, sizes in zip(op.results, found.shapes, strict=True):
            self._dims[result] = [simplify(d) for d in sizes]
        for indexed in found.indices:
            self._check_indices(workload, found, indexed)
        if has(op, Fact.VIEW) and not _is_empty(self._dims[op.results[0]]):  # Relax takes a 0 for "as it was"
            self._view(op.operands[0], op.results[0])
        else:
            self._call(workload, op.results)

    def _evaluate(self, op: Operation) -> bool:
        """Compute a shape value, if that is what `op` is."""
        operands = operands_of(op)
        known = [None if value is None else self._known.get(value) for value in operands]
        shapes = [None if value is None else self._sizes(value) for value in operands]
        values = shape_values.evaluate(op, known, shapes)
        if values is None:
            return op.name == "onnx.Constant"
        self._known[op.results[0]] = values
        self._checks.require([(located(op), left) for left in undecided(op, of_divisions(values.reshape(-1)))])
        return True

    def _check_indices(self, workload: Workload, found: Interface, indexed: Indexed) -> None:
        """Have indices checked before they are used; those of constants now."""
        source = dict(zip(found.inputs, workload.sources, strict=True)).get(indexed.tensor)
        constant = None if source is None else self.graph.constant(source)
        if constant is not None:
            for requirement in undecided(indexed.op, indexed.indices.of(constant)):
                mapped = requirement.mapped(lambda value: in_callers_terms(workload, value))
                self._checks.require([(located(indexed.op), left) for left in undecided(indexed.op, [mapped])])
            return
        places = [] if source is None else self._origins(source)
        check = index_check(workload, found, indexed, len(self._checks.indices), first=self._status is None)
        self._checks.add_indices(indexed, places)
        arguments = [self._tensor(workload.sources[position]) for position in check.inputs]
        arguments += [self._status] * (self._status is not None)
        scalars = [in_callers_terms(workload, variable) for variable in check.scalars]
        function = self._builder.add_func(check.func.without_attr("global_symbol"), f"indices_{len(self._bindings)}")
        call = relax.call_tir(function, relax.Tuple([*arguments, *_index_typed(scalars)]), [STATUS])
        self._status = relax.Var(f"v{len(self._bindings)}", STATUS)
        self._bindings.append(relax.VarBinding(self._status, call))

    def _origins(self, value: SSAValue) -> list[Place]:
        """The input that `value` is moved or cast from, if it is."""
        while isinstance(value.owner, Operation) and _passes_values_on(value.owner):
            value = value.owner.operands[0]
        return [(self.graph.inputs.index(value), 0)] if value in self.graph.inputs else []

    def _view(self, source: SSAValue, result: SSAValue) -> None:
        tensor, sizes = self._tensor(source), self._dims[result]
        if [str(d) for d in tensor.ty.shape] == [str(d) for d in sizes]:
            self._tensors[result] = tensor
        else:
            self._tensors[result] = self._bind(
                relax.op.reshape(tensor, relax.ShapeExpr(_index_typed(sizes))), [result]
            )[0]

    def _call(self, workload: Workload, results: Sequence[SSAValue]) -> None:
        code = self._codes.get(workload.key()) or self._generate(workload)
        self.calls.append(Call(code, workload))
        func = code.implementation.func
        arguments = []
        for index, source in enumerate(workload.sources):
            if index in workload.constant_inputs:
                buffer = func.params[index].ty
                packing = code.implementation.packings.get(index)
                shape = tuple(int(d) for d in buffer.shape)
                arguments.append(self.parameters.add(source, packing, shape, str(buffer.dtype)))
            else:
                arguments.append(self._tensor(source))
        scalars = [in_callers_terms(workload, variable) for variable in workload.scalars]
        self._bind_call(code.function, arguments, results, scalars)

    def _bind_call(
        self,
        function: tvm.ir.GlobalVar,
        arguments: Sequence[relax.Expr],
        results: Sequence[SSAValue],
        scalars: Sequence[Scalar],
    ) -> None:
        types = [relax.TensorType(_index_typed(self._dims[r]), stored_dtype(r.type)) for r in results]
        call = relax.call_tir(function, relax.Tuple([*arguments, *_index_typed(scalars)]), types)
        self._tensors.update(zip(results, self._bind(call, results), strict=True))

    def _bind(self, value: relax.Expr, results: Sequence[SSAValue]) -> list[relax.Expr]:
        """Bind `value` to a variable; a tuple is taken apart."""
        types = [relax.TensorType(_index_typed(self._dims[r]), stored_dtype(r.type)) for r in results]
        number = len(self._bindings)
        if len(types) == 1:
            variable = relax.Var(f"v{number}", types[0])
            self._bindings.append(relax.VarBinding(variable, value))
            return [variable]
        whole = relax.Var(f"v{number}", relax.TupleType(types))
        self._bindings.append(relax.VarBinding(whole, value))
        parts = [relax.Var(f"v{number}_{index}", type_) for index, type_ in enumerate(types)]
        for index, part in enumerate(parts):
            self._bindings.append(relax.VarBinding(part, relax.TupleGetItem(whole, index)))
        return list(parts)

    # --- values

    def _sizes(self, value: SSAValue) -> Sequence[Scalar]:
        """The dims of any value."""
        if value in self._known:
            return list(self._known[value].shape)
        return self._dims[value] if value in self._dims else list(dims_of(value.type) or ())

    def _tensor(self, value: SSAValue) -> relax.Expr:
        """`value` as something a kernel can read: constants become parameters, shapes are written out."""
        if value not in self._tensors:
            if is_constant(value):
                shape = tuple(int(d) for d in dims_of(value.type) or ())
                self._tensors[value] = self.parameters.add(value, None, shape, stored_dtype(value.type))
            else:
                self._tensors[value] = self._written_out(value)
        return self._tensors[value]

    def _written_out(self, value: SSAValue) -> relax.Expr:
        elements = self._known[value]
        if not any(isinstance(element, Expr) for element in elements.reshape(-1)):
            return self.parameters.add_array(elements.astype(element_of(value.type).dtype))
        self._dims[value] = list(elements.shape)
        symbols = list(self._symbols.values())
        result = narrowed(literal(elements, tvm_dtype(value.type)), value.type)
        func = te.create_prim_func([*symbols, *opaque_tensors([result])])
        function = self._add(func, "shape_value")
        self._bind_call(function, [], [value], symbols)
        return self._tensors[value]

    # --- kernels

    def _generate(self, workload: Workload) -> Code:
        """Choose a kernel for a workload not met before and add its code to the module."""
        selected = select(workload, self.kernels, self.machine, self.chooser, self.failures)
        chosen, implementation = selected.candidate, selected.implementation
        function = self._add(implementation.func, f"{chosen.kernel.name}_{workload.kind}")
        code = self._codes[workload.key()] = Code(function, implementation)
        failed = tuple(self.failures.of(workload.key()).items())
        self.choices.append(
            Choice(
                function.name_hint, workload.kind, workload.key(), chosen.kernel.name, str(chosen.point),
                chosen.estimate, tuple(selected.refusals), selected.candidates, failed,
            )
        )  # fmt: skip
        return code

    def _add(self, func: tirx.PrimFunc, name: str) -> tvm.ir.GlobalVar:
        """Add code to the module, unless the same code is there already."""
        unique = f"{_identifier(name.replace('onnx.', ''))}_{len(self._codes)}"
        return self._builder.add_func(func.without_attr("global_symbol"), unique)


def _passes_values_on(op: Operation) -> bool:
    """Whether the results have no values but those of the first operand."""
    return has(op, Fact.MOVES) or isinstance(op, onnx.Cast)


def _is_empty(sizes: Sequence[Scalar]) -> bool:
    return any(isinstance(d, int) and d == 0 for d in sizes)


def _element(value: SSAValue) -> str:
    """The element type that callers see."""
    return element_of(value.type).dtype.name


def _identifier(name: str) -> str:
    """`name` with what a symbol cannot hold replaced."""
    return re.sub(r"\W", "_", name)


def _index_typed(sizes: Sequence[Scalar]) -> list[Expr]:
    return [d if isinstance(d, Expr) else tirx.IntImm("int64", int(d)) for d in sizes]


def _input_spec(value: SSAValue, name: str) -> TensorSpec:
    dims = tuple(dim if isinstance(dim, int) else dim or None for dim in dims_of(value.type) or ())
    return TensorSpec(name, _element(value), dims)
