"""What the kernels of a model take of a GPU, and whether all they compute with is in registers."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.codegen.compiled import CompiledModel
from dsc.codegen.selection import Choice
from dsc.targets.resources import KernelResources
from tests.targets.cuda.sass import LOCAL, MATRIX, count, images, instructions


@dataclass(frozen=True)
class Launch:
    """One function of the device, in a model."""

    choice: Choice
    used: KernelResources
    matrix_instructions: int
    """In its machine code."""
    local_instructions: int | None
    """Loads and stores of a thread's own memory, in its machine code; None where that was not read."""

    @property
    def in_registers(self) -> bool:
        """Whether nothing of it goes to memory that could be in a register."""
        return not (self.used.spilled_bytes or self.used.stack_bytes or self.local_instructions)


def launches(model: CompiledModel) -> list[Launch]:
    """Those of all kernels of a model that was compiled for a GPU."""
    code = {name: found for image in images(model.library) for name, found in instructions(image).items()}
    return [
        Launch(
            choice,
            used,
            count(code[used.kernel], MATRIX) if code else used.matrix_instructions or 0,
            count(code[used.kernel], LOCAL) if code else None,
        )
        for choice in model.choices
        for used in choice.resources
    ]
