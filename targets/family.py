"""What code is made for: a family of machines, and one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from dsc.targets.backend import Backend
from dsc.targets.kernel import Kernel
from dsc.targets.machine import Machine

M = TypeVar("M", bound=Machine)


class Family(Protocol[M]):
    """Machines that share kernels and a backend."""

    @property
    def name(self) -> str:
        """What stands before the colon of a tag: ``x86``."""
        ...

    @property
    def default(self) -> str | None:
        """The tag that the name alone means on a host without such a machine; None: there it means nothing."""
        ...

    def tags(self) -> Sequence[str]:
        """Names that may stand after the colon, besides ``native``."""
        ...

    def machine(self, tag: str) -> M:
        """The machine of that name, which is one of `tags`."""
        ...

    def native(self) -> M:
        """The host's machine, or that of a device of the host. Raises `UsageError`, saying why, where there is none."""
        ...

    def kernels(self, machine: M) -> Sequence[Kernel[M]]:
        """Kernels in order of preference between equal estimates; the last takes any workload."""
        ...

    def multiplies_bytes(self, machine: M) -> bool:
        """Whether its kernels multiply bytes faster than floats, so that quantized models keep their integers."""
        ...

    def unpacks_weights(self, machine: M) -> bool:
        """Whether its kernels make floats of integer weights themselves, so that these stay small."""
        ...

    def passes(self, machine: M) -> str:
        """Passes that the presets run after fusion, as text: layouts that kernels want. May be empty."""
        ...

    def backend(self, machine: M) -> Backend:
        """What makes code for the machine."""
        ...


class MachineTable(Generic[M]):
    """The part of a `Family` whose machines are all in a table."""

    machines: Mapping[str, M]
    """By tag."""

    def tags(self) -> Sequence[str]:
        """Those of the table, in its order."""
        return tuple(self.machines)

    def machine(self, tag: str) -> M:
        """The machine of that tag."""
        return self.machines[tag]


@dataclass(frozen=True)
class Target(Generic[M]):
    """A machine, with all that its family knows of it.

    ``Target(X86(), replace(machine, cores=1))`` is a machine of one's own.
    """

    family: Family[M]
    machine: M
    added: tuple[Kernel[M], ...] = ()
    """Kernels of plugins, which are asked before the family's."""

    @property
    def name(self) -> str:
        """The machine's."""
        return self.machine.name

    def kernels(self) -> tuple[Kernel[M], ...]:
        """Kernels in order of preference between equal estimates; the last takes any workload."""
        return (*self.added, *self.family.kernels(self.machine))

    def multiplies_bytes(self) -> bool:
        """Whether its kernels multiply bytes faster than floats."""
        return self.family.multiplies_bytes(self.machine)

    def unpacks_weights(self) -> bool:
        """Whether its kernels make floats of integer weights themselves."""
        return self.family.unpacks_weights(self.machine)

    def passes(self) -> str:
        """Passes after fusion, as the text of a pipeline; may be empty."""
        return self.family.passes(self.machine)

    def backend(self) -> Backend:
        """What makes code for the machine."""
        return self.family.backend(self.machine)


AnyTarget: TypeAlias = "Target[Any]"
