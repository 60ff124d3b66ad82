"""The zoo in bytes by `dsc quantize`, in ONNX Runtime and in dsc, against float. `make accuracy`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import dsc
import dsc.models
from dsc.models.evaluation import EVALUATIONS, evaluation
from dsc.quantize.quantize import quantize as quantize_model
from dsc.quantize.quantized import Quantized


@dataclass(frozen=True)
class Bar:
    """samples: to calibrate with. drop: what may be lost. target: where layers that are slower in bytes stay float."""

    samples: int
    drop: float
    target: str | None = None


BARS: Mapping[str, Bar] = {
    "fashion-mnist": Bar(256, 0.002),
    "reuters-r8": Bar(64, 0.005),
    "text-lines": Bar(48, 0.013),
    "imagenet-photos": Bar(40, 0.05),
}


def quantized(name: str) -> Quantized:
    """A model of the zoo in bytes, as good as its bar asks for."""
    known, bar = evaluation(name), BARS[name]
    return quantize_model(
        dsc.models.fetch(known.model),
        known.calibration(bar.samples),
        evaluate=known.metric,
        max_accuracy_drop=bar.drop,
        target=bar.target,
    )


def compiled_accuracy(name: str, found: Quantized) -> float:
    """The exported model's accuracy in dsc; the report has ONNX Runtime's."""
    module = dsc.compile(found.model)
    return evaluation(name).metric(lambda feeds: module.run(dict(feeds)))


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(EVALUATIONS)}")
    print("| data | float | int8 | int8 in dsc | in bytes | layers in float | outputs |")
    print("|---|---|---|---|---|---|---|")
    for name in parser.parse_args().only or BARS:
        found = quantized(name)
        report, accuracy = found.report, found.report.accuracy
        assert accuracy is not None
        known = evaluation(name)
        print(
            f"| {known.model}: {known.title} | {accuracy.in_float:.2%} | {accuracy.quantized:.2%} "
            f"| {compiled_accuracy(name, found):.2%} | {report.share:.1%} | {len(report.excluded)} "
            f"| {report.snr or 0:.1f} dB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
