"""Files that dsc writes: whole or not at all, never over something it does not own, nothing left behind."""

from __future__ import annotations

from dsc.files.append import append
from dsc.files.cache import cache_dir, made_once
from dsc.files.destination import Destination, check_writable, destination, is_stream
from dsc.files.folder import writing_folder
from dsc.files.scratch import collect_temporary, discard_all, scratch, scratch_file, scratch_folder, temporary_trouble
from dsc.files.writing import writing

__all__ = [
    "Destination",
    "append",
    "cache_dir",
    "check_writable",
    "collect_temporary",
    "destination",
    "discard_all",
    "is_stream",
    "made_once",
    "scratch",
    "scratch_file",
    "scratch_folder",
    "temporary_trouble",
    "writing",
    "writing_folder",
]
