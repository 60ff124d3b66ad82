"""What a compilation did, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from dsc.cli.approximation import print_approximation
from dsc.cli.console import print_table
from dsc.cli.kernels import estimated
from dsc.cli.layers import summary, verdicts

if TYPE_CHECKING:
    from dsc.cli.layers import Verdict
    from dsc.codegen import CompiledModel
    from dsc.pipeline import Compilation
    from dsc.runtime.manifest import Manifest


def to_json(compilation: Compilation) -> dict[str, object]:
    """Rules that fired and that nearly did, kernels with their estimates, sizes, times, versions."""
    model = compilation.model
    passes = [
        {
            "pass": record.name,
            "seconds": record.seconds,
            "fired": dict(record.fired),
            "near_misses": [asdict(miss) for miss in record.near_misses()],
        }
        for record in compilation.passes
    ]
    return {
        "target": model.manifest.target,
        "inputs": [asdict(spec) for spec in model.manifest.inputs],
        "outputs": [asdict(spec) for spec in model.manifest.outputs],
        "passes": passes,
        "regions": dict(_regions(compilation)),
        "kernels": [asdict(choice) for choice in model.choices],
        "layers": [asdict(verdict) for verdict in _verdicts(model)],
        "approximation": model.manifest.approximation,
        "bytes": {"library": len(model.library), "library_and_weights": model.size},
        "seconds": dict(compilation.seconds),
        "versions": dict(model.manifest.versions),
    }


def precision_of(manifest: Manifest) -> str:
    """What an artifact was compiled to round, in words."""
    made = manifest.provenance
    precision, activations = made.get("precision", "fp32"), made.get("activations", "fp32")
    return f"{precision}{'' if activations == 'fp32' else f', activations of weights of few bits {activations}'}"


def print_summary(compilation: Compilation) -> None:
    """Regions by kind, and which kernels compute them."""
    kernels: dict[str, Counter[str]] = {}
    for choice in compilation.model.choices:
        kernels.setdefault(choice.kind, Counter())[choice.kernel] += 1
    regions = _regions(compilation)
    rows = [
        [
            kind,
            str(count),
            ", ".join(f"{kernel} x{used}" for kernel, used in kernels.get(kind, Counter()).items()),
        ]
        for kind, count in regions.most_common()
    ]
    print_table(["region", "count", "distinct kernels"], rows)
    for choice in compilation.model.choices:
        for kernel, error in choice.failures:
            print(f"{choice.kind}: kernel {kernel} failed ({error}), {choice.kernel} was taken")
        for point, size in choice.spilled:
            print(f"{choice.kind}: {point} spills {size} bytes, {choice.kernel} {choice.point} was taken")
    if (total := estimated([asdict(choice) for choice in compilation.model.choices])) is not None:
        print(total)
    if found := _verdicts(compilation.model):
        print(summary(found))
    if compilation.model.manifest.approximation is not None:
        print_approximation(compilation.model.manifest.approximation)
    seconds = ", ".join(f"{phase} {time:.1f} s" for phase, time in compilation.seconds.items())
    print(f"{sum(regions.values())} regions for {compilation.model.manifest.target}: {seconds}")


def _verdicts(model: CompiledModel) -> list[Verdict]:
    return verdicts(model.manifest.layers, model.manifest.kernels)


def _regions(compilation: Compilation) -> Counter[str]:
    """How many top-level ops of each kind the final graph has, weights and constants aside."""
    from dsc.ir import FusionOp

    kinds: Counter[str] = Counter()
    for op in compilation.graph.ops():
        if op.name not in ("dsc.weight", "onnx.Constant"):
            kinds[op.kind.data if isinstance(op, FusionOp) else op.name] += 1
    return kinds
