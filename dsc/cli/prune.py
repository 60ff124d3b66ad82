"""`dsc prune`: a model with zeros, or without channels, where it suffers least, and why there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.console import print_table, progress, write_json
from dsc.cli.figures import decibels, parse_share, parse_times
from dsc.cli.outputs import claim
from dsc.cli.source import find_model
from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.prune.judge import Evaluate
    from dsc.prune.pruned import Compared, LayerReport, Report

_ZOO = "zoo:"


def prune(
    context: typer.Context,
    model: options.ModelArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.onnx", callback=options.output, help="The pruned model."),
    ],
    sparsity: Annotated[
        str | None, typer.Option(metavar="SHARE", help="How many weights become 0, or go, as 70% or 0.7.")
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            metavar="unstructured|4x1|2:4|channels|...",
            help="Blocks (outputs x inputs), n of m inputs, or channels, which are removed.",
        ),
    ] = "unstructured",
    method: Annotated[
        str | None,
        typer.Option(
            metavar="magnitude|global-magnitude|wanda|obs|admm",
            help="admm by default, obs of channels, magnitude without data.",
        ),
    ] = None,
    multiple: Annotated[
        int | None, typer.Option(min=1, help="What divides the number of channels that stay; 8 by default.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Inputs in use: .npz, a folder, FILE.py:NAME, or zoo:NAME."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="So many of DATA at most; they are kept in memory.")] = 256,
    preprocessing: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="How the images of a folder become inputs.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Sparsities of single layers; 0 is dense.")
    ] = None,
    eval_: Annotated[
        str | None, typer.Option("--eval", metavar="EVAL", help="What accuracy is: zoo:NAME, or FILE.py:NAME.")
    ] = None,
    max_accuracy_drop: Annotated[
        str | None, typer.Option(metavar="DROP", help="How much of it may be lost, as 1% or 0.01.")
    ] = None,
    speedup: Annotated[
        str | None, typer.Option(metavar="TIMES", help="How many times as fast it is to be, as 2x, when compiled.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Machine for --speedup, as arm:cortex-a76; the one that is here by default.")
    ] = None,
    json: options.JsonFile = None,
) -> None:
    """Make zeros of a model's weights, or remove channels, and say what that costs each layer.

    With --eval and --max-accuracy-drop, the largest sparsity that keeps the accuracy; with --speedup, the model that is
    as fast and loses the least; exit 4 if there is none.
    """
    if calibration is None:
        options.refuse(context, "is of calibration data, and there is none", "samples", "preprocessing")
    share = None if sparsity is None else parse_share("--sparsity", sparsity)
    drop = None if max_accuracy_drop is None else parse_share("--max-accuracy-drop", max_accuracy_drop)
    times = None if speedup is None else parse_times("--speedup", speedup)
    source = find_model(model)
    reads = [source.path, policy, preprocessing, *(text.partition(":")[0] for text in (calibration, eval_) if text)]
    claim({"-o": output, "--json": json}, [path for path in reads if path is not None and Path(path).is_file()])
    import onnx

    from dsc.prune.policy import read_policy
    from dsc.prune.prune import prune as prune_model
    from dsc.quantize.calibration import find_samples

    rules = None if policy is None else read_policy(policy)
    evaluate = None if eval_ is None else _evaluation(eval_)
    found = None
    if calibration is not None:
        known = onnx.load(source.path, load_external_data=False)
        found = find_samples(calibration, known, preprocessing).first(samples)
    with progress() as tell:
        pruned = prune_model(
            source.path,
            found,
            sparsity=share,
            pattern=pattern,
            method=method,
            multiple=multiple,
            policy=rules,
            evaluate=evaluate,
            max_accuracy_drop=drop,
            speedup=times,
            target=target,
            progress=tell,
        )
    pruned.save(output)
    print_report(pruned.report)
    data = "" if found is None else f"; calibrated with {found.source}"
    print(f"wrote {output}{data}")
    write_json(json, {"model": model, "calibration": calibration, **pruned.report.to_json()})


def print_report(report: Report) -> None:
    """The layers in the model's order, and what it comes to."""
    from dsc.prune.request import CHANNELS

    total = sum(layer.size for layer in report.layers) or 1
    rows = [_row(layer, total) for layer in report.layers]
    share, are = ("gone %", "gone") if report.pattern == CHANNELS else ("zeros %", "0")
    print_table(["layer", "op", "shape", "weights %", share, "SNR dB", "why, and what is to be said"], rows)
    outputs = "" if report.snr is None else f"; outputs at {decibels(report.snr)} dB"
    print(f"{report.sparsity:.1%} of weights are {are}: {report.pattern} by {report.method}{outputs}")
    if report.speed is not None:
        measured = "not measured" if report.speed.measured is None else f"measured {report.speed.measured:.2f}"
        print(f"{report.speed.estimated:.2f} times as fast by estimate on {report.speed.target}, {measured}")
    if report.needed_samples is not None:
        print(
            f"dsc: warning: {report.samples} samples are too few to fit what stays: some layers have fewer rows of "
            f"data than inputs; at least {report.needed_samples} are needed",
            file=sys.stderr,
        )
    accuracy = report.accuracy
    if accuracy is not None:
        print(f"accuracy {_compared(accuracy.decided)}; {accuracy.evaluations} evaluations")
        if accuracy.held_out is not None:
            print(f"held out {_compared(accuracy.held_out)}")


def _compared(compared: Compared) -> str:
    samples = "" if compared.samples is None else f", {compared.samples} samples"
    return f"{compared.pruned:.4f}, in float {compared.in_float:.4f}{samples}"


def _row(layer: LayerReport, total: int) -> list[str]:
    shape, notes = "x".join(map(str, layer.shape)), "; ".join((*([layer.reason] if layer.reason else []), *layer.notes))
    shares = [f"{100 * layer.size / total:.1f}", f"{100 * layer.sparsity:.1f}"] if layer.size else ["", ""]
    return [layer.name, layer.op, shape, *shares, decibels(layer.snr), notes]


def _evaluation(text: str) -> Evaluate:
    """What --eval names, sample by sample where it is of the zoo. Raises UsageError where there is none."""
    from dsc.models.evaluation import evaluation
    from dsc.quantize.calibration.python_file import object_of

    if text.startswith(_ZOO):
        known = evaluation(text.removeprefix(_ZOO))
        return lambda run: known.answers(run) == known.truth()
    if ".py:" not in text:
        raise UsageError(f"--eval {text}: expected zoo:NAME, or FILE.py:NAME of a function")
    function = object_of(text)
    if not callable(function):
        raise UsageError(f"--eval {text} is a {type(function).__name__}, expected a function")
    return function
