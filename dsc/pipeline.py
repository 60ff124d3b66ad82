"""The whole compiler on one screen: import, optimize, build."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dsc.check.approximation import Approximating, Samples, approximates
from dsc.codegen import CompiledModel, build, dump_kernels
from dsc.exchange import ModelSource, fingerprint, has_definition, import_model
from dsc.exchange.shapes import Shapes, checked_shapes
from dsc.ir import Graph, onnx
from dsc.lower import is_known_to_lack
from dsc.lower.registry import RULES
from dsc.lower.sizes import size_requirements
from dsc.passes import Observer, PassRecord, Pipeline
from dsc.precision import PRECISIONS
from dsc.request import (
    check_activations,
    check_approximated,
    check_attention_keep,
    check_attention_window,
    check_multiplies,
    check_multiplies_bytes,
    check_opt_level,
    check_precision,
    check_regions,
    check_request,
    check_rounded,
    check_samples,
    sparsifying,
)
from dsc.targets import DEFAULT_TARGET, AnyTarget, Target
from dsc.targets import target as named_target
from dsc.tune import Database, Tuner

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told a phase ("import", "optimize", "select", "compile", "compress"), the steps done and how many there are."""


@dataclass(frozen=True)
class Compilation:
    """A compiled model and how it came about."""

    graph: Graph
    """As the last pass left it."""
    passes: tuple[PassRecord, ...]
    model: CompiledModel
    seconds: dict[str, float]
    """Time of each phase."""


def preset(
    opt_level: int,
    target: AnyTarget,
    precision: str = "fp32",
    activations: str = "fp32",
    attention_window: int | None = None,
    attention_keep: float | None = None,
) -> Pipeline:
    """The passes of an optimization level for a target.

    0: only what makes ops compilable: definitions of operators, and constants. 1: canonicalize, and compute in single
    precision what the target does not in half precision. 2: fuse and lay out as well, keep the integers of
    quantized models where kernels multiply bytes (unsigned ones where the machine takes no others), and weights of few
    bits where kernels make floats of them; kernels by estimate. 3: the same passes; kernels by measurement.
    precision: fp32, tf32, bf16 or fp16: the pass of that name comes last, so that regions are the same in all.
    activations: fp32, int16 or int8: what they are rounded to, row by row, where weights of few bits multiply them.
    attention_window: how many positions from a query keys may lie, which approximates; all of them where it is None.
    attention_keep: the share of the keys that queries see, which approximates; all of them where it is None.
    Raises UsageError for other levels, precisions and activations, and for those that the target cannot multiply in.
    """
    check_opt_level(opt_level)
    check_precision(precision)
    check_multiplies(target, precision)
    check_activations(activations)
    check_multiplies_bytes(target, activations, opt_level)
    check_attention_window(attention_window)
    check_attention_keep(attention_keep)
    check_regions(attention_window, attention_keep, opt_level)
    compilable = f"expand-functions{{ops={','.join(without_lowering())}}}"
    before, after = ("integers", "requantize") if target.multiplies_bytes() else ("", "")
    unsigned = "unsigned" if before and target.machine.multiplies_unsigned else ""
    widen = "" if target.machine.half_arithmetic else "widen"
    plain, keeping = ("canonicalize", ""), ("canonicalize{keep-weights=true}", "weight-only")
    canonical, weights = keeping if target.unpacks_weights() else plain
    fuse = "fuse{quantized-attention=true}" if target.multiplies_bytes() else "fuse"
    rows = "" if activations == "fp32" else f"quantize-rows{{type={activations}}}"
    sparsify = sparsifying(attention_window, attention_keep)
    best = [before, canonical, widen, weights, after, unsigned, fuse, sparsify, target.passes(), rows]
    levels = (["fold"], ["canonicalize", widen], best)
    rounding = _rounding(target, PRECISIONS[precision], opt_level)
    return Pipeline.parse(",".join(filter(None, (compilable, *levels[min(opt_level, 2)], rounding))))


def _rounding(target: AnyTarget, element: str | None, opt_level: int) -> str:
    """The pass that makes a model one of a precision.

    Machines that compute in single precision alone multiply by it at most: then tensors stay single in memory but for
    images, of which convolutions read each element many times as it is. Where they do not even that, half precision is
    for weights alone: kernels would convert all other tensors each time. It takes regions, to widen weights in; without
    them all tensors are stored in half precision.
    """
    if element is None:
        return ""
    options = ""
    if not target.machine.half_arithmetic:
        multiplied = any(row.a == element for row in target.machine.instructions)
        options = " activations=packed" if multiplied else " activations=none" if opt_level >= 2 else ""
    return f"precision{{type={element}{options}}}"


