"""`dsc bench`: latency, alone or against other runtimes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from dsc.bench import Comparison, compare_speed, environment, geometric_mean
from dsc.cli import options
from dsc.cli.console import progress, write_json
from dsc.cli.outputs import claim
from dsc.cli.plugins import load_plugins
from dsc.cli.source import Source, find_model, parse_shapes, parse_threads
from dsc.errors import UsageError
from dsc.host import FAMILY
from dsc.models import SPEED_BAR
from dsc.models import inputs as zoo_inputs

if TYPE_CHECKING:
    from dsc.codegen import CompiledModel


@dataclass(frozen=True)
class _Subject:
    """What is timed: a module in a file or in memory, the ONNX file of its peers, and the inputs of all."""

    name: str
    module: Path | CompiledModel
    model: Path | None
    inputs: Mapping[str, np.ndarray]


def bench(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="An ONNX or .dsc file, or zoo:NAME; none with --zoo."),
    ] = None,
    module: options.ModuleFile = None,
    zoo: Annotated[bool, typer.Option("--zoo", help="The models of the speed bar, one after the other.")] = False,
    against: Annotated[
        list[str] | None, typer.Option(metavar="PEER", help="onnxruntime or openvino. Repeatable.")
    ] = None,
    threads: Annotated[str, typer.Option(help="Numbers of threads, as 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="How often the contenders take turns.")] = 10,
    opt_level: options.OptLevel = 2,
    target: options.Target = FAMILY,
    shape: options.ShapeOptions = None,
    passes: options.Passes = None,
    precision: options.Precision = "fp32",
    activations: options.Activations = "fp32",
    attention_window: options.AttentionWindow = None,
    attention_keep: options.AttentionKeep = None,
    plugin: options.Plugins = None,
    time: options.TuningTime = 60.0,
    db: options.DatabaseFile = None,
    json: options.JsonFile = None,
) -> None:
    """Time a model, interleaved with other runtimes in one process: medians on fixed shapes."""
    if zoo == (model is not None):
        raise UsageError("say what to time: a model, or --zoo")
    if module is not None and zoo:
        raise UsageError("--module is one compiled model, --zoo compiles each: choose one")
    counts, shapes, peers = parse_threads(threads), parse_shapes(shape), tuple(against or ())
    claim({"--json": json}, [model, module, *(plugin or ())], database=db)
    options.check_tuning(context, opt_level, db)
    if module is not None:
        compiling = (
            "opt_level", "target", "passes", "precision", "activations", "attention_window", "attention_keep",
            "plugin", "time", "db",
        )  # fmt: skip
        options.refuse(context, f"says how to compile, {module} is compiled already", *compiling)
    load_plugins(plugin)
    from dsc.request import check_runs_here

    if module is None:
        check_runs_here(target, "dsc bench")
    compiler = _Compiler(
        target, opt_level, shapes, passes, precision, activations, attention_window, attention_keep, time, db
    )
    wanted = [f"zoo:{name}" for name in SPEED_BAR] if zoo else [model or ""]
    before, found = environment(), []
    for text in wanted:
        subject = compiler.subject(text, module)
        for comparison in _compare(subject, counts, peers, rounds):
            found.append(comparison)
            print_comparison(comparison, is_first=len(found) == 1)
    means = {peer: {n: geometric_mean((c for c in found if c.threads == n), peer) for n in counts} for peer in peers}
    for peer, by_threads in means.items() if zoo else ():
        for count, mean in by_threads.items():
            print(f"geometric mean, {count} thread(s): {mean:.3f} times as fast as {peer}")
    rows = [comparison.to_json() for comparison in found]
    write_json(json, {"environment": before, "opt_level": opt_level, "results": rows, "geometric_mean": means})


@dataclass(frozen=True)
class _Compiler:
    """How models that are not compiled yet are."""

    target: str
    opt_level: int
    shapes: dict[str, list[int | str]]
    passes: str | None
    precision: str
    activations: str
    attention_window: int | None
    attention_keep: float | None
    tuning_seconds: float
    database: Path | None

    def subject(self, text: str, module: Path | None) -> _Subject:
        if text.endswith(".dsc"):
            return self._compiled(Path(text), None)
        source = find_model(text)
        if module is not None:
            return self._compiled(module, source)
        shapes = {**source.pinned, **self.shapes}
        from dsc.check import random_inputs
        from dsc.exchange import import_model
        from dsc.pipeline import compile_model

        graph = import_model(source.path, shapes=shapes)
        inputs = random_inputs(graph)
        if source.recipe is not None and not self.shapes:
            inputs = zoo_inputs(source.recipe.name)
        with progress() as tell:
            compilation = compile_model(
                graph,
                target=self.target,
                opt_level=self.opt_level,
                passes=self.passes,
                precision=self.precision,
                activations=self.activations,
                attention_window=self.attention_window,
                attention_keep=self.attention_keep,
                tuning_seconds=self.tuning_seconds,
                database=self.database,
                progress=tell,
            )
        return _Subject(source.name, compilation.model, source.path, inputs)

    def _compiled(self, file: Path, source: Source | None) -> _Subject:
        """A module compiled before; its inputs are the recipe's, or random ones of its fixed shapes."""
        from dsc.check import random_inputs
        from dsc.exchange import import_model

        if source is None:
            raise UsageError(f"give the ONNX file that {file} was made from too: dsc bench MODEL --module {file}")
        if source.recipe is not None and not self.shapes:
            inputs = zoo_inputs(source.recipe.name)
        else:
            inputs = random_inputs(import_model(source.path, shapes=self.shapes))
        return _Subject(source.name, file, source.path, inputs)


def _compare(subject: _Subject, counts: Sequence[int], peers: Sequence[str], rounds: int) -> Iterator[Comparison]:
    from dsc.runtime import load

    for count in counts:
        module = load(subject.module, count) if isinstance(subject.module, Path) else subject.module.load(count)
        with progress() as tell:
            yield compare_speed(
                subject.name,
                module,
                subject.model,
                subject.inputs,
                peers,
                rounds,
                lambda done: tell(f"timing {subject.name}", done, rounds),
            )


def print_comparison(comparison: Comparison, is_first: bool) -> None:
    """One line: medians in milliseconds and how many times dsc is as fast; the head before the first."""
    peers = [name for name in comparison.timings if name != "dsc"]
    if is_first:
        heads = "".join(f"{name + ' ms':>20}" for name in comparison.timings)
        ratios = "".join(f"{'vs ' + peer:>16}" for peer in peers)
        print(f"{'model':24}{'threads':>8}{heads}{ratios}")
    times = "".join(f"{timing.median * 1e3:20.2f}" for timing in comparison.timings.values())
    ratios = "".join(f"{comparison.speedup(peer):15.2f}x" for peer in peers)
    print(f"{comparison.model:24}{comparison.threads:8}{times}{ratios}", flush=True)
