"""The whole check of a module: its outputs, and its parts where the outputs cannot decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from dsc.check import sensitivity
from dsc.check.approximation import Approximated
from dsc.check.bisect import Culprit, find_culprit
from dsc.check.judge import Arrays
from dsc.check.reference import Model, Reference
from dsc.check.stability import Tell
from dsc.check.stages import Stages
from dsc.check.tolerance import Tolerance, element_of_module, of_module
from dsc.check.verify import Report, verify
from dsc.exchange import import_model
from dsc.ir import Graph
from dsc.runtime import Module

_APPROXIMATED = (
    "attention is approximated on purpose, in what it is compared with too; by how much that is off says dsc inspect"
)
_FAULTS = frozenset(("import", "rewrite", "kernel", "packing", "buffer"))


@dataclass(frozen=True)
class Verdict:
    """Whether a module computes its model. culprit: what makes the outputs differ, or what a closer look found.

    by_parts: whether passes and kernels were checked one by one although the outputs agree: rounding moves them so far
    that this says little.
    """

    report: Report
    culprit: Culprit | None = None
    by_parts: bool = False

    @property
    def passed(self) -> bool:
        """Whether the module is right. So it is where its outputs differ as ONNX Runtime is what is wrong."""
        if self.culprit is None:
            return self.report.passed
        return self.culprit.fault == "reference"

    def to_json(self) -> dict[str, object]:
        """Plain data for a JSON file."""
        culprit = None if self.culprit is None else {**asdict(self.culprit), "said": str(self.culprit)}
        return {**self.report.to_json(), "passed": self.passed, "culprit": culprit, "by_parts": self.by_parts}

    def __str__(self) -> str:
        lines = [str(self.report)]
        if self.by_parts:
            found = "each is right" if self.passed else "not all are right"
            lines.append(f"  rounding moves the outputs far, so passes and kernels were checked one by one: {found}")
        if self.culprit is not None and self.passed and not self.report.passed:
            lines.append(f"right all the same: {self.culprit}")
        return "\n".join(lines)


def examine(
    model: Model,
    graph: Graph,
    module: Module,
    samples: Sequence[Arrays],
    tolerance: Tolerance | None = None,
    threads: int | None = None,
    progress: Tell | None = None,
) -> Verdict:
    """Compare the outputs on all samples, and find what is to blame where they differ.

    graph: the model imported, with the shapes that the module was compiled for. tolerance: that of the precision of the
    module where none is given. A module that approximates is held against the model with the same approximation, and
    the passes before that against the model itself. Raises as `verify` does.
    """
    tell = progress or (lambda phase, done, total: None)
    if tolerance is None or not tolerance.given:
        tolerance = of_module(module.manifest)
    near = Approximated.of(graph, str(module.manifest.provenance.get("passes", "")))
    reference, imported = (model, graph) if near is None else (near.model, import_model(near.model))
    report = verify(reference, module, samples, tolerance, threads, graph=imported, progress=tell)
    element = element_of_module(module.manifest)
    if report.failed and element is not None:
        said = sensitivity.notes(graph, element, samples[report.failed[0]], threads, tell)
        report = replace(report, notes=(*report.notes, *said))
    doubtful = report.failed or report.blurred[:1]
    if near is not None:
        report = replace(report, notes=(*report.notes, _APPROXIMATED))
        exact = Reference(model, threads).run(samples[0])
        if not doubtful and Stages(graph, samples[0], exact).wrong(near.exact):
            doubtful = (0,)
    culprit = None
    for index in doubtful:
        expected = Reference(reference, threads).run(samples[index])
        exact = expected if near is None else Reference(model, threads).run(samples[index])
        culprit = find_culprit(graph, module, samples[index], expected, tell, report.tolerance, exact)
        if culprit.fault != "reference":
            break
    if report.passed and culprit is not None and culprit.fault not in _FAULTS:
        culprit = None
    return Verdict(report, culprit, report.passed and bool(doubtful))
