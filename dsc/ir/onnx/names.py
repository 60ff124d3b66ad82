"""How dsc calls an operator: by its name alone in ONNX's default domain, else with the domain before it."""

from __future__ import annotations


def operator_name(domain: str, op_type: str) -> str:
    """`Conv`, `com.mine.Swoosh`. Names have no dots, so these cannot be mistaken for one another."""
    return f"{domain}.{op_type}" if domain else op_type
