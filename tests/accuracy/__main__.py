"""The zoo in bytes: accuracy against float, by `dsc quantize` as a user calls it. `make accuracy`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

import dsc
import dsc.check
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


def agreement(name: str, found: Quantized, count: int) -> float:
    """Of how many samples the compiled model's first output has its largest number where ONNX Runtime's has it."""
    module, reference = dsc.compile(found.model), dsc.check.Reference(found.model)
    same = [
        next(iter(module.run(dict(feed)).values())).argmax(-1) == next(iter(reference.run(feed).values())).argmax(-1)
        for feed in islice(evaluation(name).calibration(count), count)
    ]
    return float(np.mean(np.concatenate([array.reshape(-1) for array in same])))


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(EVALUATIONS)}")
    print("| data | float | int8 | in bytes | layers in float | outputs | same as ONNX Runtime |")
    print("|---|---|---|---|---|---|---|")
    for name in parser.parse_args().only or BARS:
        found = quantized(name)
        report, accuracy = found.report, found.report.accuracy
        assert accuracy is not None
        known = evaluation(name)
        print(
            f"| {known.model}: {known.title} | {accuracy.in_float:.2%} | {accuracy.quantized:.2%} "
            f"| {report.share:.1%} | {len(report.excluded)} | {report.snr or 0:.1f} dB "
            f"| {agreement(name, found, 8):.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
