"""The readers of weight files: right on what they know, and refusing the rest."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from dsc.models import pickles
from dsc.models.pickles import numpy_pickle, torch_pickle
from dsc.models.safetensors_file import read_safetensors
from dsc.models.weights import Checkpoint


def test_safetensors_reads_what_the_package_writes(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    arrays = {
        "a.weight": random.standard_normal((3, 5), np.float32),
        "half": random.standard_normal(7).astype(np.float16),
        "count": np.array(4, np.int64),
    }
    save_file(arrays, tmp_path / "w.safetensors", metadata={"format": "np"})
    found = read_safetensors(tmp_path / "w.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_safetensors_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": np.arange(100, dtype=np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"w\.safetensors: tensor x is damaged"):
        read_safetensors(path)
    path.write_bytes(path.read_bytes()[:12])
    with pytest.raises(ValueError, match="cut short"):
        read_safetensors(path)


def test_numpy_pickle(tmp_path: Path) -> None:
    weights = {"conv1": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([1, 2])]}
    # protocol 3 and the module's old name, as the file of the zoo has it
    data = pickle.dumps(weights, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "w.pkl").write_bytes(data)
    kernel, bias = numpy_pickle(tmp_path / "w.pkl")["conv1"]
    np.testing.assert_array_equal(kernel, weights["conv1"][0])
    np.testing.assert_array_equal(bias, weights["conv1"][1])


@pytest.mark.parametrize("read", [numpy_pickle, torch_pickle])
def test_pickles_run_nothing(tmp_path: Path, read: object) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(pickle.UnpicklingError, match=r"asks for (os|posix)\.system"):
        read(path)  # type: ignore[operator]
    assert not (tmp_path / "ran").exists()


class _Storage:
    """Pickles as torch's legacy format has it: a persistent id."""

    def __init__(self, key: str) -> None:
        self.key = key


class FloatStorage:
    """Stands for torch.FloatStorage."""


def _rebuild_tensor_v2(*_: object) -> None:
    """Stands for torch._utils._rebuild_tensor_v2."""


class _Tensor:
    def __init__(self, key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (_Storage(key), offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _rebuild_tensor_v2, self.arguments


class _TorchPickler(pickle._Pickler):
    def persistent_id(self, thing: object) -> object:
        return ("storage", FloatStorage, thing.key, "cpu", 12, None) if isinstance(thing, _Storage) else None

    def save_global(self, thing: object, name: str | None = None) -> None:
        module = {FloatStorage: b"torch", _rebuild_tensor_v2: b"torch._utils"}.get(thing)  # type: ignore[call-overload]
        if module is None:
            super().save_global(thing, name)
        else:
            self.write(pickle.GLOBAL + module + b"\n" + thing.__name__.encode() + b"\n")  # type: ignore[attr-defined]
            self.memoize(thing)

    dispatch: ClassVar = {
        **pickle._Pickler.dispatch,
        type: save_global,
        type(_rebuild_tensor_v2): save_global,
    }


def _write_torch(path: Path, tensors: dict[str, _Tensor], storage: np.ndarray) -> None:
    with path.open("wb") as stream:
        for head in (pickles._TORCH_MAGIC, 1001, {"little_endian": True}):
            pickle.dump(head, stream, protocol=2)
        _TorchPickler(stream, protocol=2).dump(OrderedDict(tensors))
        pickle.dump(["k"], stream, protocol=2)
        stream.write(np.int64(storage.size).tobytes() + storage.tobytes())


def test_torch_pickle_honours_strides_and_offsets(tmp_path: Path) -> None:
    storage = np.random.default_rng(2).standard_normal(12).astype(np.float32)
    tensors = {
        "plain": _Tensor("k", 0, (3, 4), (4, 1)),
        "transposed": _Tensor("k", 0, (4, 3), (1, 4)),
        "tail": _Tensor("k", 8, (4,), (1,)),
    }
    _write_torch(tmp_path / "w.pth", tensors, storage)
    found = torch_pickle(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["plain"], storage.reshape(3, 4))
    np.testing.assert_array_equal(found["transposed"], storage.reshape(3, 4).T)
    np.testing.assert_array_equal(found["tail"], storage[8:])


def test_torch_pickle_refuses_views_outside_their_storage(tmp_path: Path) -> None:
    _write_torch(tmp_path / "w.pth", {"x": _Tensor("k", 8, (5,), (1,))}, np.zeros(12, np.float32))
    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        torch_pickle(tmp_path / "w.pth")


def test_checkpoint_names_what_is_missing() -> None:
    weights = Checkpoint({"fc.weight": np.ones((2, 3), np.float32)})
    with pytest.raises(ValueError, match=r"no parameter fc\.bias"):
        weights("fc.bias", 2)
    with pytest.raises(ValueError, match=r"fc\.weight is \(2, 3\) in the checkpoint, expected \(3, 2\)"):
        weights("fc.weight", 3, 2)
