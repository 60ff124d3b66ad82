"""`dsc verify`: the compiled module against ONNX Runtime, down to what is to blame."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.against import compare_with_float
from dsc.cli.console import Tell, progress, write_json
from dsc.cli.feeds import files_named
from dsc.cli.outputs import claim
from dsc.cli.plugins import load_plugins
from dsc.cli.report import precision_of
from dsc.cli.samples import Wanted, find_inputs
from dsc.cli.simulated import print_counted, print_counters
from dsc.cli.source import Source, find_model, parse_ranges
from dsc.errors import UsageError, VerificationError
from dsc.host import FAMILY

if TYPE_CHECKING:
    from dsc.check.counted import CountedCall
    from dsc.codegen import Choice
    from dsc.pipeline import Compilation
    from dsc.runtime import Module
    from dsc.simulator import Counters, Simulation
    from dsc.targets import AnyTarget

_OF_COMPILING = (
    "module", "opt_level", "target", "passes", "precision", "activations", "attention_window", "attention_keep",
    "plugin", "time", "db",
    "atol", "rtol", "simulate", "order",
)  # fmt: skip


def verify(
    context: typer.Context,
    model: options.ModelArgument,
    module: options.ModuleFile = None,
    opt_level: options.OptLevel = 2,
    target: options.Target = FAMILY,
    shape: options.ShapeOptions = None,
    pinned: options.Pinned = False,
    passes: options.Passes = None,
    precision: options.Precision = "fp32",
    activations: options.Activations = "fp32",
    attention_window: options.AttentionWindow = None,
    attention_keep: options.AttentionKeep = None,
    plugin: options.Plugins = None,
    time: options.TuningTime = 60.0,
    db: options.DatabaseFile = None,
    input: options.InputOptions = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.npz", help="A sample, or several stacked: arrays by input name. Repeatable."),
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="NAME:LOW:HIGH", help="Of a random input, HIGH not reached. Repeatable."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many random inputs, where none are given.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the first random input; the others follow.")] = 0,
    atol: Annotated[float | None, typer.Option(min=0, help="Largest absolute error allowed.")] = None,
    rtol: Annotated[float | None, typer.Option(min=0, help="Largest error allowed relative to each element.")] = None,
    threads: options.Threads = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Run the code for a GPU on this CPU, and watch what it does.")
    ] = False,
    order: Annotated[
        str, typer.Option(metavar="ORDER", help="Of simulated threads: forward, reverse, or a seed of random ones.")
    ] = "forward",
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The float model of a quantized one: compare them layer by layer instead."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw what --against finds: svg or png.")
    ] = None,
    json: options.JsonFile = None,
) -> None:
    """Compare a compiled model with ONNX Runtime; where they differ, say what is to blame (exit 5).

    Integers must be equal. Floats must be as near as their type allows, or as near as rounding lets ONNX Runtime come
    to itself, unless --atol or --rtol say how near. With --against, nothing is compiled: the errors of a quantized
    model's layers are shown, worst first.
    """
    wanted = Wanted(input or (), data or (), parse_ranges(range_), range(seed, seed + samples))
    if against is not None:
        options.refuse(context, "is of a compiled model, and --against compiles none", *_OF_COMPILING)
        compare_with_float(model, against, wanted, shape, pinned, threads, json, picture)
        return
    options.refuse(context, "is of what --against MODEL finds", "picture")
    source = find_model(model)
    shapes = source.shapes(shape, pinned)
    claim({"--json": json}, [source.path, module, *(plugin or ()), *(data or ()), *files_named(input)], database=db)
    options.check_tuning(context, opt_level, db)
    if module is not None:
        said = f"says how to compile, {module} is compiled already"
        options.refuse(context, said, "precision", "activations", "attention_window", "attention_keep")
    _check_simulation(context, simulate, module, opt_level)
    load_plugins(plugin)
    from dsc import check
    from dsc.exchange import import_model
    from dsc.request import check_runs_here

    if module is None and not simulate:
        check_runs_here(target, "dsc verify")
    with _target(target, simulate, order) as (onto, simulation), progress() as tell:
        model_choices: tuple[Choice, ...] = ()
        if module is None:
            compilation = _compiled(
                source,
                shapes,
                onto,
                opt_level,
                passes,
                precision,
                activations,
                attention_window,
                attention_keep,
                time,
                db,
                tell,
            )
            model_choices = compilation.model.choices
            compiled = compilation.model.load(threads)
        else:
            compiled, shapes = _loaded(module, source, shapes, threads)
        graph = import_model(source.path, shapes=shapes)
        feeds, origin = find_inputs(source, graph, compiled.inputs, wanted, check.Reference(source.path, threads))
        verdict = check.examine(source.path, graph, compiled, feeds, check.Tolerance(atol, rtol), threads, tell)
        counted = {} if simulation is None else simulation.counters()
    print(verdict)
    print(f"  inputs: {origin}")
    print(f"  precision: {precision_of(compiled.manifest)}")
    calls = _estimated(onto, model_choices, counted, captured=not compiled.manifest.uncaptured)
    if simulate:
        print_counters(counted)
        print_counted(calls)
    simulated = {kernel: asdict(counters) for kernel, counters in counted.items()}
    report = {"simulated": simulated, "estimated": [{**asdict(call), "seconds": call.seconds} for call in calls]}
    write_json(json, {"model": model, "inputs": origin, **verdict.to_json(), **report})
    if not verdict.passed:
        raise VerificationError(f"{source.name} computes something else than ONNX Runtime\n{verdict.culprit}")


def _estimated(
    onto: str | AnyTarget, choices: Sequence[Choice], counted: Mapping[str, Counters], *, captured: bool
) -> list[CountedCall]:
    """What a GPU is expected to take by what was counted, if anything was. `captured`: runs are graphs."""
    from dsc.check.counted import counted_calls
    from dsc.targets.gpu.machine import Gpu

    machine = None if isinstance(onto, str) else onto.machine
    if not isinstance(machine, Gpu):
        return []
    return counted_calls(machine.in_graphs() if captured else machine, choices, counted)


def _check_simulation(context: typer.Context, simulate: bool, module: Path | None, opt_level: int) -> None:
    """Raise UsageError for options that do not go together."""
    if not simulate:
        options.refuse(context, "is for --simulate", "order")
    elif module is not None:
        raise UsageError("--simulate compiles for the simulator: not with --module, whose code is for the device")
    elif opt_level == 3:
        raise UsageError("-O3 measures, and a simulation takes no time that could be measured: choose -O2")


@contextmanager
def _target(name: str, simulate: bool, order: str) -> Iterator[tuple[str | AnyTarget, Simulation | None]]:
    """What is compiled for, and the simulated device that runs it, if any."""
    if not simulate:
        yield name, None
        return
    from dsc.check.simulated import simulated
    from dsc.targets import target

    with simulated(target(name), order) as found:
        yield found


def _compiled(
    source: Source,
    shapes: dict[str, list[int | str]],
    target: str | AnyTarget,
    opt_level: int,
    passes: str | None,
    precision: str,
    activations: str,
    attention_window: int | None,
    attention_keep: float | None,
    tuning_seconds: float,
    database: Path | None,
    tell: Tell,
) -> Compilation:
    from dsc.pipeline import compile_model

    return compile_model(
        source.path,
        target=target,
        opt_level=opt_level,
        shapes=shapes,
        passes=passes,
        precision=precision,
        activations=activations,
        attention_window=attention_window,
        attention_keep=attention_keep,
        tuning_seconds=tuning_seconds,
        database=database,
        progress=tell,
    )


def _loaded(
    file: Path, source: Source, shapes: dict[str, list[int | str]], threads: int | None
) -> tuple[Module, dict[str, list[int | str]]]:
    """The artifact, and the shapes that it was compiled for."""
    from dsc.check import check_origin
    from dsc.runtime import load

    loaded = load(file, threads)
    if warning := check_origin(loaded.manifest, file, source.path):
        print(f"dsc: warning: {warning}", file=sys.stderr)
    recorded = loaded.manifest.provenance.get("shapes")
    return loaded, {**(recorded if isinstance(recorded, dict) else {}), **shapes}
