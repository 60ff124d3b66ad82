"""CUDA C++ as text: what of it is code, and where statements end."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SKIPPED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
"""String and character literals, in which nothing is looked for."""
_OPEN, _CLOSE = "([{", ")]}"


def found(text: str, pattern: str) -> Iterator[re.Match[str]]:
    """Matches that do not begin within a literal."""
    for match in re.finditer(f"(?:{_SKIPPED.pattern})|(?P<found>{pattern})", text):
        if match["found"] is not None:
            yield match


def closing(text: str, at: int) -> int:
    """Past the bracket that closes the one at `at`. Raises ValueError where none does."""
    depth = 0
    for match in re.finditer(f"{_SKIPPED.pattern}|[][(){{}}]", text[at:]):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        if depth == 0:
            return at + match.end()
    raise ValueError("a bracket is never closed")


def split(text: str, separator: str) -> list[str]:
    """At separators that are in no bracket and no literal."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(f"{_SKIPPED.pattern}|[][(){{}}]|{re.escape(separator)}", text):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        if match[0] == separator and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def line_number(text: str, at: int) -> int:
    """Of a place in preprocessed text, as the preprocessor's line markers count."""
    line = 1
    for part in text[:at].split("\n"):
        marker = re.match(r'# (\d+) "', part)
        line = int(marker[1]) if marker else line + 1
    return line - 1
