"""How far an element of an output may be from the reference's."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import ml_dtypes
import numpy as np

from dsc.check.difference import float_format, magnitude
from dsc.errors import UsageError
from dsc.precision import ERRORS, PRECISIONS
from dsc.runtime.manifest import Manifest


@dataclass(frozen=True)
class _Bounds:
    """relative: of the element itself. ulps: units of the type's precision, of the tensor's usual magnitude."""

    relative: float
    ulps: float


_SINGLE = _Bounds(relative=1e-5, ulps=16)
_DEFAULTS = {
    np.dtype(np.float64): _Bounds(relative=1e-13, ulps=16),
    np.dtype(np.float32): _SINGLE,
    np.dtype(np.float16): _Bounds(relative=2.0**-9, ulps=2),
    np.dtype(ml_dtypes.bfloat16): _Bounds(relative=2.0**-6, ulps=2),
}
"""Sums of some hundred terms in another order. Deeper models move further: see `dsc.check.stability`."""


@dataclass(frozen=True)
class Tolerance:
    """`|found - expected| <= atol + rtol * |expected|`, as numpy.allclose has it; of integers only `atol` counts.
    of_largest: of floats, so much of the output's largest number in addition.

    None: by element type. Integers and booleans are exact then; of floats, `rtol` is 1e-5 (float32), 1e-13 (float64) or
    two units in the last place (float16, bfloat16; one of narrower floats), and `atol` a few such units of the tensor's
    median magnitude, so that neither its scale nor a few huge elements matter. Where one of the two is given, the other
    is 0. Raises UsageError for negative numbers and NaN.
    """

    atol: float | None = None
    rtol: float | None = None
    of_largest: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value >= 0:  # NaN is not either
                raise UsageError(f"{name} {value} is no tolerance: it must be 0 or more")

    @property
    def given(self) -> bool:
        """Whether it is the user's, or that of a precision, and so final."""
        return any(value is not None for value in asdict(self).values())

    def allowed(self, expected: np.ndarray) -> np.ndarray:
        """The largest difference allowed, by element."""
        format_ = float_format(expected.dtype)
        if format_ is None:
            return np.full(expected.shape, self.atol or 0.0)
        size = magnitude(expected)
        if self.given:
            absolute = (self.atol or 0.0) + (self.of_largest or 0.0) * float(size.max(initial=0.0))
            return absolute + (self.rtol or 0.0) * size
        if format_.bits <= 8:
            unit: np.ndarray = format_.eps * np.maximum(size, format_.smallest)
            return unit
        bounds = _DEFAULTS.get(expected.dtype, _SINGLE)
        nonzero = size[size > 0]
        usual = float(np.median(nonzero)) if nonzero.size else 0.0
        # What is below the smallest normal number may be flushed to zero.
        return bounds.relative * size + (bounds.ulps * format_.eps * usual + format_.smallest)

    def __str__(self) -> str:
        if not self.given:
            return "by element type"
        parts = [f"{name} {value:g}" for name, value in (("atol", self.atol), ("rtol", self.rtol)) if value is not None]
        parts += [] if self.of_largest is None else [f"{self.of_largest:g} of the largest number"]
        return ", ".join(parts)


def of_rounding(*elements: str | None) -> Tolerance:
    """The tolerance for what is computed with tensors or factors rounded to element types: see `dsc.precision`."""
    errors = [ERRORS[element] for element in elements if element is not None]
    return Tolerance(of_largest=max(errors, default=None))


def of_module(manifest: Manifest) -> Tolerance:
    """The tolerance for a module: the usual one, or that of what it was compiled to round: tensors, or activations."""
    activations = manifest.provenance.get("activations")
    return of_rounding(element_of_module(manifest), activations if activations in ERRORS else None)


def element_of_module(manifest: Manifest) -> str | None:
    """The element type to which a module was compiled to round; None where it rounds to none."""
    return PRECISIONS.get(str(manifest.provenance.get("precision")))
