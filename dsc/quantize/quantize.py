"""Quantizing a model: a scheme, and as many layers in float as an accuracy asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from dsc.errors import BudgetError, UsageError
from dsc.exchange import ModelSource
from dsc.quantize.calibration import Feed
from dsc.quantize.dynamic import DynamicWork
from dsc.quantize.evaluation import checked
from dsc.quantize.halves import HALVES, opset_of_halves
from dsc.quantize.kept_samples import KeptSamples
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import OPSET, prepare
from dsc.quantize.quantized import Accuracy, Quantized
from dsc.quantize.reduced.mixed import MixedWork
from dsc.quantize.reduced.work import ReducedWork
from dsc.quantize.scheme import StaticScheme
from dsc.quantize.search import Search
from dsc.quantize.session import Run, runner
from dsc.quantize.static import StaticWork
from dsc.quantize.weight_only import WeightOnlyWork
from dsc.quantize.work import Progress, Work
from dsc.targets import AnyTarget
from dsc.targets import target as named_target

Evaluate: TypeAlias = Callable[[Run], float]
"""Takes what runs a model, gives a number: larger is better, a share of 1 for an accuracy."""

SCHEMES = ("int8", "dynamic", "int8-weights", "int4-weights", *HALVES)
"""Static scales, ranges that each run finds, weights alone, half precision."""


def quantize(
    model: ModelSource,
    calibration: Iterable[Feed] | None = None,
    *,
    scheme: str = "int8",
    calibrator: str | None = None,
    policy: Policy | None = None,
    evaluate: Evaluate | None = None,
    max_accuracy_drop: float | None = None,
    target: str | AnyTarget | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Make a float model one of small integers, or of half precision.

    calibration: inputs by name, as they are in use; read once. "int8" needs them, weights alone are rounded better with
    them (by GPTQ), "bf16" and "fp16" find by them what leaves the range, "dynamic" takes none. scheme: one of
    `SCHEMES`. calibrator: of "int8", how ranges come from what is seen ("minmax"). policy: layers that stay in float,
    or are quantized whatever it costs; details of "int8". evaluate, max_accuracy_drop: as many of the most sensitive
    layers stay in float as it takes for `evaluate` to give no less than for the float model, less that. target: of
    "int8", layers that dsc computes more slowly in bytes on that machine stay in float.
    Raises UsageError for data the model does not take, unknown names, and arguments of no effect; BudgetError where the
    accuracy is not reached, with the best that was; UnsupportedModelError where there is nothing to quantize.
    """
    if max_accuracy_drop is not None:
        if evaluate is None:
            raise UsageError("an accuracy drop is allowed, and nothing says what the accuracy is: give an evaluation")
        if not 0 <= max_accuracy_drop < math.inf:
            raise UsageError(f"an accuracy drop of {max_accuracy_drop} was asked for; expected 0 or more")
    judge = None if evaluate is None else checked("the evaluation", evaluate)
    _check(scheme, calibration, calibrator, policy, target)
    tell = progress or _silent
    onto = named_target(target) if isinstance(target, str) else target
    work = _work(model, calibration, scheme, calibrator or "minmax", policy or Policy(), onto, tell)
    if judge is None:
        return work.result(0, None)
    tell("evaluate", 0, 0)
    base = judge(runner(work.float_model))
    if max_accuracy_drop is None:
        return work.result(0, Accuracy(base, judge(runner(work.model(0))), 1))
    return _within(work, judge, base, max_accuracy_drop)


def _work(
    model: ModelSource,
    calibration: Iterable[Feed] | None,
    scheme: str,
    calibrator: str,
    policy: Policy,
    target: AnyTarget | None,
    tell: Progress,
) -> Work:
    halves = {rule.keep for rule in policy.rules} & set(HALVES) | {scheme} & set(HALVES)
    prepared = prepare(model, max((opset_of_halves(HALVES[name], OPSET) for name in halves), default=OPSET))
    if scheme in HALVES:
        return ReducedWork(prepared, policy, scheme, calibration, tell)
    samples = KeptSamples(calibration) if halves and calibration is not None else None
    data = samples or calibration
    work: Work
    if scheme == "int8":
        assert data is not None  # it was checked
        work = static = StaticWork(prepared, policy, target, tell)
        static.look_at(data, calibrator)
    elif scheme == "dynamic":
        work = DynamicWork(prepared, policy)
    else:
        work = WeightOnlyWork(prepared, policy, 8 if scheme == "int8-weights" else 4, data)
    return MixedWork(work, policy, samples) if halves else work


def _within(work: Work, evaluate: Evaluate, base: float, drop: float) -> Quantized:
    """The model with the fewest layers in float that loses no more than `drop`."""
    search = Search(lambda count: evaluate(runner(work.model(count))), base - drop)
    something_else = bool(work.required)  # is quantized, if all of these stay in float
    count = search.fewest(work.open_layers - (not something_else))
    tried = len(search.tried)
    if count is None:
        best, found = search.best
        raise BudgetError(
            f"no more than {drop:g} may be lost of {base:.4f}: with {best} of {work.open_layers} layers in float it is "
            f"{found:.4f}, a loss of {base - found:.4f}, and that is the best of {tried} evaluations; allow a larger "
            f"drop, more calibration data, another calibrator, or float for {work.required or 'all layers'}"
        )
    return work.result(count, Accuracy(base, search.tried[count], tried))


def _check(
    scheme: str,
    calibration: object | None,
    calibrator: str | None,
    policy: Policy | None,
    target: object | None,
) -> None:
    """Raise UsageError for what a scheme needs and does not have, and for what it would ignore."""
    if scheme not in SCHEMES:
        raise UsageError(f"there is no scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    if scheme == "int8":
        if calibration is None:
            raise UsageError("scheme int8 has static scales, which calibration data gives: give some")
        return
    if scheme == "dynamic" and calibration is not None:
        raise UsageError("scheme dynamic finds ranges in each run: it takes no calibration data")
    details = None if policy is None or policy.scheme == StaticScheme() else policy.scheme
    for name, given in (("a calibrator", calibrator), ("a target", target), ("[scheme] of the policy", details)):
        if given is not None:
            raise UsageError(f"{name} is for scheme int8; this is {scheme}")


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""
