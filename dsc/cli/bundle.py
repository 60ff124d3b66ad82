"""`dsc bundle`: a compiled module to a folder that runs without Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsc.cli.console import progress


def bundle(
    module: Annotated[Path, typer.Argument(metavar="MODEL.dsc", help="What `dsc compile` wrote, for a CPU or a GPU.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="The folder; the module's name without .dsc by default."),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where libtvm_runtime.so and libtvm_ffi.so for the CPU are."),
    ] = None,
    compiler: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="C++ compiler for the CPU; one that is installed by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that holds other things too.")] = False,
) -> None:
    """Write a folder that runs a compiled module without Python, by a command and from C."""
    from dsc.bundle import write_bundle

    folder = output or Path(module.stem)
    with progress() as tell:
        written = write_bundle(module, folder, runtime=runtime, compiler=compiler, force=force, progress=tell)
    if written.compiler is None:
        print(
            f"there is no C++ compiler for {written.arch} here (Debian and Ubuntu have g++-{written.arch}-linux-gnu): "
            "build the runner on the board, as README.md of the bundle says"
        )
    print(f"wrote {folder}, {written.size / 1e6:.1f} MB")
