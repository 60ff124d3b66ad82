"""The chooser of -O3: the best few candidates of each workload by estimate, then by measurement."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import zip_longest

from dsc.codegen import Candidate
from dsc.errors import ArtifactError, UsageError
from dsc.host import cache_sizes, processor, usable_cores
from dsc.lower.workload import Workload
from dsc.runtime.devices import Device, needed_device
from dsc.targets import AnyTarget
from dsc.tune.database import Database, Record
from dsc.tune.measure import measure

_LOG = logging.getLogger(__name__)
_FINALISTS = 8
"""Candidates measured of one workload: estimates rarely rank the best one lower."""
_HOPELESS = 4.0
"""Times the best estimate: estimates are not that wrong, and slow candidates take long to measure."""
_SHARE = 0.1
"""Of the time that is left, what one workload may take: all get some, however many follow."""


class Tuner:
    """A `Chooser` that measures on this host within a time budget, and remembers in a database."""

    def __init__(self, target: AnyTarget, seconds: float, database: Database) -> None:
        """`seconds` for all workloads together. Raises UsageError if this host cannot run the target's code."""
        self._target, self._database = target, database
        self._device = _device(target)
        self._deadline = time.monotonic() + seconds
        self._identity = _identity(target)
        self.measured = 0
        """Candidates measured by this tuner, those known from the database not counted."""

    def __call__(self, workload: Workload, candidates: Sequence[Candidate]) -> Candidate:
        """The fastest candidate as far as known: measured now or before, else by estimate."""
        if len(candidates) == 1:
            return candidates[0]
        key = hashlib.blake2b(workload.key().encode(), digest_size=16).hexdigest()
        known = {(r.kernel, r.point): r.seconds for r in self._database.lookup(key, self._identity)}
        finalists = _finalists(candidates)
        pending = [c for c in finalists if _name(c) not in known]
        found = self._measure(key, pending, workload.expected_zeros)
        self._database.add(found)
        known.update({(r.kernel, r.point): r.seconds for r in found})
        timed = [c for c in candidates if _name(c) in known]
        return min(timed, key=lambda c: known[_name(c)]) if timed else candidates[0]

    def _measure(self, key: str, pending: Sequence[Candidate], zeros: float) -> list[Record]:
        stop = time.monotonic() + _SHARE * (self._deadline - time.monotonic())
        records = []
        for candidate in pending:
            if time.monotonic() >= stop:
                break
            try:
                seconds = measure(candidate.build(), self._target, self._device, zeros=zeros)
            except Exception as error:  # it is not taken; code generation says more where it is needed
                _LOG.warning("kernel %s %s cannot be measured: %s", *_name(candidate), error)
                continue
            records.append(Record(key, self._identity, *_name(candidate), seconds))
            self.measured += 1
        return records


def _finalists(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The best by estimate, each kernel's best first: estimates compare points of one kernel better than kernels."""
    by_kernel: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.estimate <= _HOPELESS * candidates[0].estimate:
            by_kernel.setdefault(candidate.kernel.name, []).append(candidate)
    rounds = zip_longest(*by_kernel.values())
    return [c for group in rounds for c in group if c is not None][:_FINALISTS]


def _name(candidate: Candidate) -> tuple[str, str]:
    return candidate.kernel.name, repr(candidate.point)


def _device(target: AnyTarget) -> Device:
    """What runs the target's code here."""
    try:
        return needed_device(target.backend().needs, target.name, "code")
    except ArtifactError as error:
        raise UsageError(
            f"-O3 measures on this machine, which cannot run code for {target.name}: {error}; compile with -O2 or on "
            "such a machine"
        ) from error


def _identity(target: AnyTarget) -> str:
    """All that a time depends on besides the candidate: what was compiled for, and what it ran on."""
    versions = " ".join(f"{package}-{version(package)}" for package in ("dsc", "apache-tvm"))
    caches = "/".join(f"{size >> 10}K" for _, size in sorted(cache_sizes().items()))
    host = f"{processor()}, caches {caches}, {usable_cores()} threads"
    return f"{target.machine.describe()} on {host}; {versions}"
