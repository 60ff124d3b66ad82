"""Measuring candidates on this machine, within a time budget, and remembering what was found."""

from __future__ import annotations
