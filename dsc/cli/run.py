"""`dsc run`: a compiled module on inputs from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from dsc.cli import options
from dsc.cli.console import print_table
from dsc.cli.feeds import files_named, is_image, read_inputs, write_npz
from dsc.cli.images import Pixels, parse_triple
from dsc.cli.outputs import claim
from dsc.elements import computed
from dsc.errors import UsageError
from dsc.models import RECIPE, Recipe, imagenet_labels, names, recipe

if TYPE_CHECKING:
    from dsc.runtime import Module


def run(
    context: typer.Context,
    module: Annotated[Path, typer.Argument(metavar="MODEL.dsc", help="What `dsc compile` wrote.")],
    input: options.InputOptions = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.npz", callback=options.output, help="Write the outputs, by name."),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Print this many classes of each output's first row.")] = 0,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Names of the classes, one a line.")] = None,
    mean: Annotated[str, typer.Option(help="Subtracted from an image's pixels (0..255): one or three.")] = "0",
    std: Annotated[str, typer.Option(help="Divides an image's pixels: one or three.")] = "255",
    bgr: Annotated[bool, typer.Option("--bgr", help="Channels of images as blue, green, red.")] = False,
    threads: options.Threads = None,
) -> None:
    """Run a compiled module on inputs from npy, npz and image files.

    Images are resized to the input's size and scaled by --mean and --std; models of the zoo know their own
    preprocessing.
    """
    from dsc.runtime import load

    claim({"-o": output}, [module, labels, *files_named(input)])
    if labels is not None and not top:
        raise UsageError("--labels names the classes that --top N prints: say how many")
    if not any(is_image(file) for file in files_named(input)):
        options.refuse(context, "is for images, and no input is one", "mean", "std", "bgr")
    pixels = Pixels(parse_triple("--mean", mean), parse_triple("--std", std), bgr)
    loaded = load(module, threads)
    known = _recipe(loaded)
    is_default = pixels == Pixels()
    preprocessing = known.preprocessing if known is not None and is_default else None
    inputs = read_inputs(input or [], loaded.inputs, preprocessing or pixels)
    outputs = loaded.run(inputs)
    _print_outputs(outputs)
    if top:
        _print_top(outputs, top, _labels(labels, known))
    if output is not None:
        write_npz(output, outputs)
        print(f"wrote {output}")


def _recipe(module: Module) -> Recipe | None:
    """The recipe of a module that was made from a model of the zoo: the model's metadata says so."""
    metadata = module.manifest.provenance.get("model")
    name = metadata.get(RECIPE) if isinstance(metadata, dict) else None
    return recipe(name) if name in names() else None


def _labels(file: Path | None, known: Recipe | None) -> list[str]:
    if file is not None:
        try:
            return file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--labels {file} cannot be read: {error}") from error
    return imagenet_labels() if known is not None and known.dataset == "imagenet_photos" else []


def _print_outputs(outputs: dict[str, np.ndarray]) -> None:
    rows = []
    for name, array in outputs.items():
        wide = computed(array)
        numbers = array.size and wide.dtype.kind in "fiub"
        values = wide.astype(np.float64) if numbers else np.zeros(1)
        facts = [f"{fact:.5g}" for fact in (values.min(), values.mean(), values.max())] if numbers else ["-"] * 3
        rows.append([name, str(array.dtype), "x".join(map(str, array.shape)) or "scalar", *facts])
    print_table(["output", "dtype", "shape", "min", "mean", "max"], rows)


def _print_top(outputs: dict[str, np.ndarray], count: int, labels: list[str]) -> None:
    for name, array in outputs.items():
        wide = computed(array)
        if not array.size or wide.dtype.kind not in "fiub":
            continue
        scores = (wide[0] if wide.ndim > 1 else wide).ravel().astype(np.float64)
        best = np.argsort(-scores, kind="stable")[:count]
        rows = [[labels[i] if i < len(labels) else f"class {i}", str(i), f"{scores[i]:.4f}"] for i in best.tolist()]
        print_table([f"top {count} of {name}", "index", "score"], rows)
