"""The verbs, put together."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from dsc import __version__
from dsc.cli import bench, bundle, inspect, models, opt, prune, quantize, run, targets, verify
from dsc.cli import compile as compile_verb
from dsc.cli.guard import DEBUG, guarded

app = typer.Typer(
    help="Compile ONNX models to one deployable file of tuned kernels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compile")(guarded(compile_verb.compile_))
app.command("run")(guarded(run.run))
app.command("bench")(guarded(bench.bench))
app.command("verify")(guarded(verify.verify))
app.command("opt")(guarded(opt.opt))
app.command("bundle")(guarded(bundle.bundle))
app.command("quantize")(guarded(quantize.quantize))
app.command("prune")(guarded(prune.prune))
app.command("inspect")(guarded(inspect.inspect))
app.command("targets")(guarded(targets.targets))
app.add_typer(models.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dsc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors, as DSC_DEBUG=1 does.")] = False,
) -> None:
    """Compile ONNX models to one deployable file of tuned kernels."""
    if debug:
        os.environ[DEBUG] = "1"
    if logging.lastResort is not None:  # what prints the warnings of our modules
        logging.lastResort.setFormatter(logging.Formatter("dsc: warning: %(message)s"))
