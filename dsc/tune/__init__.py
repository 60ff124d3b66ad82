"""Measuring candidates on this machine, within a time budget, and remembering what was found."""

from __future__ import annotations

from dsc.tune.database import Database, Record
from dsc.tune.measure import measure
from dsc.tune.tuner import Tuner

__all__ = ["Database", "Record", "Tuner", "measure"]
