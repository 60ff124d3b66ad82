"""A speed that is asked for: on which machine, with which inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from dsc.check import random_inputs
from dsc.errors import UsageError
from dsc.exchange import import_model
from dsc.prune.pruned import Made, Speed
from dsc.prune.speed.draft import Drafting
from dsc.prune.speed.estimates import Estimates
from dsc.prune.speed.faster import Faster
from dsc.prune.speed.measured import Measured
from dsc.quantize.calibration import Feed
from dsc.request import check_runs_here
from dsc.targets import target as named_target


def made_faster(work: Drafting, speedup: float, target: str) -> tuple[Made, Speed]:
    """The model that is so many times as fast on a target as the float model, where it loses the least.

    It is measured where code for the target runs on this machine, on the first sample, or random inputs without any.
    Raises BudgetError where there is none, UsageError for a target that is none.
    """
    onto, inputs = named_target(target), _inputs(work.float_model, work.samples)
    estimates = Estimates(onto, {name: array.shape for name, array in inputs.items()})
    try:
        check_runs_here(onto, "a speedup")
    except UsageError:
        return Faster(work, estimates, None).made(speedup)
    return Faster(work, estimates, Measured(work.float_model, onto, inputs)).made(speedup)


def _inputs(model: onnx.ModelProto, samples: Sequence[Feed]) -> Mapping[str, np.ndarray]:
    return samples[0] if samples else random_inputs(import_model(model))
