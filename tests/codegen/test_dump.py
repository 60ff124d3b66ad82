"""The code of each kernel in files, from its schedule to its assembly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.pipeline import compile_model
from tests.compiled import TextModel

WEIGHT = np.random.default_rng(0).standard_normal((24, 32)).astype(np.float32)
MODEL = TextModel("(float[9,24] x) => (float[9,32] y) { p = MatMul(x, w) y = Relu(p) }", {"w": WEIGHT})


def test_each_kernel_has_its_tir_and_its_assembly(tmp_path: Path) -> None:
    compilation = compile_model(MODEL.proto(), target="x86:haswell", dump=tmp_path)
    (choice,) = compilation.model.choices
    files = {path.name for path in (tmp_path / "kernels").iterdir()}
    assert {f"{choice.function}.{kind}" for kind in ("tir", "lowered.tir", "s")} <= files
    folder = tmp_path / "kernels"
    scheduled, lowered = ((folder / f"{choice.function}.{kind}").read_text() for kind in ("tir", "lowered.tir"))
    assert "in0: T.Buffer((9, 24)" in scheduled  # as the kernel wrote it
    assert "args: T.handle" in lowered  # as code is generated from it
    assert "vfmadd" in (folder / f"{choice.function}.s").read_text()
    assert compilation.model.library == compile_model(MODEL.proto(), target="x86:haswell").model.library


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="kernels cannot be made"):
        compile_model(MODEL.proto(), dump=tmp_path / "file")
