"""Pruning a model: to a sparsity, or to as much as an accuracy allows."""

from __future__ import annotations

from collections.abc import Iterable

from dsc.errors import BudgetError
from dsc.exchange import ModelSource
from dsc.prune.channels.work import ChannelWork
from dsc.prune.judge import Evaluate, Judge
from dsc.prune.plan import Work
from dsc.prune.policy import SparsityPolicy
from dsc.prune.pruned import Accuracy, Made, Pruned, Report, Speed
from dsc.prune.request import CHANNELS, ChannelRequest, PatternRequest, checked_request
from dsc.prune.search import Search
from dsc.prune.speed.budget import made_faster
from dsc.prune.speed.draft import Drafting
from dsc.prune.work import PatternWork
from dsc.quantize.calibration import Feed
from dsc.quantize.prepare import prepare
from dsc.quantize.session import output_decibels, runner
from dsc.quantize.work import Progress
from dsc.targets.registry import NATIVE

_SHOWN = 32
"""Samples on which outputs are compared."""


def prune(
    model: ModelSource,
    calibration: Iterable[Feed] | None = None,
    *,
    sparsity: float | None = None,
    pattern: str = "unstructured",
    method: str | None = None,
    multiple: int | None = None,
    policy: SparsityPolicy | None = None,
    evaluate: Evaluate | None = None,
    max_accuracy_drop: float | None = None,
    speedup: float | None = None,
    target: str | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """Make zeros of a model's weights where outputs suffer least, or remove channels.

    calibration: inputs by name, as they are in use; kept in memory. sparsity: the share of zeros in the weights of all
    layers that are not the policy's; of weights that go. pattern: as `dsc.sparsity.Pattern` writes it; "2:4" has a
    sparsity of its own; "channels" makes a smaller model. method: one of `METHODS` (of `CHANNEL_METHODS`): "admm"
    ("obs") with data, "magnitude" without, if None. multiple: of channels, what divides the number that stays, 8 if
    None. policy: sparsities of single layers. evaluate: how good a model is. max_accuracy_drop: how much of that may be
    lost: without a sparsity, the largest that keeps to it is found (of patterns with their own: as few dense layers as
    keep to it). speedup: how many times as fast the compiled model is to be as the float one, where it loses the least
    for it. target: the machine for that; the one that is here, if None, where it is measured too.
    Raises UsageError for data the model does not take, unknown names, and arguments of no effect; BudgetError where the
    sparsity, the accuracy or the speed is not reached, with the best that is; UnsupportedModelError where there is
    nothing to prune.
    """
    request = checked_request(
        pattern, sparsity, method, multiple,
        has_data=calibration is not None, has_judge=evaluate is not None, drop=max_accuracy_drop,
        speedup=speedup, target=target,
    )  # fmt: skip
    prepared = prepare(model, 0, folds_norms=False)
    arguments = prepared, policy or SparsityPolicy(), calibration or (), progress or _silent
    work: Drafting = (
        ChannelWork(request, *arguments) if isinstance(request, ChannelRequest) else PatternWork(request, *arguments)
    )
    judge = None if evaluate is None else Judge(evaluate, prepared)
    if judge is None or max_accuracy_drop is None:
        made, speed = (work.asked().make(), None) if speedup is None else made_faster(work, speedup, target or NATIVE)
        accuracy = None if judge is None else judge.accuracy(judge.scores(made.model), decided=False)
        return _pruned(work, request, made, accuracy, speed)
    if sparsity is not None:
        return _checked(work, request, judge, max_accuracy_drop)
    search = Search(judge, max_accuracy_drop)
    search.sparsest(work.plans())
    return _pruned(work, request, *search.best)


def _checked(work: Work, request: PatternRequest | ChannelRequest, judge: Judge, drop: float) -> Pruned:
    """The model of the sparsity asked for. Raises BudgetError, with the largest that keeps to the drop."""
    wanted, search = work.asked(), Search(judge, drop)
    if search.will_do(wanted):
        return _pruned(work, request, *search.best)
    found = search.loss(wanted)
    try:
        plan = search.sparsest(work.plans())
    except BudgetError:
        instead = "no sparsity that was tried keeps to it"
    else:
        instead = f"{plan.title} keeps to it"
    raise BudgetError(
        f"no more than {drop:g} may be lost of {judge.base.mean:.4f}: at {wanted.title} it is "
        f"{found:.4f}; {instead}, the best of {judge.evaluations - 1} evaluations"
    )


def _pruned(
    work: Work,
    request: PatternRequest | ChannelRequest,
    made: Made,
    accuracy: Accuracy | None,
    speed: Speed | None = None,
) -> Pruned:
    samples = work.samples[:_SHOWN]
    snr = output_decibels(runner(work.float_model), runner(made.model), samples) if samples else None
    pattern = CHANNELS if isinstance(request, ChannelRequest) else str(request.pattern)
    return Pruned(made.model, Report(made.layers, snr, accuracy, pattern, request.method, speed, len(work.samples)))


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""