def without_lowering() -> list[str]:
    """Operators that `dsc.lower` leaves to their definition by other operators."""
    lacking = (n for n in onnx.OPS if f"onnx.{n}" not in RULES and not is_known_to_lack(n))
    return sorted(n for n in lacking if has_definition(onnx.OPS[n]))


def optimize(
    graph: Graph, pipeline: Pipeline, observers: Sequence[Observer] = (), progress: Progress | None = None
) -> list[PassRecord]:
    """Run the passes on the graph, in place; the IR is verified after each."""
    tell = progress or _silent
    count = len(pipeline.passes)
    tell("optimize", 0, count)

    def report(index: int, *_: object) -> None:
        tell("optimize", index + 1, count)

    return pipeline.run(graph, [report, *observers])


def compile_model(
    source: ModelSource | Graph,
    *,
    target: str | AnyTarget = DEFAULT_TARGET,
    opt_level: int = 2,
    shapes: Shapes | None = None,
    passes: str | Pipeline | None = None,
    precision: str = "fp32",
    activations: str = "fp32",
    attention_window: int | None = None,
    attention_keep: float | None = None,
    samples: Samples | None = None,
    tuning_seconds: float = 60.0,
    database: Path | None = None,
    observers: Sequence[Observer] = (),
    dump: Path | None = None,
    compress: bool = False,
    progress: Progress | None = None,
) -> Compilation:
    """Compile an ONNX model (or a graph that was imported before) for a target.

    shapes: pins or names dims of inputs, e.g. {"input": [1, 3, 224, 224]}.
    passes: instead of the preset of `opt_level`.
    precision: fp32, tf32, bf16 or fp16, as `preset` has it: what tensors are stored and multiplied in.
    activations: fp32, int16 or int8, likewise: what is multiplied by weights of few bits.
    attention_window, attention_keep: approximate attention, as `preset` has it; its error is in the manifest.
    samples: on what that is measured, where a pass approximates; on random inputs where none are given.
    tuning_seconds, database: what -O3 may spend on measuring, and the file in which it remembers.
    dump: a folder for the code of each kernel, from its schedule to its assembly.
    compress: have weights in fewer bytes in the artifact, without loss; loading it expands them.
    Raises DscError subclasses: UsageError for a bad request, UnsupportedModelError for a model that cannot be compiled.
    """
    check_request(
        source,
        target,
        opt_level,
        shapes,
        passes,
        tuning_seconds,
        database,
        precision,
        activations,
        attention_window,
        attention_keep,
    )
    shapes = checked_shapes(shapes or {})
    tell, clock = progress or _silent, _Clock()
    onto = target if isinstance(target, Target) else named_target(target)
    given = Pipeline.parse(passes) if isinstance(passes, str) else passes
    pipeline = given or preset(opt_level, onto, precision, activations, attention_window, attention_keep)
    check_samples(samples is not None, approximates(pipeline))
    chooser = Tuner(onto, tuning_seconds, Database(database)) if opt_level == 3 else None

    tell("import", 0, 1)
    graph = source.clone() if isinstance(source, Graph) else import_model(source, shapes=shapes)
    graph.verify()
    tell("import", 1, 1)
    clock.lap("import")

    required = size_requirements(graph)
    watch = Approximating(graph) if approximates(pipeline) else None
    records = optimize(graph, pipeline, [*([] if watch is None else [watch]), *observers], progress)
    check_rounded(graph, activations)
    check_approximated(graph, attention_window, attention_keep, records)
    clock.lap("optimize")
    approximation = None
    if watch is not None:
        tell("measure errors", 0, 1)
        approximation = watch.measure(samples).to_json()
        clock.lap("measure errors")

    provenance = {
        "passes": str(pipeline),
        "opt_level": opt_level,
        "precision": precision,
        "activations": activations,
        "model": graph.metadata,
        "shapes": shapes,
        "sha256": None if isinstance(source, Graph) else fingerprint(source),
    }
    observe = None if dump is None else dump_kernels(dump, onto.backend())
    model = build(graph, onto, chooser, progress, provenance, required, observe, approximation)
    clock.lap("build")
    if compress:
        model = model.compressed(lambda done, total: tell("compress", done, total))
        clock.lap("compress")
    return Compilation(graph, tuple(records), model, clock.laps)


class _Clock:
    """Seconds since the last lap, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""
