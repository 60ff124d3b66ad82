"""Pruning a model: to a sparsity, or to as much as an accuracy allows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from dsc.errors import BudgetError
from dsc.exchange import ModelSource
from dsc.prune.judge import Evaluate, Judge
from dsc.prune.policy import SparsityPolicy
from dsc.prune.pruned import Accuracy, Pruned, Report
from dsc.prune.request import Request, checked_request
from dsc.prune.search import Plan, Search
from dsc.prune.work import Made, Work
from dsc.quantize.calibration import Feed
from dsc.quantize.prepare import prepare
from dsc.quantize.session import output_decibels, runner
from dsc.quantize.work import Progress

_STEPS = 20
"""Sparsities that are tried under a budget: multiples of 1 by this."""
_SHOWN = 32
"""Samples on which outputs are compared."""


def prune(
    model: ModelSource,
    calibration: Iterable[Feed] | None = None,
    *,
    sparsity: float | None = None,
    pattern: str = "unstructured",
    method: str | None = None,
    policy: SparsityPolicy | None = None,
    evaluate: Evaluate | None = None,
    max_accuracy_drop: float | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """Make zeros of a model's weights where outputs suffer least.

    calibration: inputs by name, as they are in use; kept in memory. sparsity: the share of zeros in the weights of all
    layers that are not the policy's. pattern: as `dsc.sparsity.Pattern` writes it; "2:4" has a sparsity of its own.
    method: one of `METHODS`: "admm" with data, "magnitude" without, if None. policy: sparsities of single layers.
    evaluate: how good a model is. max_accuracy_drop: how much of that may be lost: without a sparsity, the largest that
    keeps to it is found (of patterns with their own: as few dense layers as keep to it).
    Raises UsageError for data the model does not take, unknown names, and arguments of no effect; BudgetError where the
    accuracy is not reached, with the best that was; UnsupportedModelError where there is nothing to prune.
    """
    request = checked_request(
        pattern, sparsity, method, calibration is not None, evaluate is not None, max_accuracy_drop
    )
    prepared = prepare(model, 0, folds_norms=False)
    work = Work(prepared, request, policy or SparsityPolicy(), calibration or (), progress or _silent)
    judge = None if evaluate is None else Judge(evaluate, prepared)
    if judge is None or max_accuracy_drop is None:
        made = work.made(_asked(work, request))
        accuracy = None if judge is None else judge.accuracy(judge.scores(made.model), decided=False)
        return _pruned(work, request, made, accuracy)
    if sparsity is not None:
        return _checked(work, request, judge, max_accuracy_drop)
    search = Search(work, judge, max_accuracy_drop)
    search.sparsest(_plans(work, request))
    return _pruned(work, request, *search.best)


def _asked(work: Work, request: Request) -> dict[str, float]:
    return work.fixed_densities(0) if request.sparsity is None else work.densities(request.sparsity)


def _plans(work: Work, request: Request) -> list[Plan]:
    """The sparsest first."""
    if request.fixed is not None:
        return [
            Plan(f"{dense} of {work.count} layers dense", partial(work.fixed_densities, dense))
            for dense in range(work.count)
        ]
    shares = [step / _STEPS for step in range(_STEPS - 1, 0, -1) if step / _STEPS <= work.most]
    return [Plan(f"a sparsity of {share:.0%}", partial(work.densities, share)) for share in shares]


def _checked(work: Work, request: Request, judge: Judge, drop: float) -> Pruned:
    """The model of the sparsity asked for. Raises BudgetError, with the largest that keeps to the drop."""
    wanted = Plan("the sparsity asked for", partial(_asked, work, request))
    search = Search(work, judge, drop)
    if search.will_do(wanted):
        return _pruned(work, request, *search.best)
    found = search.loss(wanted)
    try:
        plan = search.sparsest(_plans(work, request))
    except BudgetError:
        instead = "no sparsity that was tried keeps to it"
    else:
        instead = f"{plan.title} keeps to it"
    raise BudgetError(
        f"no more than {drop:g} may be lost of {judge.base.mean:.4f}: at a sparsity of {request.sparsity:.0%} it is "
        f"{found:.4f}; {instead}, the best of {judge.evaluations - 1} evaluations"
    )


def _pruned(work: Work, request: Request, made: Made, accuracy: Accuracy | None) -> Pruned:
    samples = work.samples[:_SHOWN]
    snr = output_decibels(runner(work.float_model), runner(made.model), samples) if samples else None
    return Pruned(made.model, Report(made.layers, snr, accuracy, str(request.pattern), request.method))


def _silent(phase: str, done: int, total: int) -> None:
    """The progress of nobody watching."""
