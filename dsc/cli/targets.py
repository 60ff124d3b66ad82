"""`dsc targets`: the machines that can be compiled for, with their figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.console import print_table, write_json
from dsc.cli.outputs import claim
from dsc.cli.plugins import load_plugins
from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.targets import Machine

PEAKS = {
    "float32": ("float32",),
    "tf32": ("tfloat32",),
    "float16": ("float16",),
    "bfloat16": ("bfloat16",),
    "int8": ("int8", "uint8", "int16"),
}
"""Types of elements: those that instructions take for them."""


def targets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A family, as arm, or a machine, as arm:cortex-a76 or native."),
    ] = None,
    plugin: options.Plugins = None,
    json: options.JsonFile = None,
) -> None:
    """List the machines that can be compiled for, or all that is known of one."""
    claim({"--json": json}, plugin or ())
    load_plugins(plugin)
    if name is not None and (":" in name or name == "native"):
        _one(name, json)
    else:
        _list(name, json)


def _list(family: str | None, json: Path | None) -> None:
    from dsc.targets import families, target
    from dsc.targets.registry import ALIASES, tags

    wanted = ALIASES.get(family or "", family)
    if wanted is not None and wanted not in families():
        target(wanted)  # says what there is
    shown = [name for name in families() if wanted in (None, name)]
    machines = [*_here(shown), *(target(tag).machine for tag in tags() if tag.partition(":")[0] in shown)]
    rows = [
        [machine.name, str(machine.cores), f"{machine.frequency / 1e9:.2f}", *_peaks(machine)] for machine in machines
    ]
    columns = ["target", "cores", "GHz", *(f"{kind}, GOP/s" for kind in PEAKS)]
    shown_columns = [i for i in range(len(columns)) if i < 3 or any(row[i] for row in rows)]
    print_table([columns[i] for i in shown_columns], [[row[i] for i in shown_columns] for row in rows])
    write_json(json, [_facts(machine) for machine in machines])


def _here(names: list[str]) -> Iterator[Machine]:
    """The machines of this host, by the names that mean them."""
    from dataclasses import replace

    from dsc.targets import families

    for name in sorted(names):
        try:
            machine = families()[name].native()
        except UsageError:
            continue
        yield replace(machine, name=f"{name}:native ({machine.name.partition(':')[2]})")


def _peaks(machine: Machine) -> list[str]:
    """Of all cores, by type; a multiplication and an addition are two."""
    found = []
    for kinds in PEAKS.values():
        rates = [row.operations * row.rate for row in machine.instructions if row.a in kinds]
        found.append(f"{max(rates) * machine.frequency * machine.cores / 1e9:,.0f}" if rates else "")
    return found


def _one(name: str, json: Path | None) -> None:
    from dsc.targets import target

    machine = target(name).machine
    facts = [[f.name, _shown(getattr(machine, f.name))] for f in fields(machine) if f.name != "instructions"]
    print_table(["fact", machine.name], facts)
    columns = ["instruction", "operands", "sum", "m x n x k", "per cycle", "cycles", "source"]
    rows = [
        [row.name, f"{row.a} x {row.b}", row.accumulator, f"{row.m} x {row.n} x {row.k}", f"{row.rate:g}",
         str(row.latency), row.source]
        for row in machine.instructions
    ]  # fmt: skip
    print_table(columns, rows)
    write_json(json, _facts(machine))


def _shown(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return " ".join(sorted(map(str, value)))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


def _facts(machine: Machine) -> dict[str, object]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(machine).items()}
