"""Each case in a process of its own: a crash or a hang ends no other."""

from __future__ import annotations

import json
import multiprocessing
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.exports.architectures import Architecture
from tests.exports.inputs import Input
from tests.exports.outcome import Outcome

EXPORTERS = ("torchscript", "dynamo")
"""torch.onnx.export with dynamo=False and dynamo=True."""
_CONTEXT = multiprocessing.get_context("forkserver")
# the imports take longer than most exports
_CONTEXT.set_forkserver_preload(["tests.exports.export", "tests.exports.compare"])


@dataclass(frozen=True, eq=False)
class Case:
    """One architecture by one exporter."""

    architecture: Architecture
    exporter: str
    folder: Path
    level: int
    again: bool
    """Whether to export what is in the folder already."""
    limit: float
    """Seconds for the export, and for the comparison."""

    @property
    def name(self) -> str:
        """For the report."""
        return f"{self.architecture.name}.{self.exporter}"

    @property
    def path(self) -> Path:
        """Of the ONNX file."""
        return self.folder / f"{self.name}.onnx"


def run_apart(case: Case) -> Outcome:
    """The outcome of one case; a crash or a hang is its own only."""
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_run, args=(case, sender))
    process.start()
    sender.close()
    last = Outcome("export", f"ended without a result or took more than {case.limit} s")
    for outcome in _received(receiver, case.limit):
        last = outcome
    process.join(1)
    if process.is_alive():
        process.kill()
        process.join()
    return last


def _received(receiver: Connection, limit: float) -> Iterator[Outcome]:
    """Outcomes, the later the better, until the process ends or the time is over."""
    while receiver.poll(limit):
        try:
            yield receiver.recv()
        except EOFError:
            return


def _run(case: Case, sender: Connection) -> None:
    from tests.exports.compare import compare

    description = case.path.with_suffix(".json")
    if case.again or not description.exists():
        try:
            from tests.exports.export import export

            inputs = export(case.architecture, case.exporter, case.path)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            lines = str(error).strip().splitlines() or [""]
            where = f"{Path(place.filename).name}:{place.lineno}"
            sender.send(Outcome("export", f"{type(error).__name__}: {lines[0]}"[:300] + f" ({where})"))
            return
        description.write_text(json.dumps([asdict(given) for given in inputs]))
    inputs = [Input(**{**given, "dims": tuple(given["dims"])}) for given in json.loads(description.read_text())]
    sender.send(Outcome("error", "the process died while compiling or running, or took too long"))
    try:
        sender.send(compare(case.path, inputs, case.level))
    except BaseException as error:
        sender.send(Outcome("error", "".join(traceback.format_exception_only(error)).strip()[-400:]))
