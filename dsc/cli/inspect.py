"""`dsc inspect`: what is in an artifact or a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dsc.cli import options
from dsc.cli.approximation import print_approximation
from dsc.cli.console import print_table, write_json
from dsc.cli.kernels import print_kernels
from dsc.cli.layers import print_layers, verdicts
from dsc.cli.outputs import claim
from dsc.cli.report import precision_of
from dsc.cli.source import find_model
from dsc.cli.storage import StoredKind, stored_kinds
from dsc.cli.zeros import print_zeros, zeros_of_weights
from dsc.errors import UsageError


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A .dsc or ONNX file, or zoo:NAME.")],
    check: Annotated[bool, typer.Option("--check", help="Compare the hashes of all contents too.")] = False,
    kernels: Annotated[bool, typer.Option("--kernels", help="List the kernels, with estimates and resources.")] = False,
    sparsity: Annotated[
        bool, typer.Option("--sparsity", help="List the layers: zeros, their pattern, and what was made of them.")
    ] = False,
    json: options.JsonFile = None,
) -> None:
    """Print inputs, outputs, sizes and kernels of an artifact, or the operators of an ONNX model."""
    if model.endswith(".dsc"):
        claim({"--json": json}, [model])
        _artifact(Path(model), check, kernels, sparsity, json)
    elif check or kernels:
        raise UsageError(f"{'--check' if check else '--kernels'} is for compiled modules, {model} is none")
    else:
        _onnx(model, sparsity, json)


def _artifact(path: Path, check: bool, kernels: bool, sparsity: bool, json: Path | None) -> None:
    from dsc.runtime import inspect as read
    from dsc.runtime import stored_weights

    manifest = read(path, check)
    print(f"{manifest.name}: {path.stat().st_size / 1e6:.1f} MB, for {manifest.target}")
    for need in manifest.needs:
        facts = (f"{name} {value if isinstance(value, str) else ' '.join(value)}" for name, value in need.facts.items())
        print(f"needs {need.device}: {', '.join(facts)}")
    print(f"precision: {precision_of(manifest)}")
    if manifest.needs[-1].device != "cpu":
        print(f"launches: {f'one by one, as {manifest.uncaptured}' if manifest.uncaptured else 'one graph a run'}")
    print(f"made by: {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}")
    rows = [["input", str(spec)] for spec in manifest.inputs] + [["output", str(spec)] for spec in manifest.outputs]
    rows += [[name, f"{member.size:,} bytes"] for name, member in manifest.members.items()]
    print_table(["", ""], rows)
    stored = stored_kinds(manifest, stored_weights(path))
    print_table(["weights", "tensors", "bytes", "in memory"], [_kind_row(kind) for kind in stored])
    if manifest.approximation is not None:
        print_approximation(manifest.approximation)
    if kernels:
        print_kernels(manifest.kernels)
    if sparsity:
        print_layers(manifest.layers, manifest.kernels)
    if check:
        print("all hashes match")
    layers = [asdict(verdict) for verdict in verdicts(manifest.layers, manifest.kernels)]
    write_json(json, {**asdict(manifest), "weights": [asdict(kind) for kind in stored], "verdicts": layers})


def _kind_row(kind: StoredKind) -> list[str]:
    return [kind.name, str(kind.tensors), f"{kind.bytes:,}", f"{kind.expanded_bytes:,}"]


def _onnx(model: str, sparsity: bool, json: Path | None) -> None:
    from dsc.exchange import import_model

    source = find_model(model)
    claim({"--json": json}, [source.path])
    graph = import_model(source.path)
    counts = Counter(op.name for op in graph.ops())
    inputs = {name: str(value.type) for name, value in zip(graph.input_names, graph.inputs, strict=True)}
    outputs = {name: str(value.type) for name, value in zip(graph.output_names, graph.outputs, strict=True)}
    print_table(["", "name", "type"], [["input", *item] for item in inputs.items()])
    print_table(["", "name", "type"], [["output", *item] for item in outputs.items()])
    print_table(["operator", "count"], [[name, str(count)] for name, count in counts.most_common()])
    report = {"inputs": inputs, "outputs": outputs, "operators": counts, "metadata": graph.metadata}
    if sparsity:
        found = zeros_of_weights(graph)
        print_zeros(found)
        report["weights"] = [asdict(each) for each in found]
    write_json(json, report)
