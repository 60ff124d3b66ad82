"""Operators are registered for the whole process: a test leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dsc.ir.onnx import registered_operators, unregister_operator
from dsc.lower import registry, requirements


@contextmanager
def taken_back() -> Iterator[None]:
    """Takes back what is registered inside."""
    assert not registered_operators()
    try:
        yield
    finally:
        for op_type in registered_operators():
            registry.RULES.pop(op_type.name, None)
            requirements.RULES.pop(op_type.name, None)
            unregister_operator(op_type)
