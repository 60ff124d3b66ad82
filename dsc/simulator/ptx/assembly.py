"""An asm statement as a block of C++: operands become variables, PTX instructions become calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsc.simulator.errors import UnknownInstructionError
from dsc.simulator.ptx import conversion, matrix, memory, scalar, warp, warpgroup
from dsc.simulator.ptx.parser import (
    Address,
    Declaration,
    Group,
    Immediate,
    Instruction,
    Label,
    PtxSyntaxError,
    Value,
    parse,
)
from dsc.simulator.ptx.rules import Emit, Rendered, Rule, rule, single
from dsc.simulator.ptx.types import CONSTRAINTS, REGISTERS


@dataclass(frozen=True)
class Operand:
    """An operand of an asm statement: ``"=r"(x)``."""

    constraint: str
    """Without ``=`` and ``+``."""
    expression: str
    reads: bool
    writes: bool


_SPECIAL = {
    "%laneid": "simulator_lane()",
    "%warpid": "simulator_warp()",
    **{
        f"%{name}.{axis}": f"simulator_{function}().{axis}"
        for name, function in (
            ("tid", "thread_index"),
            ("ntid", "block_size"),
            ("ctaid", "block_index"),
            ("nctaid", "grid_size"),
        )
        for axis in "xyz"
    },
    "%clock": "static_cast<uint32_t>(simulator_clock())",
    "%clock64": "simulator_clock()",
    "%globaltimer": "simulator_clock()",
    "%globaltimer_lo": "static_cast<uint32_t>(simulator_clock())",
}


def _constant(value: str) -> Emit:
    return lambda match, operands: value


RULES: tuple[Rule, ...] = (
    *scalar.RULES,
    *conversion.RULES,
    *memory.RULES,
    *warp.RULES,
    *matrix.RULES,
    *warpgroup.RULES,
    rule(r"griddepcontrol\.(?:wait|launch_dependents)", _constant(";")),
    rule(r"nanosleep\.u32", _constant(";")),
    rule(r"trap", _constant('simulator_fault("executes trap");')),
    rule(r"bra(?:\.uni)?", lambda match, operands: f"goto {single(operands[0])};"),
)
"""Every instruction there is."""


def translated(template: str, operands: Sequence[Operand]) -> str:
    """C++ for an asm statement with this template (as the compiler sees it, not as it is written) and operands.

    Raises UnknownInstructionError for what has no meaning here.
    """
    try:
        statements = parse(template)
    except PtxSyntaxError as error:
        raise UnknownInstructionError(f"this is no PTX: {error}") from None
    names = _Names(statements, operands)
    body = [*names.declarations(), *(names.cpp(statement) for statement in statements)]
    lines = [*_bound(operands), "{", *body, "}"]
    written = [i for i, operand in enumerate(operands) if operand.writes and not _is_shared(operand)]
    lines += [f"({operands[i].expression}) = o{i};" for i in written]
    return f"do {{ {' '.join(line for line in lines if line)} }} while (0)"


def _bound(operands: Sequence[Operand]) -> list[str]:
    """Variables for the operands: o0, o1, ..."""
    lines = []
    for i, operand in enumerate(operands):
        type = CONSTRAINTS.get(operand.constraint)
        if type is None:
            raise UnknownInstructionError(f"asm operands with the constraint {operand.constraint!r} are not known")
        if _is_shared(operand):
            lines.append(f"{type} &o{i} = ({operand.expression});")
        else:
            lines.append(f"{type} o{i} = ({type})({operand.expression});" if operand.reads else f"{type} o{i};")
    return lines


def _is_shared(operand: Operand) -> bool:
    """Whether the variable of an operand is the kernel's own: an instruction may write it after its statement."""
    return operand.constraint == "f" and operand.reads and operand.writes


class _Names:
    """What the names in a template stand for."""

    def __init__(self, statements: Sequence[object], operands: Sequence[Operand]) -> None:
        self._operands = len(operands)
        self._registers = {
            name: REGISTERS.get(statement.type, "")
            for statement in statements
            if isinstance(statement, Declaration)
            for name in statement.names
        }
        self._labels = [statement.name for statement in statements if isinstance(statement, Label)]

    def declarations(self) -> list[str]:
        """Of labels, which are the block's own, and of registers."""
        unknown = [name for name, type in self._registers.items() if not type]
        if unknown:
            raise UnknownInstructionError(f"PTX registers of the type of {', '.join(unknown)} are not known")
        labels = [f"__label__ {', '.join(self._labels)};"] if self._labels else []
        # Labels are declared before anything else in their block.
        return [*labels, *(f"{type} r_{name};" for name, type in self._registers.items())]

    def cpp(self, statement: object) -> str:
        """One statement."""
        if isinstance(statement, Label):
            return f"{statement.name}:;"
        if isinstance(statement, Instruction):
            return self._instruction(statement)
        return ""

    def _instruction(self, instruction: Instruction) -> str:
        operands = [self._rendered(operand) for operand in instruction.operands]
        code = _code(instruction.name, operands)
        if not instruction.guard:
            return code
        guard = self._register(instruction.guard)
        return f"if ({'!' if instruction.negated else ''}{guard}) {{ {code} }}"

    def _rendered(self, value: Value) -> Rendered:
        if isinstance(value, Group):
            return [single(self._rendered(member)) for member in value.members]
        if isinstance(value, Address):
            base = single(self._rendered(value.base))
            return f"({base} + {value.offset})" if value.offset else base
        if isinstance(value, Immediate):
            return _number(value.text)
        return self._register(value.name)

    def _register(self, name: str) -> str:
        if name.startswith("!"):
            return f"!{self._register(name[1:])}"
        plain = name.replace("%%", "%")
        if name[1:].isdecimal() and name[0] == "%" and int(name[1:]) < self._operands:
            return f"o{name[1:]}"
        if name in self._registers:
            return f"r_{name}"
        if plain in _SPECIAL:
            return _SPECIAL[plain]
        if name == "_" or name in self._labels:
            return name
        raise UnknownInstructionError(f"the simulator does not know the PTX register {name}")


def _code(name: str, operands: list[Rendered]) -> str:
    for pattern, emit in RULES:
        if match := pattern.fullmatch(name):
            try:
                code = emit(match, operands)
            except ValueError:  # more or fewer operands than the instruction has
                code = None
            if code is not None:
                return code
    shown = ", ".join(operand if isinstance(operand, str) else f"{{{', '.join(operand)}}}" for operand in operands)
    raise UnknownInstructionError(f"the simulator does not know the PTX instruction {name} with operands ({shown})")


def _number(text: str) -> str:
    """An immediate as C++; floats are written as their bits."""
    if text[:2] in ("0f", "0F"):
        return f"simulator_bits<float>(0x{text[2:]}u)"
    if text[:2] in ("0d", "0D"):
        return f"simulator_bits<double>(0x{text[2:]}ull)"
    return f"{text.rstrip('U')}LL"
