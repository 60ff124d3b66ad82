"""`dsc compile`: an ONNX model to one deployable file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.console import progress, write_json
from dsc.cli.outputs import claim
from dsc.cli.plugins import load_plugins
from dsc.cli.report import print_summary, to_json
from dsc.cli.source import find_model, parse_size
from dsc.errors import BudgetError, UsageError
from dsc.host import FAMILY

if TYPE_CHECKING:
    from dsc.check.approximation import Samples
    from dsc.cli.source import Source
    from dsc.pipeline import Compilation


def compile_(
    context: typer.Context,
    model: options.ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", callback=options.output, help="The artifact; MODEL.dsc by default."
        ),
    ] = None,
    opt_level: options.OptLevel = 2,
    target: options.Target = FAMILY,
    shape: options.ShapeOptions = None,
    pinned: options.Pinned = False,
    passes: options.Passes = None,
    precision: options.Precision = "fp32",
    activations: options.Activations = "fp32",
    attention_window: options.AttentionWindow = None,
    attention_keep: options.AttentionKeep = None,
    calibration: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Inputs on which the error of an approximation is measured; random if none."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many of them at most.")] = 16,
    plugin: options.Plugins = None,
    time: options.TuningTime = 60.0,
    db: options.DatabaseFile = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Fail (exit 4) if code and weights are more, as 12MB.")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(metavar="MS", min=0, callback=options.finite, help="Fail (exit 4) if a run takes longer."),
    ] = None,
    threads: options.Threads = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Store weights in fewer bytes, without loss; loading expands them.")
    ] = False,
    json: options.JsonFile = None,
    dump_phases: options.DumpPhases = None,
    print_ir_after: options.PrintIrAfter = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write the artifact.")] = False,
) -> None:
    """Compile an ONNX model to one deployable file."""
    source, limit = find_model(model), parse_size(max_size) if max_size is not None else None
    shapes = source.shapes(shape, pinned)
    target_file = output or Path(f"{source.name}.dsc")
    outputs = {"-o": None if dry_run else target_file, "--json": json}
    data = [Path(calibration.partition(":")[0])] if calibration is not None else []
    claim(outputs, [source.path, *data, *(plugin or ())], database=db, dump=dump_phases)
    options.check_tuning(context, opt_level, db)
    if threads is not None and max_latency is None:
        raise UsageError("--threads says how --max-latency is measured; a module is told its threads when it is loaded")
    if calibration is None:
        options.refuse(context, "is of calibration data, and there is none", "samples")
    load_plugins(plugin)
    from dsc.pipeline import compile_model
    from dsc.request import check_runs_here

    if max_latency is not None:
        check_runs_here(target, "--max-latency")

    with progress() as tell:
        compilation = compile_model(
            source.path,
            target=target,
            opt_level=opt_level,
            shapes=shapes,
            passes=passes,
            precision=precision,
            activations=activations,
            attention_window=attention_window,
            attention_keep=attention_keep,
            samples=None if calibration is None else _samples(calibration, source, samples),
            tuning_seconds=time,
            database=db,
            observers=options.observers(dump_phases, print_ir_after),
            dump=dump_phases,
            compress=compress,
            progress=tell,
        )
        latency = _latency_ms(compilation, threads) if max_latency is not None else None
        missed = _missed_budgets(compilation, limit, latency, max_latency)
        if not missed and not dry_run:
            size = compilation.model.size
            compilation.model.write(target_file, lambda done: tell("write", done, size))
    written = None if missed or dry_run else target_file
    report = {
        "model": model,
        "opt_level": opt_level,
        "output": written,
        "latency_ms": latency,
        "missed": missed,
    }
    write_json(json, {**report, **to_json(compilation)})
    print_summary(compilation)
    if missed:
        raise BudgetError("; ".join(missed) + ": nothing was written")
    if written is not None:
        print(f"wrote {written}, {compilation.model.size / 1e6:.1f} MB")


def _samples(text: str, source: Source, most: int) -> Samples:
    """The inputs that --calibration names. Raises UsageError."""
    import onnx

    from dsc.check.approximation import Samples
    from dsc.quantize.calibration import find_samples

    found = find_samples(text, onnx.load(source.path, load_external_data=False)).first(most)
    return Samples(found.source, found)


def _missed_budgets(
    compilation: Compilation, max_bytes: int | None, latency: float | None, max_latency: float | None
) -> list[str]:
    missed, size = [], compilation.model.size
    if max_bytes is not None and size > max_bytes:
        missed.append(f"code and weights are {size:,} bytes, --max-size is {max_bytes:,}")
    if latency is not None and max_latency is not None and latency > max_latency:
        missed.append(f"a run takes {latency:.2f} ms, --max-latency is {max_latency:g} ms")
    return missed


def _latency_ms(compilation: Compilation, threads: int | None) -> float:
    """Median of several runs on random inputs, free dims at usual sizes."""
    from dsc.bench import interleave, module_contender
    from dsc.check import random_inputs

    run = module_contender(compilation.model.load(threads), random_inputs(compilation.graph))
    return interleave({"dsc": run}, rounds=3)["dsc"].median * 1e3
