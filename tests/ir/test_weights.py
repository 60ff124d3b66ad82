from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import DscError, UnsupportedModelError
from dsc.ir import WeightStore


def test_arrays_are_neither_copied_nor_writeable():
    store, array = WeightStore(), np.arange(100, dtype=np.float32)
    found = store.get(store.add(array, "w"))
    assert np.shares_memory(found, array)
    assert not found.flags.writeable
    assert array.flags.writeable, "the caller's own array is as it was"


def test_the_same_content_is_one_entry():
    store = WeightStore()
    first = store.add(np.arange(9, dtype=np.float32), "a")
    assert store.add(np.arange(9, dtype=np.float32), "b") == first
    assert store.add(np.arange(9, dtype=np.int32), "a") == "a.1", "another dtype is other content"
    assert store.add(np.arange(9, dtype=np.float32).reshape(3, 3), "a") == "a.2"
    assert len(store) == 3


def test_files_are_mapped_at_any_offset(tmp_path):
    data = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    path = tmp_path / "model.data"
    path.write_bytes(b"abc" + data.tobytes())
    store = WeightStore()
    store.map("w", path, np.float32, (5, 10), offset=3)
    assert store.shape("w") == (5, 10)
    assert (store.get("w") == data.reshape(5, 10)).all()
    assert not store.get("w").flags.owndata
    assert store.get("w") is store.get("w")
    assert store.nbytes("w") == 200


def test_a_file_that_is_too_short_is_refused(tmp_path):
    path = tmp_path / "model.data"
    path.write_bytes(bytes(10))
    with pytest.raises(UnsupportedModelError, match=r"weight w needs bytes 4 to 12 of .*model.data, which has 10"):
        WeightStore().map("w", path, np.float32, (2,), offset=4)


def test_loading_is_lazy_and_checked():
    store, calls = WeightStore(), []
    store.put("w", np.float32, (2,), lambda: calls.append(1) or np.zeros(2, np.float32))
    store.put("wrong", np.float32, (2,), lambda: np.zeros(3, np.float32))
    assert not calls
    store.get("w")
    store.get("w")
    assert calls == [1]
    with pytest.raises(UnsupportedModelError, match=r"weight wrong is float32\[3\], but was declared as float32\[2\]"):
        store.get("wrong")
    with pytest.raises(DscError, match="no weight 'none'"):
        store.get("none")


def test_hashes_tell_content_dtype_and_shape():
    store = WeightStore()
    names = [store.add(a, "w") for a in (np.zeros(4, np.float32), np.zeros(4, np.int32), np.zeros((2, 2), np.float32))]
    assert len({store.hash(n) for n in names}) == 3
    assert store.hash(names[0]) == store.hash(names[0])
    strings = store.add(np.array(["a", "b"], np.object_), "s")
    assert store.find(np.array(["a", "b"], np.object_)) == strings
    assert store.find(np.array(["a", "c"], np.object_)) is None
