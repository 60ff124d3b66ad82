"""What each group loses when its units go: by weights alone, by inputs, or by what the others make up for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dsc.prune.channels.coupling import Contraction, Coupling
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Group
from dsc.prune.channels.ranking import Product, Ranking, by_scores, by_surgery, costs
from dsc.prune.problem import Problem
from dsc.prune.sums import Sums
from dsc.prune.twins import Twins
from dsc.quantize.layers import Layer, find_layers, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.work import Progress


def by_weights(groups: Sequence[Group], coupling: Coupling) -> list[Ranking]:
    """Of each group, by the squares of all numbers of weights and scales of batch norms that go with a unit.

    Each as a share of its tensor's: what a unit is made with counts as much as what it is multiplied with.
    """
    scales = {Use(node.name, 1) for node in coupling.network.nodes if node.op_type == "BatchNormalization"}
    return [by_scores(_norms(group, coupling, scales)) for group in groups]


def _norms(group: Group, coupling: Coupling, scales: set[Use]) -> np.ndarray:
    scores = np.zeros(len(group.units))
    for tensor, axis in group.counts:
        if isinstance(tensor, Use):
            array = coupling.constant(tensor)
            if array.dtype.kind == "f" and (array.ndim > 1 or tensor in scales):
                others = tuple(other for other in range(array.ndim) if other != axis)
                squares = np.sum(np.square(array, dtype=np.float64), axis=others)
                scores += squares[group.columns(coupling, tensor, axis)].sum(axis=1) / max(squares.sum(), 1e-30)
    return scores


def by_samples(
    groups: Sequence[Group], coupling: Coupling, twins: Twins, *, makes_up: bool, tell: Progress
) -> tuple[list[Ranking], Mapping[str, tuple[int, int]]]:
    """Of each group, by what the products lose that it is multiplied in; rows of data and the depth of each product.

    makes_up: whether the columns that stay will make up for those that go.
    """
    network = coupling.network
    layers = {layer.name: layer for layer in find_layers(network) if layer.refusal is None}
    waiting, found, rows = dict(enumerate(groups)), dict[int, Ranking](), dict[str, tuple[int, int]]()
    ready: dict[Contraction, list[Problem]] = {}
    for done, contraction in enumerate(coupling.contractions):
        tell("measure channels", done, len(coupling.contractions))
        users = [group for group in waiting.values() if contraction in group.contractions]
        layer = layers.get(contraction.weight.node)
        if not users:
            continue
        if layer is None:
            ready[contraction] = [_without_data(coupling, contraction)]
        else:
            ready[contraction], rows[layer.name] = _problems(network, layer, twins)
        for index, group in list(waiting.items()):
            if all(each in ready for each in group.contractions):
                products = [_product(group, coupling, each, ready[each]) for each in group.contractions]
                found[index] = by_surgery(products) if makes_up else by_scores(np.sum([*map(costs, products)], axis=0))
                del waiting[index]
        wanted = {each for group in waiting.values() for each in group.contractions}
        ready = {each: problems for each, problems in ready.items() if each in wanted}
    return [found[index] for index in range(len(groups))], rows


def _problems(network: Network, layer: Layer, twins: Twins) -> tuple[list[Problem], tuple[int, int]]:
    matrices = Matrices.of(network, layer)
    sums = Sums(matrices, weight_of(network, layer))
    sums.add(twins.pairs(layer.data))
    return sums.problems(centered=layer.takes_shift), (sums.count, matrices.depth)


def _without_data(coupling: Coupling, contraction: Contraction) -> Problem:
    """Of a product that has no form as one of rows: its weight alone."""
    array = coupling.constant(contraction.weight)
    depth = array.shape[contraction.axis]
    return Problem(np.eye(depth), np.moveaxis(array, contraction.axis, -1).reshape(-1, depth).astype(np.float64))


def _product(group: Group, coupling: Coupling, contraction: Contraction, problems: Sequence[Problem]) -> Product:
    """With the columns of each unit: of a convolution, all taps of a channel."""
    own = group.columns(coupling, contraction.weight, contraction.axis)
    size = coupling.dims_of(contraction.weight)[contraction.axis].size
    taps = len(problems[0].hessian) // size
    return Product(problems, (own[:, :, None] * taps + np.arange(taps)).reshape(len(own), -1))
