"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from dsc.passes import Observer

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
Target: TypeAlias = Annotated[str, typer.Option(help="Machine to compile for: x86 (this one), x86:avx2, ...")]
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
Plugins: TypeAlias = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with passes. Repeatable.")
]
DumpPhases: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the IR after each pass into this folder.")
]
PrintIrAfter: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PASS", help="Print the IR after this pass. Repeatable.")
]
JsonFile: TypeAlias = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write a report.")]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Cores a run uses; all by default.")]
TuningTime: TypeAlias = Annotated[float, typer.Option("--time", min=0, help="Seconds -O3 may spend measuring.")]
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
