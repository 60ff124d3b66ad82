"""`dsc models`: the zoo."""

from __future__ import annotations

from typing import Annotated

import typer

from dsc.cli.console import print_table, progress
from dsc.cli.guard import guarded
from dsc.errors import UsageError
from dsc.models import fetch as fetch_model
from dsc.models import names, recipe

app = typer.Typer(help="Models to try and to measure with.", no_args_is_help=True)


@app.command("list")
@guarded
def list_() -> None:
    """List the models of the zoo: what they are, where from, under which licence."""
    rows = []
    for name in names():
        known = recipe(name)
        shapes = ", ".join("x".join(map(str, spec.pinned)) or "scalar" for spec in known.inputs)
        note = "fetch only (recurrent)" if known.rnn else known.metric or ""
        rows.append([name, known.title, shapes, known.license, known.source, note])
    print_table(["name", "model", "inputs", "licence", "source", ""], rows)


@app.command()
@guarded
def fetch(
    models: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Names of the list.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model (2.4 GB).")] = False,
) -> None:
    """Fetch models into the cache and print the paths of the ONNX files."""
    if models and all_:
        raise UsageError("--all is every model: name none, or leave it out")
    wanted = names() if all_ else [name.removeprefix("zoo:") for name in models or ()]
    if not wanted:
        raise UsageError("say which models to fetch, or --all; `dsc models list` lists them")
    for name in wanted:
        recipe(name)  # all names are checked before the first is fetched
    for name in wanted:
        with progress() as tell:
            path = fetch_model(name, progress=lambda step: tell(step, 0, 1))
        print(path)
