"""The zoo pruned by `dsc prune`, in ONNX Runtime, against float. `make pruning-accuracy`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

import dsc.models
from dsc.models.evaluation import evaluation
from dsc.prune.prune import prune
from dsc.quantize.session import Run


@dataclass(frozen=True)
class Bar:
    """samples: to calibrate with. sparsity: None for the largest that loses no more than 1 %. least: the accuracy."""

    data: str
    samples: int
    pattern: str
    sparsity: float | None
    least: float


BARS = (
    Bar("fashion-mnist", 4096, "unstructured", 0.7, 0.86),
    Bar("fashion-mnist", 4096, "unstructured", 0.8, 0.84),
    Bar("fashion-mnist", 4096, "unstructured", 0.9, 0.78),
    Bar("fashion-mnist", 4096, "unstructured", None, 0.87),
    Bar("fashion-mnist", 4096, "channels", 0.5, 0.87),
    Bar("fashion-mnist", 4096, "channels", 0.8, 0.85),
    Bar("text-lines", 128, "unstructured", 0.5, 0.87),
    Bar("text-lines", 64, "unstructured", None, 0.87),
    Bar("reuters-r8", 64, "unstructured", 0.5, 0.955),
    Bar("reuters-r8", 64, "4x1", 0.5, 0.94),
)


def row(bar: Bar) -> str:
    """A line of the table."""
    known = evaluation(bar.data)

    def right(run: Run) -> np.ndarray:
        return known.answers(run) == known.truth()

    drop = 0.01 if bar.sparsity is None else None
    found = prune(
        dsc.models.fetch(known.model), known.calibration(bar.samples),
        sparsity=bar.sparsity, pattern=bar.pattern, evaluate=right, max_accuracy_drop=drop,
    ).report  # fmt: skip
    assert found.accuracy is not None
    judged = found.accuracy.held_out or found.accuracy.decided
    return (
        f"| {known.model}: {known.title} | {bar.pattern} | {found.sparsity:.1%} | {judged.in_float:.2%} "
        f"| {judged.pruned:.2%} | {bar.least:.1%} |"
    )


def main() -> None:
    """Print a row for each bar; of those that search, on the half of the samples that did not decide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(sorted({bar.data for bar in BARS}))}")
    only = parser.parse_args().only
    print("| data | pattern | zeros | float | pruned | bar |")
    print("|---|---|---|---|---|---|")
    for bar in BARS:
        if not only or bar.data in only:
            print(row(bar), flush=True)


if __name__ == "__main__":
    main()
