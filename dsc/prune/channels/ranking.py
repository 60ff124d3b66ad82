"""The order in which the units of a group go, and what products lose by it.

A unit is the columns of each weight that it is multiplied with. Where nothing makes up for a column, it costs what it
gives. Where the columns that stay do, as they will, a unit with columns S costs ``tr(W_S (inv(H)_SS)^-1 W_S^T)``, and
when it is gone, W and the inverse of H are those of the columns that stay; so what two units have in common is lost
only with the second. (Hassibi and Stork, Second Order Derivatives for Network Pruning, 1992; Kurtic et al., ZipLM:
Inference-Aware Structured Pruning of Language Models, 2023.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc.prune.problem import Problem

_STEPS = 96
"""In so many steps at most all units of a group go; scores are counted anew after each."""


@dataclass(frozen=True, eq=False)
class Product:
    """A weight that a group is multiplied with. problems: one for each group of a convolution. columns: of each unit,
    [units, columns], the same in all problems.
    """

    problems: Sequence[Problem]
    columns: np.ndarray

    @property
    def power(self) -> float:
        """Of its outputs."""
        return sum(problem.power for problem in self.problems) or 1.0


@dataclass(frozen=True, eq=False)
class Ranking:
    """order: of units, by their place in the group; the first go first. errors: what products lose when so many are
    gone, as the sum of shares of their outputs' power; from none to all but one.
    """

    order: np.ndarray
    errors: np.ndarray


def by_scores(scores: np.ndarray) -> Ranking:
    """Units whose costs add up."""
    order = np.argsort(scores, kind="stable")
    return Ranking(order, np.concatenate([[0.0], np.cumsum(scores[order])])[:-1])


def costs(product: Product) -> np.ndarray:
    """What each unit gives to the outputs, if inputs are independent: a share of their power."""
    found = np.zeros(len(product.columns))
    for problem in product.problems:
        squares = np.sum(problem.target**2, axis=0) * problem.diagonal
        found += squares[product.columns].sum(axis=1)
    return found / product.power


def by_surgery(products: Sequence[Product]) -> Ranking:
    """Units that go one after the other, the columns that stay making up for them."""
    left = [(_Surgery(problem, product.columns), product.power) for product in products for problem in product.problems]
    count = len(products[0].columns)
    alive, order, errors = np.arange(count), list[int](), [0.0]
    step = max(1, count // _STEPS)
    while len(alive) > 1:
        scores = sum(surgery.scores(alive) / power for surgery, power in left)
        some = alive[np.argsort(scores, kind="stable")[: min(step, len(alive) - 1)]]
        cost = sum(surgery.cut(some) / power for surgery, power in left)
        errors += list(errors[-1] + cost * np.arange(1, len(some) + 1) / len(some))
        order += [int(unit) for unit in some]
        alive = np.setdiff1d(alive, some)
    return Ranking(np.array([*order, *alive]), np.array(errors))


class _Surgery:
    """A problem of which columns are cut off."""

    def __init__(self, problem: Problem, columns: np.ndarray) -> None:
        self._inverse = np.linalg.inv(problem.hessian)
        self._weight = problem.target.copy()
        self._columns = columns.copy()

    def scores(self, units: np.ndarray) -> np.ndarray:
        """What each unit would cost, alone."""
        at = self._columns[units]
        within = self._inverse[at[:, :, None], at[:, None, :]]
        own = self._weight[:, at].transpose(1, 2, 0)
        return np.asarray(np.einsum("uij,uji->u", np.linalg.inv(within), own @ own.transpose(0, 2, 1)))

    def cut(self, units: np.ndarray) -> float:
        """Cut units off together; what that costs."""
        gone = self._columns[units].reshape(-1)
        left = np.setdiff1d(np.arange(len(self._inverse)), gone)
        own, across = self._weight[:, gone], self._inverse[np.ix_(gone, left)]
        within = np.linalg.inv(self._inverse[np.ix_(gone, gone)])
        turned = own @ within
        self._weight = self._weight[:, left] - turned @ across
        self._inverse = self._inverse[np.ix_(left, left)] - across.T @ within @ across
        place = np.zeros(len(left) + len(gone), np.int64)
        place[left] = np.arange(len(left))
        self._columns = place[self._columns]  # of those gone, which nobody asks for, any
        return float(np.sum(own * turned))
