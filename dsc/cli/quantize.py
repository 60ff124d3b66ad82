"""`dsc quantize`: a model in bytes that is as good as it was, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc.cli import options
from dsc.cli.console import print_table, progress, write_json
from dsc.cli.figures import decibels, parse_share
from dsc.cli.outputs import claim
from dsc.cli.source import find_model
from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.quantize.quantize import Evaluate
    from dsc.quantize.quantized import LayerReport, Report

_ZOO = "zoo:"
_DETAILS = ("equalize", "smoothing", "rounding")


def quantize(
    context: typer.Context,
    model: options.ModelArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.onnx", callback=options.output, help="The quantized model."),
    ],
    calibration: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Inputs in use: .npz, a folder, FILE.py:NAME, or zoo:NAME."),
    ] = None,
    scheme: Annotated[
        str, typer.Option(metavar="int8|dynamic|int8-weights|int4-weights|bf16|fp16", help="What is made of the model.")
    ] = "int8",
    calibrator: Annotated[
        str | None, typer.Option(help="How ranges are made of what is seen: minmax by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="So many of DATA at most.")] = 256,
    preprocessing: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="How the images of a folder become inputs.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Layers that stay in float, and the scheme's details.")
    ] = None,
    equalize: Annotated[
        bool | None,
        typer.Option("--equalize/--no-equalize", help="Make ranges of neighbouring layers' weights equal first."),
    ] = None,
    smoothing: Annotated[
        str | None,
        typer.Option(
            metavar="none|fold|insert",
            help="Leave outliers of activations to weights: where it is free, or everywhere.",
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(metavar="nearest|adaptive", help="Whether weights are rounded for the sake of layers' outputs."),
    ] = None,
    eval_: Annotated[
        str | None, typer.Option("--eval", metavar="EVAL", help="What accuracy is: zoo:NAME, or FILE.py:NAME.")
    ] = None,
    max_accuracy_drop: Annotated[
        str | None, typer.Option(metavar="DROP", help="How much of it may be lost, as 1% or 0.01.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Leave in float what dsc computes more slowly in bytes on this machine.")
    ] = None,
    json: options.JsonFile = None,
) -> None:
    """Quantize a float model, and say what became of each layer.

    With --eval and --max-accuracy-drop, the fewest layers stay in float that keep the accuracy; exit 4 if none do.
    """
    if calibration is None:
        options.refuse(context, "is of calibration data, and there is none", "samples", "preprocessing")
    if scheme != "int8":
        options.refuse(context, f"is for scheme int8; this is {scheme}", *_DETAILS)
    drop = None if max_accuracy_drop is None else parse_share("--max-accuracy-drop", max_accuracy_drop)
    source = find_model(model)
    reads = [source.path, policy, preprocessing, *(text.partition(":")[0] for text in (calibration, eval_) if text)]
    claim({"-o": output, "--json": json}, [path for path in reads if path is not None and Path(path).is_file()])
    import onnx

    from dsc.quantize.calibration import find_samples
    from dsc.quantize.policy import Policy, detailed, read_policy
    from dsc.quantize.quantize import quantize as quantize_model

    rules = Policy() if policy is None else read_policy(policy)
    given = {"equalizes": equalize, "smoothing": smoothing, "rounding": rounding}
    details = {name: value for name, value in given.items() if value is not None}
    rules = replace(rules, scheme=detailed(rules.scheme, details, "the command line"))
    evaluate = None if eval_ is None else _evaluation(eval_)
    found = None
    if calibration is not None:
        known = onnx.load(source.path, load_external_data=False)
        found = find_samples(calibration, known, preprocessing).first(samples)
    with progress() as tell:
        quantized = quantize_model(
            source.path,
            found,
            scheme=scheme,
            calibrator=calibrator,
            policy=rules,
            evaluate=evaluate,
            max_accuracy_drop=drop,
            target=target,
            progress=tell,
        )
    quantized.save(output)
    print_report(quantized.report)
    data = "" if found is None else f"; calibrated with {found.source}"
    print(f"wrote {output}, {quantized.model.ByteSize() / 1e6:.1f} MB{data}")
    asked = {"model": model, "calibration": calibration, "scheme": scheme, "calibrator": calibrator}
    write_json(json, {**asked, **quantized.report.to_json()})


def print_report(report: Report) -> None:
    """The layers, the most sensitive first, the list of those in float, and what it comes to."""
    total = sum(layer.size for layer in report.layers) or 1
    rows = [_row(layer, total) for layer in report.worst_first()]
    print_table(["layer", "op", f"{report.unit} %", "SNR dB", "gain", "in", "why, and what was done"], rows)
    if report.excluded:
        names = ",\n  ".join(f'"{name}"' for name in report.excluded)
        print(f'\nin float, as a policy:\n[[rule]]\nkeep = "float"\nnames = [\n  {names},\n]\n')
    outputs = "" if report.snr is None else f"; outputs at {decibels(report.snr)} dB"
    print(f"{report.share:.1%} of {report.unit} quantized{outputs}")
    if report.accuracy is not None:
        found = report.accuracy
        print(f"accuracy {found.quantized:.4f}, in float {found.in_float:.4f}, {found.evaluations} evaluations")


def _row(layer: LayerReport, total: int) -> list[str]:
    kind = layer.half or ("integers" if layer.quantized else "float")
    gain = "" if layer.gain is None else f"{layer.gain:+.1f}"
    notes = "; ".join((*([layer.reason] if layer.reason else []), *layer.methods))
    return [layer.name, layer.op, f"{100 * layer.size / total:.1f}", decibels(layer.snr), gain, kind, notes]


def _evaluation(text: str) -> Evaluate:
    """The evaluation that --eval names. Raises UsageError where there is none."""
    from dsc.models.evaluation import evaluation
    from dsc.quantize.calibration.python_file import object_of
    from dsc.quantize.evaluation import checked

    if text.startswith(_ZOO):
        return evaluation(text.removeprefix(_ZOO)).metric
    if ".py:" not in text:
        raise UsageError(f"--eval {text}: expected zoo:NAME, or FILE.py:NAME of a function")
    function = object_of(text)
    return checked(text, function)
