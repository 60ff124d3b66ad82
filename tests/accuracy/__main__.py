"""The zoo in bytes by `dsc quantize`, in ONNX Runtime and in dsc, against float. `make accuracy`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

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


def agreement(name: str, model: onnx.ModelProto) -> tuple[float, float]:
    """The exported model's accuracy in dsc, and the share of inputs of which ONNX Runtime says the same."""
    known, module = evaluation(name), dsc.compile(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ours = known.answers(lambda feeds: module.run(dict(feeds)))
    theirs = known.answers(lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True)))
    return float(np.mean(ours == known.truth())), float(np.mean(ours == theirs))


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(EVALUATIONS)}")
    print("| data | float | int8 | int8 in dsc | same answers | in bytes | layers in float | outputs |")
    print("|---|---|---|---|---|---|---|---|")
    for name in parser.parse_args().only or BARS:
        found = quantized(name)
        report, accuracy = found.report, found.report.accuracy
        assert accuracy is not None
        known = evaluation(name)
        compiled, same = agreement(name, found.model)
        print(
            f"| {known.model}: {known.title} | {accuracy.in_float:.2%} | {accuracy.quantized:.2%} "
            f"| {compiled:.2%} | {same:.2%} | {report.share:.1%} | {len(report.excluded)} "
            f"| {report.snr or 0:.1f} dB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
