"""The example of docs/bundle.md, as a reader compiles it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

from dsc.targets.cpu.link import HOST
from tests.bundle.bundles import bundle, compile_to
from tests.compiled import TextModel

PAGE = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text()
MODEL = TextModel("(float[n,3] x) => (float[n,2] y) { y = MatMul(x, w) }", {"w": np.float32([[1, 2], [3, 4], [5, 6]])})


def test_the_example_runs(tmp_path: Path) -> None:
    """Beside a bundle, by the command of the page."""
    (source,) = re.findall(r"^```c\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.c").write_text(source)
    bundle(compile_to(tmp_path / "model.dsc", MODEL.proto()), tmp_path / "model")
    (command,) = re.findall(r"^cc example\.c.*$", PAGE, re.MULTILINE)
    command = command.replace("cc ", f"{HOST.find()} -std=c11 -Wall -Wextra -Werror ", 1)
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "2 x 2, the first number is 22",
        "input x: float32[n, 3]: dim 1 must be 3, was given dims [2, 4]",
    ]
