"""Fashion-MNIST (Xiao et al., 2017) as Debian packages it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np

_FOLDER = Path("usr/share/datasets/fashion-mnist")


def read_split(package: Path, split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) float32 in 0..1 and labels (n,) int64; n is 60,000 (train) or 10,000 (test)."""
    prefix = "train" if split == "train" else "t10k"
    images = _idx(package / _FOLDER / f"{prefix}-images-idx3-ubyte.gz")
    labels = _idx(package / _FOLDER / f"{prefix}-labels-idx1-ubyte.gz")
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _idx(path: Path) -> np.ndarray:
    """The IDX format: two zero bytes, a type (8: uint8), the rank, big-endian dims, the data."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
