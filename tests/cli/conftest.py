"""Running the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from onnx import TensorProto

from dsc.cli.app import app


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def failed(self, code: int) -> str:
        """The one message of a command that failed as it should; asserts that it did."""
        assert self.code == code, self
        assert "Traceback" not in self.err + self.out
        assert self.err.startswith("dsc: error: "), self.err
        assert self.err.count("dsc: error: ") == 1
        return self.err.removeprefix("dsc: error: ").strip()


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Call `cli("compile", "model.onnx", ...)`."""
    monkeypatch.delenv("DSC_DEBUG", raising=False)

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = 0
        try:
            app([str(word) for word in words], prog_name="dsc")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


def small_model() -> onnx.ModelProto:
    """x (n, 3, 16, 16) -> Conv, Relu -> GlobalAveragePool -> Gemm -> y (n, 5)."""
    random = np.random.default_rng(7)
    arrays = {
        "conv.w": random.standard_normal((16, 3, 3, 3)),
        "conv.b": random.standard_normal(16),
        "fc.w": random.standard_normal((5, 16)),
        "fc.b": random.standard_normal(5),
    }
    weights = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "conv.w", "conv.b"], ["c"], name="/conv", pads=[1, 1, 1, 1]),
        make("Relu", ["c"], ["r"], name="/relu"),
        make("GlobalAveragePool", ["r"], ["p"], name="/pool"),
        make("Flatten", ["p"], ["f"], name="/flatten"),
        make("Gemm", ["f", "fc.w", "fc.b"], ["y"], name="/fc", transB=1),
    ]
    x = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])
    y = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    graph = onnx.helper.make_graph(nodes, "small", [x], [y], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier as an ONNX file."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(small_model(), path)
    return path


@pytest.fixture(scope="session")
def artifact(model: Path) -> Path:
    """The same, compiled."""
    from dsc.pipeline import compile_model

    path = model.with_suffix(".dsc")
    compile_model(model).model.write(path)
    return path
