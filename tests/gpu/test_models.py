"""Models of the zoo, whole, on the GPU of this host, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

import dsc.models as zoo
from dsc.bench import interleave, module_contender
from dsc.check.reference import Reference
from dsc.cli.kernels import estimated
from dsc.codegen.compiled import CompiledModel
from dsc.pipeline import compile_model
from tests.gpu.device import RealDevice
from tests.simulated.zoo import BARS
from tests.ten_models import CLASSIFIERS, TEN_MODELS

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", TEN_MODELS)
def test_a_model_computes_what_onnx_runtime_does(
    name: str, precision: str, device: RealDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says how long it takes, beside its estimate."""
    path, feeds = zoo.fetch(name), zoo.inputs(name)
    shapes: dict[str, list[int | str]] = {spec.name: list(spec.pinned) for spec in zoo.recipe(name).inputs}
    model = compile_model(path, target=device.target, shapes=shapes, precision=precision).model
    module = model.load()
    found, expected = module.run(feeds), Reference(path).run(feeds)
    for output, wanted in expected.items():
        assert np.abs(found[output] - wanted).max() <= BARS[precision] * np.abs(wanted).max(), output
        if name in CLASSIFIERS:
            assert (found[output].argmax(-1) == wanted.argmax(-1)).all()
    timing = interleave({"dsc": module_contender(module, feeds)}, rounds=3)["dsc"]
    slowest = _slowest(model, module.profile(feeds))
    with capsys.disabled():
        print(f"\n{name}, {precision}: {timing.median * 1e3:.3f} ms with copies of inputs and outputs; {slowest}")


def _slowest(model: CompiledModel, profile: list[tuple[str, float]]) -> str:
    """The estimate of the model, and the kernels that are furthest above theirs."""
    estimates = {choice.function: choice.estimate for choice in model.choices}
    beyond = sorted(((seconds / estimates[name], name) for name, seconds in profile if name in estimates), reverse=True)
    far = ", ".join(f"{name} x{times:.1f}" for times, name in beyond[:5])
    total = estimated([{**vars(choice), "bound": choice.bound and vars(choice.bound)} for choice in model.choices])
    return f"{total}; furthest above their estimates, each waited for: {far}"
