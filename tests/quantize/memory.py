"""What calibration takes of memory: ResNet-50 with every calibrator on many samples of 1x3x224x224.

`make calibration-memory` runs it (SAMPLES=10000: hours). It fails where the process ever takes more than the model's
file and 500 MB.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator

import numpy as np
import onnx

from dsc.models import fetch
from dsc.quantize.calibration import CALIBRATORS, calibrate

_ALLOWED = 500e6


def samples(count: int) -> Iterator[dict[str, np.ndarray]]:
    """Images of noise, each with a contrast of its own."""
    random = np.random.default_rng(0)
    for _ in range(count):
        yield {"input": random.standard_normal((1, 3, 224, 224), np.float32) * random.uniform(0.5, 2, ()).astype("f")}


def peak() -> int:
    """The most bytes of memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Print the peak as it grows; 1 where it is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100)
    count = parser.parse_args().samples
    file = fetch("resnet50")
    print(f"before the model is read: {peak() / 1e6:.0f} MB")

    def tell(done: int) -> None:
        if done in (1, 10) or done % 100 == 0:
            print(f"{done} samples: {peak() / 1e6:.0f} MB", flush=True)

    ranges = calibrate(onnx.load(file), samples(count), list(CALIBRATORS), on_progress=tell)
    allowed = file.stat().st_size + _ALLOWED
    print(f"{len(ranges['minmax'])} tensors; peak {peak() / 1e6:.0f} MB, allowed {allowed / 1e6:.0f} MB")
    return int(peak() > allowed)


if __name__ == "__main__":
    sys.exit(main())
