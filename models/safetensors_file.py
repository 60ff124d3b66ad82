"""Reading a safetensors file: a JSON header and the bytes of the tensors, mapped, not copied.

Run time needs reading only, which is this page; the safetensors package checks it in the tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1"}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, read-only views of the mapped file. Raises ValueError if the file is damaged."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int(data[:8].view("<u8")[0])
    if start > data.size:
        raise ValueError(f"{path.name} is cut short: its header ends at {start}, the file at {data.size}")
    header = json.loads(data[8:start].tobytes())
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in _DTYPES or not 0 <= begin <= end <= data.size - start:
            raise ValueError(f"{path.name}: tensor {name} is damaged or of a dtype not known: {entry}")
        arrays[name] = data[start + begin : start + end].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays
