"""bfloat16 from end to end: inputs, outputs and constants, in files of numpy, which does not know the type."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

import dsc
from tests.cli.conftest import Cli
from tests.compiled import TextModel

BF16 = np.dtype(ml_dtypes.bfloat16)
RANDOM = np.random.default_rng(31)
W, TABLE = RANDOM.standard_normal((13, 6)).astype(BF16), RANDOM.standard_normal((3, 2)).astype(BF16)
MODEL = TextModel(
    """(bfloat16[n,13] x, bfloat16[1] s) => (bfloat16[n,6] y, bfloat16[3,2] table, float[n,6] wide) {
        m = MatMul(x, w)  y = Mul(m, s)  table = Identity(t)  wide = Cast<to=1>(y)
    }""",
    {"w": W, "t": TABLE},
    22,
)
X, S = RANDOM.standard_normal((5, 13)).astype(BF16), np.array([-1.5], BF16)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(MODEL.proto(), "m.onnx")
    np.savez("both.npz", x=X, s=S)
    np.save("x.npy", X)
    np.savez("float.npz", x=X.astype(np.float32), s=S)
    return tmp_path


def check(found: dict[str, np.ndarray]) -> None:
    exact = X.astype(np.float64) @ W.astype(np.float64) * -1.5
    y, table = (found[name].view(BF16).astype(np.float64) for name in ("y", "table"))
    np.testing.assert_allclose(y, exact, rtol=2.0**-8, atol=1e-6)  # rounded once
    np.testing.assert_array_equal(table, TABLE.astype(np.float64))
    assert found["wide"].dtype == np.float32
    np.testing.assert_allclose(found["wide"], exact, rtol=2.0**-8, atol=1e-6)


def test_through_the_command_line(cli: Cli, work: Path) -> None:
    assert cli("compile", "m.onnx", "-o", "m.dsc").code == 0
    assert cli("run", "m.dsc", "-i", "both.npz", "-o", "y.npz").code == 0
    with np.load("y.npz") as found:
        check(dict(found))
    assert cli("run", "m.dsc", "-i", "x=x.npy", "-i", "both.npz", "-o", "again.npz").code == 0
    assert Path("again.npz").read_bytes() == Path("y.npz").read_bytes()
    assert "bfloat16[n, 13]" in cli("inspect", "m.dsc").out
    assert "x: bfloat16[n, 13] was given float32" in cli("run", "m.dsc", "-i", "float.npz").failed(2)
    for words in (("--samples", "2"), ("-i", "both.npz")):
        verified = cli("verify", "m.onnx", "--module", "m.dsc", *words)
        assert verified.code == 0, verified
        assert "y, bfloat16[" in verified.out
    module = dsc.load("m.dsc", threads=1)
    found = module.run({"x": X, "s": S})
    assert {name: array.dtype.name for name, array in found.items()} == {
        "y": "bfloat16", "table": "bfloat16", "wide": "float32",
    }  # fmt: skip
    check(found)
