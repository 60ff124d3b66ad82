"""Options that several verbs share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.passes import Observer

STANDARD_OUTPUT = Path("/dev/stdout")


def output(path: Path | None) -> Path | None:
    """The path of an output: "-" is the standard output."""
    return STANDARD_OUTPUT if path is not None and str(path) == "-" else path


def finite(number: float | None) -> float | None:
    """A number, which "nan" and "inf" are not."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a number that counts")
    return number


ModelArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="An ONNX file, or zoo:NAME (see `dsc models list`).")
]
OptLevel: TypeAlias = Annotated[
    int,
    typer.Option(
        "-O", "--opt-level", min=0, max=3,
        help="0 nothing, 1 canonicalize, 2 fuse and lay out, 3 measure kernels too.",
    ),
]  # fmt: skip
Target: TypeAlias = Annotated[
    str,
    typer.Option(help="Machine to compile for, as arm:cortex-a76: see `dsc targets`. A family: the one that is here."),
]
ShapeOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME:DIMS", help="Fix an input's shape, as input:1x3x224x224. Repeatable."),
]
Pinned: TypeAlias = Annotated[
    bool,
    typer.Option("--pinned", help="Fix free dims of a model of the zoo at the sizes it is measured with."),
]
Passes: TypeAlias = Annotated[
    str | None,
    typer.Option("-p", "--passes", help="A pipeline instead of the preset, as 'canonicalize,fuse'."),
]
Precision: TypeAlias = Annotated[
    str,
    typer.Option(metavar="fp32|tf32|bf16|fp16", help="What tensors are stored and multiplied in."),
]
Activations: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="fp32|int16|int8", help="What is multiplied by weights of 4 or 8 bits; integers in steps of a row."
    ),
]
AttentionWindow: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="POSITIONS", help="Approximate: no query sees keys further from it than that. All are seen by default."
    ),
]
AttentionKeep: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Approximate: queries see that share of the keys, those that seem to matter most."
    ),
]
Plugins: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Python file with passes, kernels, targets, operators, or TOML file of machines. Repeatable.",
    ),
]
DumpPhases: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the IR after each pass, and the code of each kernel, here.")
]
PrintIrAfter: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PASS", help="Print the IR after this pass. Repeatable.")
]
JsonFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", callback=output, help="Write a report; - is the standard output."),
]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, max=256, help="Cores a run uses; all by default.")]
TuningTime: TypeAlias = Annotated[
    float, typer.Option("--time", min=0, callback=finite, help="Seconds -O3 may spend measuring.")
]
DatabaseFile: TypeAlias = Annotated[
    Path | None, typer.Option("--db", metavar="FILE", help="Where -O3 remembers what it measured.")
]
ModuleFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--module", metavar="FILE.dsc", help="Compiled before; compiled now if not given."),
]
InputOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="[NAME=]FILE", help="npy, npz or image, or zoo:photo. Repeatable."),
]


def check_tuning(context: typer.Context, opt_level: int, database: Path | None) -> None:
    """Raise UsageError for options of -O3 at another level, which would be ignored, and a database that is none."""
    if opt_level != 3:
        refuse(context, f"is for -O3, which measures; this is -O{opt_level}", "time", "db")
    elif database is not None:
        from dsc.tune import Database

        Database(database)


def refuse(context: typer.Context, reason: str, *names: str) -> None:
    """Raise UsageError if one of these parameters of the verb was given on the command line."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{max(parameter.opts, key=len)} {reason}")


def observers(dump_phases: Path | None, print_ir_after: list[str] | None) -> list[Observer]:
    """What --dump-phases and --print-ir-after ask for. Raises UsageError for a pass that is not there."""
    from dsc.passes import dump_phases as dump
    from dsc.passes import pass_class, print_after

    for name in print_ir_after or ():
        pass_class(name)
    chosen: list[Observer] = []
    if dump_phases is not None:
        chosen.append(dump(dump_phases))
    if print_ir_after:
        chosen.append(print_after(print_ir_after))
    return chosen
