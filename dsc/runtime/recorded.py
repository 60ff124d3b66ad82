"""What a manifest records of a kernel, for reports: free form, but for what is printed."""

from __future__ import annotations

from typing import Any

from dsc.runtime.schema import Value

_TEXTS = ("kind", "kernel", "point")
_DEMAND = ("multiply_adds", "weight_bytes", "activation_bytes")
_BOUND = ("compute_seconds", "memory_seconds")
_ERROR = ("snr", "max_abs", "cosine")
_INFINITE = ("inf", "-inf")
_RESOURCES = ("threads", "registers", "spilled_bytes", "stack_bytes", "shared_bytes", "resident_blocks")


def recorded_kernel(content: Value) -> dict[str, Any]:
    """One of `Manifest.kernels`. Raises `MalformedError` where what is printed is of another form."""
    entries = content.entries()
    for name in _TEXTS:
        _entry(content, name).text()
    _entry(content, "estimate").number()
    if "calls" in entries:
        entries["calls"].integer()
    if _is_given(entries, "demand") or _is_given(entries, "bound"):
        _entry(content, "function").text()
        _entry(content, "calls").integer()
        for name in _DEMAND:
            _entry(_entry(content, "demand"), name).integer()
        for name in _BOUND:
            _entry(_entry(content, "bound"), name).number()
    for used in entries["resources"].items() if "resources" in entries else ():
        _resources(used)
    for rival in entries["rivals"].items() if "rivals" in entries else ():
        _rival(rival)
    return dict(content.value)


def recorded_layer(content: Value, kernels: int) -> dict[str, Any]:
    """One of `Manifest.layers` beside so many kernels. Raises `MalformedError` where it is of another form."""
    texts, numbers = ("name", "op", "pattern", "obstacle"), ("zeros", "kept")
    names = (*texts, *numbers, "choice", "shape", "parameters")
    found = dict(zip(names, content.fields(*names), strict=True))
    for name in texts:
        found[name].text()
    for name in numbers:
        found[name].number()
    found["choice"].integer(0, kernels - 1)
    for size in found["shape"].items():
        size.integer()
    for parameter in found["parameters"].items():
        parameter.text()
    return dict(content.value)


def recorded_approximation(content: Value) -> dict[str, Any]:
    """`Manifest.approximation`. Raises `MalformedError` where it is of another form."""
    attentions, refused, outputs, inputs = content.fields("attentions", "refused", "outputs", "inputs")
    for attention in attentions.items():
        name, window, keep, own, accumulated = attention.fields("name", "window", "keep", "own", "accumulated")
        name.text()
        if window.value is not None:
            window.integer(1)
        if keep.value is not None:
            keep.number()
        for error in (own, accumulated):
            if error.value is not None:
                _error(error)
    for count in refused.entries().values():
        count.integer()
    for error in outputs.entries().values():
        _error(error)
    inputs.text()
    return dict(content.value)


def _error(content: Value) -> None:
    for number in content.fields(*_ERROR):
        if number.value not in _INFINITE:
            number.number()


def _rival(content: Value) -> None:
    kernel, skips_zeros, estimate, measured, refusal = content.fields(
        "kernel", "skips_zeros", "estimate", "measured", "refusal"
    )
    kernel.text()
    refusal.text()
    skips_zeros.truth()
    for seconds in (estimate, measured):
        if seconds.value is not None:
            seconds.number()


def _resources(content: Value) -> None:
    _entry(content, "kernel").text()
    for name in _RESOURCES:
        _entry(content, name).integer()
    _entry(content, "occupancy").number()
    if _is_given(content.entries(), "matrix_instructions"):
        _entry(content, "matrix_instructions").integer()


def _is_given(entries: dict[str, Value], name: str) -> bool:
    return name in entries and entries[name].value is not None


def _entry(content: Value, name: str) -> Value:
    """An entry of an object; one without a value, which is refused when it is asked for, where there is none."""
    return content.entries().get(name, Value(None, f"{content.place}.{name}"))
