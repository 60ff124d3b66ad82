"""From "the outputs differ" to what is to blame: the import, a rewrite, a kernel, a packing, a buffer.

All is asked on the sample that failed, of the artifact itself. First the graph, as the importer and each pass leave it,
is run by ONNX Runtime: a rewrite is wrong where it computes something else. Then the artifact is run and watched kernel
by kernel (`dsc.check.trace`), with the kernels that it recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsc.check.judge import Arrays, Judge
from dsc.check.stability import Tell
from dsc.check.stages import Stages, verify_each
from dsc.check.tolerance import Tolerance
from dsc.check.trace import Overwritten, Trace, WrongKernel
from dsc.codegen import Call, recorded_calls
from dsc.errors import DscError, UsageError, VerificationError
from dsc.ir import FusionOp, Graph, OnnxOp, op_text
from dsc.passes import Pipeline
from dsc.runtime import Module
from dsc.targets import target


@dataclass(frozen=True)
class Culprit:
    """What is to blame.

    fault: "import", "rewrite", "kernel", "packing", "buffer", "reference" (ONNX Runtime is what is wrong), or
    "unknown". what: in words, for people. kernel: the
    function in the library, where it is about one. nodes: the ONNX nodes that it computes.
    """

    fault: str
    what: str
    kernel: str = ""
    nodes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        nodes = f"\n  from ONNX nodes {', '.join(self.nodes)}" if self.nodes else ""
        return self.what + nodes


def find_culprit(
    graph: Graph,
    module: Module,
    inputs: Arrays,
    expected: Arrays,
    progress: Tell,
    tolerance: Tolerance | None = None,
    exact: Arrays | None = None,
) -> Culprit:
    """What makes `module` differ from the model on a sample.

    graph: the model imported, with the shapes that the module was compiled for. expected: the reference's outputs on
    `inputs`. progress: told a phase, the steps done and how many there are. tolerance: the user's, of the outputs;
    passes and kernels are judged by the usual one. exact: the model's outputs, where the module approximates it and
    `expected` are those of the approximation.
    """
    stages = Stages(graph, inputs, expected if exact is None else exact)
    final = graph.clone()
    try:
        if wrong := stages.wrong(final):
            return Culprit("import", f"the model as imported, before any pass, computes something else\n  {wrong}")
        pipeline = Pipeline.parse(str(module.manifest.provenance.get("passes", "")))
        count = len(pipeline.passes)
        pipeline.run(final, [verify_each(stages), lambda index, *_: progress("check passes", index + 1, count)])
    except VerificationError as error:
        return Culprit("rewrite", str(error))
    except DscError as error:
        return Culprit("unknown", f"the passes cannot be checked: {error}")
    try:
        calls = recorded_calls(final, target(module.manifest.target), module.manifest.kernels)
        trace = Trace(final, module, calls, inputs, lambda done, total: progress("check kernels", done, total))
        outputs = trace.run()
    except UsageError as error:
        made_by = module.manifest.versions.get("dsc", "?")
        return Culprit(
            "unknown",
            "the passes are right, but the artifact is not what they give now (it was made by another version or with "
            f"other passes: dsc {made_by}), so its kernels cannot be told apart: {error}",
        )
    judge = Judge(lambda: graph, tolerance)
    return _said(trace) or _unexplained(judge, module, inputs, expected, outputs, trace)


def _said(trace: Trace) -> Culprit | None:
    found = trace.found
    if isinstance(found, Overwritten):
        return _overwritten(found)
    if isinstance(found, WrongKernel):
        return _wrong_kernel(found, trace.module.manifest.kernels)
    return None


def _overwritten(found: Overwritten) -> Culprit:
    value = f"the value made by {_named(found.made_by)}" if found.made_by is not None else "an input of the model"
    read = f"read by {_named(found.read_by)}" if found.read_by is not None else "returned"
    by = f"the result of {_named(found.by)} lies in the same memory" if found.by is not None else "it is not known how"
    call = found.made_by or found.read_by
    return Culprit(
        "buffer",
        f"wrong buffer plan: {value} was overwritten before it was {read}; {by}",
        "" if call is None else call.code.function.name_hint,
        () if call is None else _nodes(call),
    )


def _wrong_kernel(found: WrongKernel, recorded: Sequence[Mapping[str, Any]]) -> Culprit:
    call, name = found.call, str(found.call.code.function.name_hint)
    choice: Mapping[str, Any] = next((c for c in recorded if c["function"] == name), {})
    kernel = f"{choice.get('kernel', '?')} {choice.get('point', '')}, {name}"
    tail = f"\n  {op_text(call.workload.op)}\n  {found.error}"
    if not found.packed:
        what = f"wrong packing: the weights in the artifact for {kernel}, are not the model's as they are packed now"
        return Culprit("packing", what + tail, name, _nodes(call))
    if found.alone:
        what = f"wrong buffer plan: {kernel}, is right when it has buffers of its own, and wrong within the model"
        return Culprit("buffer", what + tail, name, _nodes(call))
    with_packing = " or the packing of its weights" if call.code.implementation.packings else ""
    what = f"wrong kernel: {kernel}{with_packing}: its inputs are right and its result is not"
    return Culprit("kernel", what + tail, name, _nodes(call))


def _unexplained(
    judge: Judge, module: Module, inputs: Arrays, expected: Arrays, watched: Arrays, trace: Trace
) -> Culprit:
    """No pass and no kernel is wrong by itself."""
    if trace.deviations:
        return _deviation(trace)
    if all(error.passed for error in judge.errors(inputs, expected, watched)):
        again = all(error.passed for error in judge.errors(inputs, expected, module.run(inputs)))
        when = "in this run and not in the next" if again else "only when its kernels are not watched one by one"
        return Culprit("unknown", f"every pass and kernel is right; the outputs differ {when}: threads, or memory")
    skipped = f" ({len(trace.unjudged)} kernels could not be judged)" if trace.unjudged else ""
    what = f"no pass, kernel, packing or buffer is wrong by itself{skipped}; small differences add up"
    largest = max(trace.errors, key=lambda pair: pair[1].relative, default=None)
    if largest is None:
        return Culprit("unknown", what)
    call, error = largest
    return Culprit(
        "unknown", f"{what}, most of them from {_named(call)}\n  {error}", call.code.function.name_hint, _nodes(call)
    )


def _deviation(trace: Trace) -> Culprit:
    call, error = trace.deviations[0]
    more = f", and in {len(trace.deviations) - 1} more" if len(trace.deviations) > 1 else ""
    what = (
        f"ONNX Runtime differs from the ONNX specification in {_named(call)}{more}: there the module computes what "
        "onnx.reference does, and all its other parts agree with ONNX Runtime"
    )
    return Culprit("reference", f"{what}\n  {op_text(call.workload.op)}\n  {error}", nodes=_nodes(call))


def _named(call: Call) -> str:
    nodes = _nodes(call)
    place = f" ({', '.join(nodes)})" if nodes else ""
    return f"{call.code.function.name_hint}{place}"


def _nodes(call: Call) -> tuple[str, ...]:
    """The ONNX nodes that a call computes."""
    op = call.workload.op
    parts = op.block.ops if isinstance(op, FusionOp) else (op,)
    return tuple(dict.fromkeys(p.node for p in parts if isinstance(p, OnnxOp) and p.node))
