"""What a thread has in registers of the elements that it works on, found again by their indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Expr

from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import replaced
from dsc.targets.gpu.neighbours import Neighbours, Read
from dsc.targets.tir.loops import Loops

_Key = tuple[Identity, tvm_ffi.StructuralKey]


class Registers:
    """Elements of tensors, each in a register. What was put there in a scope is not known outside."""

    def __init__(self, memory: Mapping[te.Tensor, tirx.Buffer], known: sym.Analyzer, loops: Loops) -> None:
        """memory: the inputs. known: the ranges of the variables in indices, by which these are simplified."""
        self._memory, self._known, self._loops = memory, known, loops
        self._scopes: list[dict[_Key, Expr]] = [{}]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The body of a loop or a branch."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    def leaves(self) -> dict[te.Tensor, Leaf]:
        """Of the inputs: registers, and loads of what is in none."""
        return {tensor: self._input(tensor) for tensor in self._memory}

    def reduction(self, tensor: te.Tensor) -> Leaf:
        """Of a reduction, which is put to registers before it is asked for."""
        return lambda indices: self._scopes[0][self._key(tensor, indices)]

    def put(self, tensor: te.Tensor, indices: Sequence[Expr], value: Expr) -> None:
        """Notes where an element is."""
        self._scopes[-1][self._key(tensor, indices)] = value

    def load(self, read: Read, places: Sequence[Sequence[Expr]], width: int) -> None:
        """The elements of neighbouring places, `width` at once, unless they are here."""
        assert read.access is not None
        indices = [self._indices(read, place) for place in places]
        for first in range(0, len(places), width):
            if self._find(self._key(read.tensor, indices[first])) is not None:
                continue
            found = Neighbours.load(read, width, self._memory[read.tensor], places[first], self._loops)
            for lane in range(width):
                self.put(read.tensor, indices[first + lane], found.registers[lane])

    def _indices(self, read: Read, place: Sequence[Expr]) -> list[Expr]:
        assert read.access is not None
        return [replaced(index, read.access.variables, place) for index in read.indices]

    def _input(self, tensor: te.Tensor) -> Leaf:
        def load(indices: Sequence[Expr]) -> Expr:
            found = self._find(self._key(tensor, indices))
            return self._memory[tensor][tuple(indices)] if found is None else found

        return load

    def _find(self, key: _Key) -> Expr | None:
        return next((scope[key] for scope in reversed(self._scopes) if key in scope), None)

    def _key(self, tensor: te.Tensor, indices: Sequence[Expr]) -> _Key:
        simple = [self._known.simplify(index) for index in indices]
        return identity(tensor), tvm_ffi.StructuralKey(simple)  # type: ignore[call-arg]
