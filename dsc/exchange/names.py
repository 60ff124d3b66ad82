"""Names that nothing has yet."""

from __future__ import annotations


def unique(wish: str, taken: set[str]) -> str:
    """The name wished for, or with the first number that makes it another than those taken; it is taken then."""
    name, count = wish, 0
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name
