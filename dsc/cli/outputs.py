"""What a verb is going to write: found fit before the work, and different from all that it reads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import check_writable, destination

_NO_MODELS = (".dsc", ".py", ".npy", ".npz", ".txt", ".png", ".jpg")
_DUMPED = re.compile(r"\d\d-.*\.mlir")
_KERNELS = "kernels"  # as dsc.codegen.dump names the folder
_BESIDE = ".data"  # dsc.exchange.save writes weights there that are too many for an ONNX file


def claim(
    outputs: Mapping[str, Path | None],
    reads: Sequence[str | Path | None],
    database: Path | None = None,
    dump: Path | None = None,
) -> None:
    """Make sure that every output can be written, and that none is another, or something that is read.

    outputs: by option; reads: models (their external data counts too), modules, inputs, plugins, whatever exists.
    database: read and appended to. dump: a folder in which phases are written. Files are the same if they are by
    any name: links, hard links, relative paths. Where an output goes to the standard output, what is printed for
    people goes to standard error. Raises UsageError.
    """
    wanted = {option: path for option, path in outputs.items() if path is not None}
    for path in wanted.values():
        check_writable(path)
    if dump is not None:
        _check_dump(dump, [*wanted.values(), *(Path(read) for read in reads if read is not None)])
    appended = {"--db": database} if database is not None else {}
    for (first, one), (second, other) in combinations({**wanted, **appended}.items(), 2):
        if _are_same(one, other) and not _is_device(one):
            raise UsageError(f"{first} {one} and {second} {other} are the same file: name two")
    for read in _files(reads):
        for option, path in _with_data_beside({**wanted, **appended}):
            if path.exists() and _are_same(path, read):
                raise UsageError(f"{option} {path} would overwrite {read}, which is read: name another file")
    if any(destination(path).stream == 1 for path in wanted.values()):
        sys.stdout = sys.stderr  # `guarded` undoes it


def _files(reads: Sequence[str | Path | None]) -> Iterator[Path]:
    """The files that are read, external data of models included."""
    for read in reads:
        if read is not None and (path := Path(read)).exists():
            yield path
            yield from _external_data(path)


def _external_data(path: Path) -> tuple[Path, ...]:
    from dsc.errors import DscError
    from dsc.exchange.read import read_model

    if path.suffix in _NO_MODELS:
        return ()
    try:
        return read_model(path).external
    except DscError:
        return ()  # no model, as the verb will say


def _with_data_beside(outputs: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for option, path in outputs.items():
        yield option, path
        if path.suffix == ".onnx":
            yield f"the weights of {option}", path.with_name(path.name + _BESIDE)


def _check_dump(dump: Path, others: Sequence[Path]) -> None:
    if dump.exists() and not dump.is_dir():
        raise UsageError(f"--dump-phases {dump} is not a folder")
    if dump.is_dir():
        check_writable(dump / "01-phase.mlir")
    for path in others:
        is_phase = _are_same(path.parent, dump) and _DUMPED.fullmatch(path.name)
        if _are_same(path, dump) or is_phase or _are_same(path.parent, dump / _KERNELS):
            raise UsageError(f"{path} is where --dump-phases {dump} writes: name another")


def _are_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _is_device(path: Path) -> bool:
    """Whether it takes what it is given without keeping it: /dev/null, a terminal that is not our output."""
    return path.is_char_device() and not isinstance(destination(path).stream, int)
