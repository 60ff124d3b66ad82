"""Which indices of dims stay or go together: what operators say of their operands and results, to a fixed point.

An operator joins indices (an Add those of its operands), pins dims whose indices all stay (a softmax what it sums
over), or multiplies a constant: leaving out an index that is summed over is the same as zeros in the weight there, and
so a set of joined indices may go if it is not pinned and all that comes of it ends in such sums. Only operators are
known here, no architectures. (After Fang et al., DepGraph: Towards Any Structural Pruning, 2023.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from dsc.check.segments import read_names
from dsc.prune.channels.dims import Dim, Dims, Tensor, UnknownRankError, Use
from dsc.prune.channels.partition import Partition
from dsc.quantize.network import Network


@dataclass(frozen=True)
class Contraction:
    """A constant factor of a product, and its axis that is summed over."""

    weight: Use
    axis: int


@dataclass(frozen=True, eq=False)
class _Merge:
    """A dim whose indices are those of several dims, the last one fastest. said: by what."""

    merged: Dim
    parts: tuple[Dim, ...]
    said: str


class Coupling:
    """What is said of a model's dims, and what follows. Rules call the methods that change it (`rules`)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._partition = Partition()
        self._dims = Dims(network, self._partition)
        self._nodes = {node.name: node for node in network.nodes}
        self.contractions: list[Contraction] = []
        self._pins: list[tuple[Dim, str]] = []
        self._merges: list[_Merge] = []

    def operand(self, node: onnx.NodeProto, index: int) -> tuple[Dim, ...]:
        """The dims of what a node reads. Raises UnknownRankError."""
        return self._dims.operand(node, index)

    def result(self, node: onnx.NodeProto, index: int = 0) -> tuple[Dim, ...]:
        """The dims of what a node makes. Raises UnknownRankError."""
        return self._dims.computed(node.output[index])

    def dims_of(self, tensor: Tensor) -> tuple[Dim, ...]:
        """The dims of a tensor that rules spoke of; none where they did not."""
        return self._dims.made.get(tensor, ())

    def read_by(self, node: onnx.NodeProto, index: int) -> tuple[Dim, ...]:
        """`dims_of` an operand."""
        name = node.input[index]
        return self.dims_of(Use(node.name, index) if self.network.is_constant(name) else name)

    def name_of(self, use: Use) -> str:
        """Of a constant, in the float model."""
        return str(self._nodes[use.node].input[use.operand])

    def constant(self, use: Use) -> np.ndarray:
        """The array of a constant, as the float model has it."""
        array = self.network.constant(self.name_of(use))
        assert array is not None  # it is a use
        return array

    @property
    def tensors(self) -> list[Tensor]:
        """All that rules spoke of."""
        return list(self._dims.made)

    def join(self, some: Dim, other: Dim, said: str) -> None:
        """Index by index; a dim of size 1 goes with any."""
        if not (some.known and other.known):
            self.pin([some, other], f"{said}: a size is not known before it runs")
        elif some.size == other.size:
            self._partition.join(some.atoms, other.atoms)
        elif 1 not in (some.size, other.size):
            self.pin([some, other], said)

    def join_atoms(self, some: np.ndarray, others: np.ndarray) -> None:
        """Some indices with others, one by one; shapes are broadcast."""
        self._partition.join(some, others)

    def pin(self, dims: Sequence[Dim], said: str) -> None:
        """All indices stay. said: why, in words."""
        self._pins += [(dim, said) for dim in dims]

    def pin_tensor(self, name: str, said: str) -> None:
        """All dims of an input, or of what a node makes, as far as anything is known of them."""
        self.pin(self._known(name), said)

    def pin_all(self, node: onnx.NodeProto, said: str) -> None:
        """All dims of what a node reads and makes, as far as anything is known of them."""
        captured = sorted(set(read_names(node)) - set(node.input))
        for name in (*captured, *node.output):
            if name and not self.network.is_constant(name):
                self.pin_tensor(name, said)
        self.pin_operands(node, 0, said)

    def pin_operands(self, node: onnx.NodeProto, first: int, said: str) -> None:
        """All dims of a node's operands from one on."""
        for index, name in enumerate(node.input):
            if name and index >= first:
                constant = self.network.is_constant(name)
                self.pin(self.operand(node, index) if constant else self._known(name), said)

    def merge(self, merged: Dim, parts: Sequence[Dim], said: str) -> None:
        """A dim made of others, or taken apart into them: all of them but one stay whole."""
        self._merges.append(_Merge(merged, tuple(part for part in parts if part.size > 1), said))

    def contract(self, node: onnx.NodeProto, index: int, axis: int) -> None:
        """A constant operand is multiplied, and summed over along an axis."""
        self.contractions.append(Contraction(Use(node.name, index), axis))

    def settle(self) -> None:
        """Decide what follows for dims that are made of others, until nothing is open."""
        waiting = list(self._merges)
        while waiting:
            still = [merge for merge in waiting if not self._decided(merge, force=False)]
            if len(still) == len(waiting):
                self._decided(still.pop(0), force=True)
            waiting = still

    def _decided(self, merge: _Merge, *, force: bool) -> bool:
        """Whether it is known which part a merged dim goes by; if so, it is joined with it.

        That is the only one that is not pinned, or the one along which indices differ that are joined along the others,
        as behind a product in groups. If neither is so, it is the first: the heads of an attention.
        """
        free = self.free
        open_ = [part for part in merge.parts if free[part.atoms].any()]
        if not open_ or not free[merge.merged.atoms].any():
            self.pin([*merge.parts, merge.merged], merge.said)
            return True
        grid = self._partition.sets[merge.merged.atoms].reshape([part.size for part in merge.parts])
        alike = [part for axis, part in enumerate(merge.parts) if _same_along_others(grid, axis)]
        chosen = open_ if len(open_) == 1 else [part for part in alike if free[part.atoms].any()]
        if len(chosen) != 1 and not force:
            return False
        part = (chosen or open_)[0]
        axis = next(axis for axis, other in enumerate(merge.parts) if other is part)
        self.pin([other for other in merge.parts if other is not part], merge.said)
        atoms = merge.merged.atoms.reshape(grid.shape)
        self._partition.join(np.moveaxis(atoms, axis, -1), part.atoms)
        return True

    @property
    def sets(self) -> np.ndarray:
        """Of each atom, the set of indices that go together."""
        return self._partition.sets

    @property
    def free(self) -> np.ndarray:
        """Of each atom, whether nothing says that it stays."""
        sets = self.sets
        pinned = np.zeros(len(sets), dtype=bool)
        for dim, _ in self._pins:
            pinned[sets[dim.atoms]] = True
        return np.asarray(~pinned[sets])

    def reason(self, dim: Dim) -> str:
        """Why indices of a dim stay, in words: the first thing that says so; nothing where all may go."""
        own = self.sets[dim.atoms]
        return next((said for pin, said in self._pins if np.isin(self.sets[pin.atoms], own).any()), "")

    def _known(self, name: str) -> tuple[Dim, ...]:
        """The dims of a computed tensor; none where nothing is known of them."""
        try:
            return self._dims.computed(name)
        except UnknownRankError:
            return ()


def _same_along_others(grid: np.ndarray, axis: int) -> bool:
    """Whether indices differ along an axis only."""
    rows = np.moveaxis(grid, axis, 0).reshape(grid.shape[axis], -1)
    return bool((rows == rows[:, :1]).all())
