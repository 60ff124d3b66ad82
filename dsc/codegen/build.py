"""The code generator on one screen: select and emit, compile, link."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
import tvm
from xdsl.dialects.builtin import TensorType, UnrankedTensorType

from dsc.codegen.capture import obstacle, obstacle_in
from dsc.codegen.compiled import CompiledModel
from dsc.codegen.dump import KernelObserver
from dsc.codegen.emit import Emitted, Emitter
from dsc.codegen.figures import described
from dsc.codegen.layers import Layer, sparse_layers
from dsc.codegen.objects import KernelCode, KernelError, write_objects
from dsc.codegen.selection import Choice, Chooser, Failures
from dsc.codegen.spills import Spills
from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError
from dsc.files import scratch_folder
from dsc.ir import Graph, dims_of, element_of
from dsc.lower import unsupported
from dsc.lower.sizes import SizeRequirements
from dsc.runtime.manifest import Manifest, TensorSpec
from dsc.runtime.sessions import MAIN
from dsc.runtime.weights import total_size
from dsc.targets.backend import Backend
from dsc.targets.family import AnyTarget

_MAX_ELEMENTS = 2**31 - 1
"""Of a tensor, as far as sizes are known at compile time."""
Progress: TypeAlias = Callable[[str, int, int], None]
"""Told a stage ("select", "compile"), the steps done and how many there are."""


def build(
    graph: Graph,
    target: AnyTarget,
    chooser: Chooser | None = None,
    progress: Progress | None = None,
    provenance: Mapping[str, Any] | None = None,
    required: SizeRequirements | None = None,
    observe: KernelObserver | None = None,
    approximation: Mapping[str, Any] | None = None,
) -> CompiledModel:
    """Compile a graph for a target.

    chooser: decides between candidate kernels; by estimate if not given.
    provenance: recorded in the artifact.
    required: of the model's sizes before it was rewritten.
    observe: told of the code of each kernel.
    approximation: what was approximated, recorded as well.
    Raises `UnsupportedModelError` listing every op that cannot be compiled, `UsageError` without the
    tools of the target.
    """
    _check_inputs(graph)
    _check_sizes(graph)
    if problems := unsupported(graph):
        raise UnsupportedModelError("\n".join([f"{len(problems)} ops cannot be compiled:", *map(str, problems)]))
    backend = target.backend()
    backend.require_tools()
    uncaptured = obstacle(graph, target.machine)
    if not uncaptured:
        target = replace(target, machine=target.machine.in_graphs())
    tell = progress or (lambda stage, done, total: None)
    failures, spills, kernels = Failures(), Spills(), KernelCode()
    while True:  # once more for kernels of which no code can be made, or none without spills
        emitter = Emitter(
            graph,
            target,
            chooser or spills.fastest,
            lambda done, total: tell("select", done, total),
            required,
            failures,
        )
        emitted = emitter.emit()
        _check_memory(emitted, target)
        try:
            library = compile_module(
                emitted.module, backend, lambda done, total: tell("compile", done, total), observe, kernels
            )
        except KernelError as error:
            _note(error, emitted, failures)
            continue
        choices = described(emitted, target, kernels)
        if chooser is not None or not spills.note(choices):
            break
    spills.warn(choices, target.name)
    choices = [replace(choice, spilled=spills.of(choice)) for choice in choices]
    layers = sparse_layers(graph, emitted)
    manifest = _manifest(graph.name, target, backend, emitted, choices, layers, provenance or {})
    manifest = replace(
        manifest, uncaptured=uncaptured or obstacle_in(emitted.module[MAIN]), approximation=approximation
    )
    return CompiledModel(manifest, library, tuple(emitted.parameters.weights), tuple(choices))


def _note(error: KernelError, emitted: Emitted, failures: Failures) -> None:
    """Note that a chosen kernel failed; raises the error where it was none that could be chosen differently."""
    choice = next((c for c in emitted.choices if c.function == error.function), None)
    if choice is None:
        raise error.cause
    failures.add(choice.workload, choice.kernel, error.cause)


def _check_inputs(graph: Graph) -> None:
    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        if not isinstance(value.type, TensorType | UnrankedTensorType):
            raise UnsupportedModelError(f"input {name!r} is no tensor ({value.type}): it cannot be compiled")
        if element_of(value.type).stored is None:
            held = ", ".join(e.dtype.name for e in ELEMENT_TYPES if e.stored is not None)
            given = element_of(value.type).dtype
            raise UnsupportedModelError(f"input {name!r} has elements of type {given}; there are kernels for {held}")
        if dims_of(value.type) is None:
            wanted = f"give its shape (--shape {name}:1x3x224x224)"
            raise UnsupportedModelError(f"input {name!r} may have any number of dims: {wanted}")


def _check_sizes(graph: Graph) -> None:
    """Where all sizes are known, kernels count in 32 bits; with a free dim they count in 64."""
    for value in (*graph.inputs, *(result for op in graph.ops() for result in op.results)):
        sizes = [size for size in dims_of(value.type) or () if isinstance(size, int)]
        if math.prod(sizes) > _MAX_ELEMENTS:
            name = f" {value.name_hint!r}" if value.name_hint else ""
            raise UnsupportedModelError(f"value{name} of shape {list(dims_of(value.type) or ())} has too many elements")


def _check_memory(emitted: Emitted, target: AnyTarget) -> None:
    """Whether weights, inputs and outputs fit, as far as sizes are known; what is in between comes on top."""
    there = target.machine.memory_bytes
    weights = total_size(emitted.parameters.weights)
    ends = sum(_least_bytes(spec) for spec in (*emitted.inputs, *emitted.outputs))
    if there is not None and weights + ends > there:
        raise UnsupportedModelError(
            f"the model needs {(weights + ends) / 1e9:.1f} GB at least ({weights / 1e9:.1f} GB of weights), and "
            f"{target.name} has {there / 1e9:.1f} GB; compile for a larger device, or a smaller model or batch"
        )


def _least_bytes(spec: TensorSpec) -> int:
    """Of an input or output, each dim that is not known taken to be 1."""
    return np.dtype(spec.dtype).itemsize * math.prod(d for d in spec.shape if isinstance(d, int))


def compile_module(
    module: tvm.IRModule,
    backend: Backend,
    progress: Callable[[int, int], None] | None = None,
    observe: KernelObserver | None = None,
    kernels: KernelCode | None = None,
) -> bytes:
    """The shared library of a Relax module whose PrimFuncs are scheduled.

    kernels: has the code that was made before, and gets the rest.
    """
    with scratch_folder() as folder:
        output = folder / "lib.so"
        backend.link(
            write_objects(module, backend, folder, KernelCode() if kernels is None else kernels, progress, observe),
            output,
        )
        return output.read_bytes()


def _manifest(
    name: str,
    target: AnyTarget,
    backend: Backend,
    emitted: Emitted,
    choices: Sequence[Choice],
    layers: Sequence[Layer],
    provenance: Mapping[str, Any],
) -> Manifest:
    return Manifest(
        name=name,
        target=target.name,
        needs=backend.needs,
        inputs=emitted.inputs,
        outputs=emitted.outputs,
        parameters=tuple(weight.name for weight in emitted.parameters.weights),
        versions={package: version(package) for package in ("dsc", "apache-tvm", "apache-tvm-ffi")},
        provenance=dict(provenance),
        checks=emitted.checks,
        kernels=tuple(asdict(choice) for choice in choices),
        layers=tuple(asdict(layer) for layer in layers),
    )
