"""The functions of `import dsc`. Heavy imports wait until they are needed: `dsc.load` does without the compiler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dsc.host import FAMILY

if TYPE_CHECKING:
    from dsc.exchange import ModelSource
    from dsc.exchange.shapes import Shapes
    from dsc.ir import Graph
    from dsc.passes import Pipeline
    from dsc.runtime import Module
    from dsc.targets import AnyTarget


def compile(
    model: ModelSource | Graph,
    target: str | AnyTarget = FAMILY,
    opt_level: int = 2,
    *,
    shapes: Shapes | None = None,
    passes: str | Pipeline | None = None,
    precision: str = "fp32",
    activations: str = "fp32",
    attention_window: int | None = None,
    attention_keep: float | None = None,
    threads: int | None = None,
    tuning_seconds: float = 60.0,
    database: str | os.PathLike[str] | None = None,
    compress: bool = False,
) -> Module:
    """Compile a model and load it.

    model: path, serialized bytes, onnx.ModelProto, or a Graph.
    target: "x86" or "arm", whichever this host is, is this machine; "x86:avx2", "arm:cortex-a76" and others are named
    ones (`dsc targets`); or a dsc.targets.Target. Code for another machine is not loaded here: see
    `dsc.pipeline.compile_model`.
    opt_level: 0 to 3, see `dsc.pipeline.preset`.
    shapes: pins or names dims of inputs, e.g. {"input": [1, 3, 224, 224]}.
    passes: a pipeline instead of the preset's, e.g. "canonicalize,fuse{max-epilogue=8}".
    precision: "fp32", "tf32", "bf16" or "fp16": what tensors are stored and multiplied in (docs/precision.md).
    activations: "fp32", "int16" or "int8": what is multiplied by weights of 4 or 8 bits (docs/weight-only.md).
    attention_window: approximates: queries see keys that lie no more positions away (docs/sparsity.md).
    attention_keep: approximates: queries see this share of the keys, those that are estimated to matter most.
    threads: cores that a run uses; all by default.
    tuning_seconds, database: what opt_level 3 may spend on measuring, and the file in which it remembers.
    compress: have the weights in fewer bytes in what `Module.save` writes, without loss.
    Raises DscError: what is wrong, where, and what to do. Nothing is ignored: a Graph takes no shapes, opt_level below
    3 no database.
    """
    from dsc.pipeline import compile_model
    from dsc.request import check_runs_here, check_target
    from dsc.runtime.module import thread_count

    thread_count(threads)  # before the work, not after it
    check_target(target)
    check_runs_here(target, "dsc.compile")
    compilation = compile_model(
        model,
        target=target,
        opt_level=opt_level,
        shapes=shapes,
        passes=passes,
        precision=precision,
        activations=activations,
        attention_window=attention_window,
        attention_keep=attention_keep,
        tuning_seconds=tuning_seconds,
        database=Path(database) if database is not None else None,
        compress=compress,
    )
    return compilation.model.load(threads)


def load(path: str | os.PathLike[str], threads: int | None = None) -> Module:
    """Load a model.dsc file, after checking every byte of it and that this host can run it.

    Loading runs the code in the file: the checks find damage, not malice. threads: cores that a run uses; all physical
    cores this process may use by default.
    Raises ArtifactError or UsageError.
    """
    from dsc.runtime import load

    return load(path, threads)


def import_onnx(model: ModelSource, *, shapes: Shapes | None = None) -> Graph:
    """The IR of an ONNX model. Raises UsageError or UnsupportedModelError."""
    from dsc.exchange import import_model

    return import_model(model, shapes=shapes)


def export_onnx(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph, at any stage, as an ONNX file that ONNX Runtime runs; fusions become model-local functions."""
    from dsc.exchange import save_model

    save_model(graph, Path(path))
