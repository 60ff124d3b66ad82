"""Which line of the text an instruction is of, as debug information: what `addr2line` is asked for a fault."""

from __future__ import annotations

from dataclasses import dataclass, field

FILE = "kernels.ll"
_HEAD = f"""!llvm.module.flags = !{{!0, !1}}
!llvm.dbg.cu = !{{!2}}
!0 = !{{i32 2, !"Debug Info Version", i32 3}}
!1 = !{{i32 8, !"PIC Level", i32 2}}
!2 = distinct !DICompileUnit(language: DW_LANG_C, file: !3, emissionKind: LineTablesOnly)
!3 = !DIFile(filename: "{FILE}", directory: ".")"""
_FIRST = 4


@dataclass
class LineTable:
    """Grows with the functions and instructions that are asked for; `text` is all of it."""

    _entries: list[str] = field(default_factory=list)
    _scope: int = 0

    def function(self, name: str, line: int) -> int:
        """The number of the entry of a function, whose instructions were asked for before."""
        scope = self._reserved()
        self._entries[scope - _FIRST] = (
            f'distinct !DISubprogram(name: "{name}", file: !3, line: {line}, unit: !2, spFlags: DISPFlagDefinition)'
        )
        self._scope = 0
        return scope

    def line(self, number: int) -> int:
        """The number of the entry of a line in the function that is under way."""
        return self._add(f"!DILocation(line: {number}, column: 1, scope: !{self._reserved()})")

    @property
    def text(self) -> str:
        """The metadata."""
        return "\n".join([_HEAD, *(f"!{_FIRST + i} = {entry}" for i, entry in enumerate(self._entries))])

    def _reserved(self) -> int:
        """The number that the function under way will have."""
        if not self._scope:
            self._scope = self._add("")
        return self._scope

    def _add(self, entry: str) -> int:
        self._entries.append(entry)
        return _FIRST + len(self._entries) - 1
