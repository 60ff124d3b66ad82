"""The points of attention's design space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Blocking:
    """The queries of one head that a block has, the keys that it looks at together, and how threads share them."""

    queries: int
    keys: int
    across: int
    """Threads that share the keys of a query, and the elements of its result: neighbours in a warp."""
    threads: int = 128
    """In a block."""

    @property
    def rows(self) -> int:
        """Queries of a thread."""
        return self.queries * self.across // self.threads

    @property
    def columns(self) -> int:
        """Keys of a thread."""
        return self.keys // self.across

    def outputs(self, width: int) -> int:
        """Elements of a query's result that a thread computes."""
        return -(-width // self.across)

    def shared_bytes(self, depth: int, width: int) -> int:
        """Of a block: queries and keys by depth, values, weights; one place between rows keeps banks apart."""
        return 4 * (depth * (self.queries + 1 + self.keys + 1) + self.keys * width + self.queries * (self.keys + 1))

    def registers(self, width: int) -> int:
        """Of a thread, about: scores, results, operands, and what is known of each query."""
        return self.rows * (self.columns + self.outputs(width) + 5) + self.columns + self.outputs(width) + 40


BLOCKINGS = (
    Blocking(64, 32, 8),
    Blocking(32, 64, 16),
    Blocking(32, 32, 8),
    Blocking(16, 64, 16),
    Blocking(16, 32, 8),
    Blocking(8, 32, 16),
)
