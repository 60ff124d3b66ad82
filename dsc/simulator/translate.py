"""CUDA C++ to C++ that a host's compiler takes: shared memory, inline assembly, and the table of kernels."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from dsc.simulator.errors import UnknownInstructionError
from dsc.simulator.ptx import Operand, translated
from dsc.simulator.source import closing, found, line_number, split

_ASM = r"\b(?:__asm__|asm)\b\s*(?:__volatile__\b|volatile\b)?\s*\("
_SHARED = r"(?:\bextern\s+)?\b__shared__\b[^;]*;"
_ALIGNMENT = re.compile(r"(?:\balignas|\b__align__)\s*\(\s*(\d+)\s*\)")
_KERNEL = (
    r"\b__global__\b\s+(?:void\s+)?(?:__launch_bounds__\s*\((?P<bounds>[^)]*)\)\s*)?(?:void\s+)?"
    r"(?:__launch_bounds__\s*\((?P<later>[^)]*)\)\s*)?(?P<name>[A-Za-z_]\w*)\s*\("
)
_DECLARATOR = re.compile(r"(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<dims>(?:\[[^\]]*\]\s*)*)$", re.DOTALL)


def translate(source: str) -> str:
    """C++ for preprocessed CUDA C++. Raises UnknownInstructionError, naming the line, for what has no meaning here."""
    body = _replaced(source, _ASM, _assembly)
    names = iter(range(len(source)))
    body = _replaced(body, _SHARED, lambda text, match: (_shared(match["found"], names), match.end()))
    return "\n".join(['#include "prelude.h"', body, _module(source)])


def _replaced(source: str, pattern: str, replace: Callable[[str, re.Match[str]], tuple[str, int]]) -> str:
    """Every match replaced by what `replace` makes of it, up to the end that it gives; lines stay where they are."""
    parts: list[str] = []
    end = 0
    for match in found(source, pattern):
        if match.start() < end:
            continue
        try:
            code, after = replace(source, match)
        except (UnknownInstructionError, ValueError) as error:
            line = line_number(source, match.start())
            raise UnknownInstructionError(f"line {line} of the CUDA source: {error}") from None
        parts += [source[end : match.start()], code, "\n" * source.count("\n", match.start(), after)]
        end = after
    return "".join([*parts, source[end:]])


def _assembly(source: str, match: re.Match[str]) -> tuple[str, int]:
    end = closing(source, match.end() - 1)
    template, *sections = split(source[match.end() : end - 1], ":")
    outputs, inputs = ([*map(_operands, sections[:2]), [], []])[:2]
    return translated(_literal(template), [*outputs, *inputs]), end


def _literal(text: str) -> str:
    """The value of string literals side by side."""
    parts = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    return "".join(ast.literal_eval(part.replace("\n", " ")) for part in parts)


def _operands(section: str) -> list[Operand]:
    operands = []
    for text in split(section, ","):
        if match := re.fullmatch(r'\s*"([=+]?)&?(\w+)"\s*(\(.*\))\s*', text, re.DOTALL):
            operands.append(Operand(match[2], match[3], match[1] != "=", match[1] != ""))
        elif text.strip():
            raise ValueError(f"an asm operand is not understood: {text.strip()}")
    return operands


def _shared(declaration: str, numbers: Iterator[int]) -> str:
    """Declarations of shared variables as references to memory that the core gives them."""
    alignment = max((int(match[1]) for match in _ALIGNMENT.finditer(declaration)), default=0)
    is_dynamic = re.search(r"\bextern\b", declaration) is not None
    text = re.sub(r"\b(?:extern|static|__shared__)\b", " ", _ALIGNMENT.sub(" ", declaration)).rstrip("; \n")
    first, *others = split(text, ",")
    head = _DECLARATOR.match(first)
    if head is None:
        raise ValueError(f"this declaration of shared memory is not understood: {declaration}")
    type = head["type"].strip()
    declarators = [head, *(_DECLARATOR.match(other) for other in others)]
    if is_dynamic:
        return f"{type} *{head['name']} = ({type} *)simulator_dynamic_shared({alignment or 16});"
    return " ".join(_variable(type, match, alignment, next(numbers)) for match in declarators if match)


def _variable(type: str, declarator: re.Match[str], alignment: int, number: int) -> str:
    name, alias = declarator["name"], f"simulator_type_{number}"
    aligned = f"{alignment}" if alignment else f"alignof({alias})"
    place = f'simulator_shared_variable({number}, sizeof({alias}), {aligned}, "{name}")'
    return f"typedef {type} {alias}{declarator['dims'].strip()}; {alias} &{name} = *({alias} *){place};"


def _module(source: str) -> str:
    """The table of kernels, by name, with the largest block that each says it takes."""
    bounds: dict[str, str] = {}
    for match in found(source, _KERNEL):
        text = match["bounds"] or match["later"] or "0"
        bounds[match["name"]] = max(bounds.get(match["name"], "0"), split(text, ",")[0].strip(), key=len)
    rows = ", ".join(f"SIMULATOR_KERNEL({name}, {threads})" for name, threads in bounds.items())
    return (
        f"static const SimulatorKernel simulator_kernels[] = {{{rows}}};\n"
        'extern "C" __attribute__((visibility("default"))) const SimulatorModule simulator_module = '
        f"{{SIMULATOR_ABI, SIMULATOR_INSTRUMENTED, simulator_kernels, {len(bounds)}}};\n"
    )
