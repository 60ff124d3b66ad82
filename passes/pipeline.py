"""Pipelines: passes in order, from Python or text, verified after each, and watched by observers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from dsc.errors import UsageError
from dsc.files import writing
from dsc.ir import Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.registry import pass_class

Observer = Callable[[int, Pass, Graph, PassRecord], None]
"""Called after each pass with its index, itself, the graph as it is now, and its record. Raises to stop."""


@dataclass(frozen=True)
class Pipeline:
    """Passes that run one after the other. `Pipeline.parse(str(p)) == p`."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """The pipeline of a text such as "canonicalize,fuse{max-epilogue=8},layout".

        Raises UsageError for text that is not a pipeline, passes that are not there, and options they do not
        have.
        """
        try:
            specs = list(parse_pipeline(text))
        except ArgSpecParseError as error:
            raise UsageError(
                f"{text!r} is not a pipeline such as 'canonicalize,fuse{{max-epilogue=8}}': {error}"
            ) from error
        return cls(tuple(_build(spec) for spec in specs))

    def run(self, graph: Graph, observers: Sequence[Observer] = (), *, verify: bool = True) -> list[PassRecord]:
        """Run the passes on the graph, in place, and return their records."""
        records: list[PassRecord] = []
        for index, pass_ in enumerate(self.passes):
            records.append(pass_.run(graph, verify=verify))
            for observer in observers:
                observer(index, pass_, graph, records[-1])
        return records

    def upto(self, kind: type[Pass]) -> Pipeline:
        """The passes up to the first one of a kind, which is the last of them."""
        last = next(index for index, pass_ in enumerate(self.passes) if isinstance(pass_, kind))
        return Pipeline(self.passes[: last + 1])

    def __str__(self) -> str:
        return ",".join(str(p) for p in self.passes)


def _build(spec: ArgSpec) -> Pass:
    cls = pass_class(spec.name)
    try:
        return cls.from_spec(spec)
    except (ValueError, TypeError) as error:
        options = ", ".join(f"{f.name.replace('_', '-')}: {f.type}" for f in fields(cls)) or "none"
        raise UsageError(f"pass {spec}: {error}; the options of {spec.name} are {options}") from error


def print_after(names: Iterable[str], stream: TextIO | None = None) -> Observer:
    """An observer that prints the IR after each pass of these names."""
    wanted = set(names)

    def observe(index: int, pass_: Pass, graph: Graph, record: PassRecord) -> None:
        if pass_.name in wanted:
            print(f"// IR after {pass_}\n{graph.text()}", file=stream or sys.stderr)

    return observe


def dump_phases(directory: Path) -> Observer:
    """An observer that writes the IR after each pass to `directory/01-canonicalize.mlir` and so on."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {directory} cannot be made: {error.strerror}") from error

    def observe(index: int, pass_: Pass, graph: Graph, record: PassRecord) -> None:
        with writing(directory / f"{index + 1:02d}-{pass_.name}.mlir") as file:
            file.write(graph.text().encode())

    return observe
