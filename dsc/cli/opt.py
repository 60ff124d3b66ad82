"""`dsc opt`: run passes and print the IR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.outputs import claim
from dsc.cli.plugins import load_plugins
from dsc.cli.source import find_model, parse_shapes
from dsc.errors import UsageError
from dsc.files import writing
from dsc.host import FAMILY

if TYPE_CHECKING:
    from dsc.ir import Graph


def opt(
    model: options.ModelArgument,
    passes: options.Passes = None,
    precision: options.Precision = "fp32",
    activations: options.Activations = "fp32",
    attention_window: options.AttentionWindow = None,
    attention_keep: options.AttentionKeep = None,
    opt_level: options.OptLevel = 2,
    target: options.Target = FAMILY,
    shape: options.ShapeOptions = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", callback=options.output, help="A .mlir or .onnx; stdout by default."
        ),
    ] = None,
    verify_each: Annotated[
        bool, typer.Option("--verify-each", help="Run the graph in ONNX Runtime after each pass.")
    ] = False,
    plugin: options.Plugins = None,
    dump_phases: options.DumpPhases = None,
    print_ir_after: options.PrintIrAfter = None,
    stats: Annotated[bool, typer.Option("--stats", help="Print which rules fired, and near misses.")] = False,
) -> None:
    """Run passes on a model and print it as MLIR; an .onnx output runs in any runtime."""
    if output == options.STANDARD_OUTPUT:
        output = None
    if output is not None and output.suffix not in (".mlir", ".onnx"):
        raise UsageError(f"-o {output}: expected a name that ends in .mlir or .onnx")
    source = find_model(model)
    claim({"-o": output}, [source.path, *(plugin or ())], dump=dump_phases)
    load_plugins(plugin)
    from dsc.exchange import import_model
    from dsc.passes import Pipeline
    from dsc.pipeline import preset
    from dsc.request import check_passes
    from dsc.targets import target as named_target

    check_passes(passes, precision, activations, attention_window, attention_keep)
    onto = named_target(target)
    preferred = precision, activations, attention_window, attention_keep
    pipeline = Pipeline.parse(passes) if passes is not None else preset(opt_level, onto, *preferred)
    graph = import_model(source.path, shapes=parse_shapes(shape))
    observers = options.observers(dump_phases, print_ir_after)
    if verify_each:
        from dsc.check import Reference, Stages, usable_inputs
        from dsc.check import verify_each as watch

        reference = Reference(source.path)
        inputs = usable_inputs(graph, reference, [0])[0]
        observers.append(watch(Stages(graph.clone(), inputs, reference.run(inputs))))
    records = pipeline.run(graph, observers)
    if stats:
        for record in records:
            typer.echo(str(record), err=True)
    _write(graph, output)


def _write(graph: Graph, output: Path | None) -> None:
    if output is None:
        print(graph.text(), end="")
    elif output.suffix == ".onnx":
        from dsc.exchange import save_model

        save_model(graph, output)
    else:
        with writing(output) as file:
            file.write(graph.text().encode())
