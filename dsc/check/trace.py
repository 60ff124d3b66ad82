"""A run of a compiled module, watched kernel by kernel.

Each kernel is judged on what it was really given: ONNX Runtime computes the same op on the same inputs. So an error is
not carried from one kernel to the next, and what lies between kernels shows as well: a value that is another one when
it is read than when it was made was overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.check.compare import OutputError
from dsc.check.judge import Arrays, Judge
from dsc.check.reference import Reference
from dsc.check.single import alone, values_of
from dsc.check.specification import by_specification
from dsc.check.tolerance import of_rounding
from dsc.codegen import Call
from dsc.elements import stored
from dsc.errors import ArtifactError, UnsupportedModelError
from dsc.exchange import export_model
from dsc.ir import Fact, Graph, element_of, has, is_constant
from dsc.runtime import Module
from dsc.runtime.devices import Staging


@dataclass(frozen=True)
class Overwritten:
    """A value that was changed between the kernel that made it and one that reads it.

    by: the call whose result took its place in memory, None where no call's buffers overlap it.
    """

    made_by: Call | None
    read_by: Call | None
    by: Call | None


@dataclass(frozen=True)
class WrongKernel:
    """A call whose inputs are right and whose result is not.

    packed: whether its weights are what the packing makes of the model's now. alone: whether the result is right when
    the kernel is called by itself, with buffers of its own.
    """

    call: Call
    error: OutputError
    packed: bool
    alone: bool


@dataclass
class _Made:
    """A value in memory: who made it, a copy, and where it lies."""

    call: Call | None
    copy: np.ndarray
    begin: int = 0


@dataclass
class Trace:
    """Watches one run. `found` is the first fault; errors: the local error of each call that was judged."""

    graph: Graph
    module: Module
    calls: Sequence[Call]
    inputs: Arrays
    progress: Callable[[int, int], None]
    found: Overwritten | WrongKernel | None = None
    errors: list[tuple[Call, OutputError]] = field(default_factory=list)
    deviations: list[tuple[Call, OutputError]] = field(default_factory=list)
    """Calls that compute what the specification says, and ONNX Runtime something else."""
    unjudged: list[Call] = field(default_factory=list)
    """Calls whose op ONNX Runtime does not compute by itself."""
    _made: dict[SSAValue, _Made] = field(default_factory=dict)
    _written: list[tuple[Call, int, int]] = field(default_factory=list)
    """The calls so far, and where in memory their results lie."""
    _known: dict[SSAValue, np.ndarray] = field(default_factory=dict)
    _given: list[list[np.ndarray]] = field(default_factory=list)
    """For each input of the call that runs now, its arrays: a packed weight may have several."""
    _next: int = 0

    def run(self) -> Arrays:
        """The outputs of the run. Raises ArtifactError where its kernels are not those of `calls`."""
        self._names = {call.code.function.name_hint for call in self.calls}
        self._known = values_of(self.graph, self._sizes(), self.inputs)
        for name, value in zip(self.graph.input_names, self.graph.inputs, strict=True):
            self._made[value] = _Made(None, np.array(self.inputs[name]))
        outputs = self.module.watch(self.inputs, self._watch)
        if self._next != len(self.calls):
            raise ArtifactError(f"it runs {self._next} kernels, the passes now make {len(self.calls)} of the model")
        self._check_outputs(outputs)
        return outputs

    def _sizes(self) -> list[SSAValue]:
        """Operands that no kernel is given, as they are shapes: integers known from the inputs' sizes."""
        operands = (v for call in self.calls for v in call.workload.op.operands if v not in _tensors(call))
        return [v for v in dict.fromkeys(operands) if not is_constant(v)]

    def _watch(self, name: str, before: bool, arguments: Sequence[object]) -> None:
        if name not in self._names or self.found is not None:
            self._next += not before and name in self._names
            return
        if self._next >= len(self.calls) or self.calls[self._next].code.function.name_hint != name:
            raise ArtifactError(f"it runs the kernel {name} where the passes now make another of the model")
        call = self.calls[self._next]
        if before:
            self.progress(self._next, len(self.calls))
            self._given = self._arrays(call, arguments)
            self._check_inputs(call)
        else:
            self._next += 1
            self._check_result(call, arguments)

    def _check_inputs(self, call: Call) -> None:
        for operand, given in zip(call.workload.operands, self._given, strict=True):
            made = self._made.get(_root(operand.source))
            if made is not None and self.found is None and not _same(given[0], made.copy):
                self.found = Overwritten(made.call, call, self._writer(made))

    def _check_result(self, call: Call, arguments: Sequence[object]) -> None:
        results = arguments[len(arguments) - len(call.workload.op.results) :]
        outputs = [self._array(*pair) for pair in zip(results, call.workload.op.results, strict=True)]
        for value, argument, copy in zip(call.workload.op.results, results, outputs, strict=True):
            begin = argument.data_ptr()  # type: ignore[attr-defined]
            self._made[value] = _Made(call, copy, begin)
            self._written.append((call, begin, begin + copy.nbytes))
        if self.found is None:
            self._judge(call, outputs, arguments)

    def _judge(self, call: Call, outputs: list[np.ndarray], arguments: Sequence[object]) -> None:
        op = call.workload.op
        arrays = dict(self._known)
        arrays.update((source, given[0]) for source, given in zip(_tensors(call), self._given, strict=True))
        single, inputs = alone(self.graph, op, arrays)
        try:
            expected = Reference(export_model(single)).run(inputs)
        except UnsupportedModelError:
            self.unjudged.append(call)
            return
        judge = Judge(lambda: single, of_rounding(call.workload.multiplied_as))
        found = {f"y{i}": array for i, array in enumerate(outputs)}
        errors = judge.errors(inputs, expected, found)
        worst = max(errors, key=lambda error: (not error.passed, error.relative))
        if not worst.passed and (specified := by_specification(single, inputs)) is not None:
            second = judge.errors(inputs, specified, found)
            if all(error.passed for error in second):
                self.deviations.append((call, worst))
                worst = max(second, key=lambda error: error.relative)
        self.errors.append((call, worst))
        if not worst.passed:
            again = {f"y{i}": array for i, array in enumerate(self._by_itself(call, arguments, outputs))}
            right = all(error.passed for error in judge.errors(inputs, expected, again))
            self.found = WrongKernel(call, worst, self._is_packed(call), right)

    def _by_itself(self, call: Call, arguments: Sequence[object], outputs: list[np.ndarray]) -> list[np.ndarray]:
        """The kernel called once more, with copies of what it was given."""
        device = self.module.device
        given = [device.put(stored(array), Staging()) for arrays in self._given for array in arrays]
        results = [device.put(stored(np.zeros_like(array)), Staging()) for array in outputs]
        sizes = arguments[len(given) : len(arguments) - len(outputs)]
        self.module.kernel(call.code.function.name_hint)(*given, *sizes, *results)
        return [device.get(result).view(array.dtype) for result, array in zip(results, outputs, strict=True)]

    def _is_packed(self, call: Call) -> bool:
        """Whether the constants that the artifact gave the kernel are those of the model, packed."""
        for index, operand in enumerate(call.workload.operands):
            if not operand.constant:
                continue
            weight = self.graph.constant(operand.source)
            packing = call.code.implementation.packings.get(index)
            assert weight is not None
            arrays = (weight,) if packing is None else packing.apply(weight)
            if not all(_same(*pair) for pair in zip(self._given[index], arrays, strict=True)):
                return False
        return True

    def _arrays(self, call: Call, arguments: Sequence[object]) -> list[list[np.ndarray]]:
        """Copies of the arguments that are inputs; packed weights as kernels know them."""
        left, packings = iter(arguments), call.code.implementation.packings
        return [
            [self._copy(next(left)) for _ in range(count)] if index in packings else [self._array(next(left), source)]
            for index, (source, count) in enumerate(zip(_tensors(call), call.parts, strict=True))
        ]

    def _array(self, argument: object, value: SSAValue) -> np.ndarray:
        """A copy of a kernel's argument, of the element type of the value that it is."""
        return self._copy(argument).view(element_of(value.type).dtype)

    def _copy(self, argument: object) -> np.ndarray:
        return np.array(self.module.device.get(argument))

    def _check_outputs(self, outputs: Arrays) -> None:
        for name, value in zip(self.graph.output_names, self.graph.outputs, strict=True):
            made = self._made.get(_root(value))
            if made is not None and self.found is None and not _same(outputs[name], made.copy):
                self.found = Overwritten(made.call, None, self._writer(made))

    def _writer(self, made: _Made) -> Call | None:
        """The first call after a value was made whose result lies where it did."""
        later = [call for call, _, _ in self._written].index(made.call) + 1 if made.call is not None else 0
        end = made.begin + made.copy.nbytes
        for call, begin, its_end in self._written[later:]:
            if call is not made.call and begin < end and made.begin < its_end:
                return call
        return None


def _tensors(call: Call) -> list[SSAValue]:
    return [operand.source for operand in call.workload.operands]


def _root(value: SSAValue) -> SSAValue:
    """The value whose data a view shows."""
    while isinstance(value.owner, Operation) and has(value.owner, Fact.VIEW):
        value = value.owner.operands[0]
    return value


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays hold the same bytes, whatever their shapes."""
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()
