"""`dsc verify`: the compiled module against ONNX Runtime, down to the first wrong op."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from dsc.cli import options
from dsc.cli.console import progress, write_json
from dsc.cli.feeds import read_inputs
from dsc.cli.images import Pixels
from dsc.cli.plugins import load_plugins
from dsc.cli.source import Source, check_writable, find_model, parse_shapes
from dsc.errors import VerificationError
from dsc.models import inputs as zoo_inputs

if TYPE_CHECKING:
    from dsc.ir import Graph
    from dsc.runtime import Module
    from dsc.runtime.manifest import TensorSpec

Sample = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Settings:
    """How the module was or is to be compiled: enough to do it again, tapped, when it is wrong."""

    target: str
    opt_level: int
    passes: str | None
    tuning_seconds: float = 60.0
    database: Path | None = None


def verify(
    model: options.ModelArgument,
    module: options.ModuleFile = None,
    opt_level: options.OptLevel = 2,
    target: options.Target = "x86",
    shape: options.ShapeOptions = None,
    pinned: options.Pinned = False,
    passes: options.Passes = None,
    plugin: options.Plugins = None,
    time: options.TuningTime = 60.0,
    db: options.DatabaseFile = None,
    input: options.InputOptions = None,
    samples: Annotated[int, typer.Option(min=1, help="How many random inputs, where no --input is given.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest error allowed, of max(1, largest absolute output).")
    ] = 1e-4,
    threads: options.Threads = None,
    json: options.JsonFile = None,
) -> None:
    """Compare a compiled model with ONNX Runtime; where they differ, name the first wrong op (exit 5)."""
    if json is not None:
        check_writable(json)
    shapes = parse_shapes(shape)
    source = find_model(model)
    load_plugins(plugin)
    from dsc import check
    from dsc.exchange import import_model

    graph = import_model(source.path, shapes={**source.pinned, **shapes} if pinned else shapes)
    compiled, how = _compiled(graph, module, _Settings(target, opt_level, passes, time, db), threads)
    if module is not None and (warning := check.check_origin(compiled.manifest, module, source.path)):
        print(f"dsc: warning: {warning}", file=sys.stderr)
    feeds = _samples(source, graph, compiled.inputs, input, range(seed, seed + samples))
    report = check.verify(source.path, compiled, feeds, tolerance, threads)
    print(report)
    culprit = None
    if not report.passed:
        culprit = _bisect(source, graph, how, feeds[0], tolerance)
    write_json(json, {"model": model, **report.to_json(), "culprit": culprit})
    if culprit is not None:
        raise VerificationError(f"{source.name} computes something else than ONNX Runtime\n{culprit}")


def _compiled(graph: Graph, file: Path | None, how: _Settings, threads: int | None) -> tuple[Module, _Settings]:
    from dsc.pipeline import compile_model
    from dsc.runtime import load

    if file is not None:
        loaded = load(file, threads)
        recorded = loaded.manifest.provenance
        how = _Settings(loaded.manifest.target, int(recorded.get("opt_level", 2)), recorded.get("passes"))
        return loaded, how
    with progress() as tell:
        compilation = compile_model(
            graph,
            target=how.target,
            opt_level=how.opt_level,
            passes=how.passes,
            tuning_seconds=how.tuning_seconds,
            database=how.database,
            progress=tell,
        )
        return compilation.model.load(threads), how


def _samples(
    source: Source, graph: Graph, specs: Sequence[TensorSpec], files: Sequence[str] | None, seeds: range
) -> list[Sample]:
    """The inputs given, else those of the recipe where the model's free dims allow them, else random ones."""
    from dsc.check import random_inputs

    if files:
        return [read_inputs(files, specs, (source.recipe and source.recipe.preprocessing) or Pixels())]
    if source.recipe is not None:
        usual = zoo_inputs(source.recipe.name)
        if all(_fits(usual[spec.name].shape, spec.shape) for spec in specs):
            return [zoo_inputs(source.recipe.name, seed) for seed in seeds]
    return [random_inputs(graph, seed) for seed in seeds]


def _fits(shape: tuple[int, ...], wanted: Sequence[int | str | None]) -> bool:
    return all(not isinstance(dim, int) or dim == size for size, dim in zip(shape, wanted, strict=True))


def _bisect(source: Source, graph: Graph, how: _Settings, inputs: Sample, tolerance: float) -> str:
    """What is to blame, in words."""
    from dsc import check
    from dsc.codegen import build
    from dsc.passes import Pipeline
    from dsc.pipeline import preset
    from dsc.targets import machine

    onto = machine(how.target)
    pipeline = Pipeline.parse(how.passes) if how.passes is not None else preset(how.opt_level, onto)
    expected = check.Reference(source.path, optimized=False).run(inputs)
    final = graph.clone()
    try:
        pipeline.run(final, [check.verify_each(expected, inputs, tolerance)])
    except VerificationError as error:
        return str(error)
    culprit = check.first_wrong_kernel(final, lambda tapped: build(tapped, onto).load(), inputs, tolerance)
    if culprit is not None:
        return str(culprit)
    return "every op is right by itself: the fault lies in how buffers or threads are shared between them"
