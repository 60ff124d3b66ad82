"""What may be asked of the compiler: checked before the work, so that nothing is ignored and no nonsense accepted."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from dsc.errors import ArtifactError, UsageError
from dsc.exchange.shapes import Shapes
from dsc.ir import Graph, multiplied_as
from dsc.ir import attention_keep as attention_keep_of
from dsc.ir import attention_window as attention_window_of
from dsc.passes import PassRecord, Pipeline
from dsc.precision import ACTIVATIONS, PRECISIONS
from dsc.runtime.devices import needed_device
from dsc.targets import AnyTarget, Target, families
from dsc.targets import target as named_target

OPT_LEVELS = range(4)
_LOG = logging.getLogger(__name__)


def check_request(
    source: object,
    target: object,
    opt_level: object,
    shapes: Shapes | None,
    passes: object,
    tuning_seconds: object,
    database: Path | None,
    precision: object,
    activations: object,
    attention_window: object,
    attention_keep: object,
) -> None:
    """Raise UsageError for arguments of `compile_model` that are of another type, out of range, or of no effect."""
    check_target(target)
    check_opt_level(opt_level)
    check_passes(passes, precision, activations, attention_window, attention_keep)
    is_number = isinstance(tuning_seconds, int | float) and not isinstance(tuning_seconds, bool)
    if not is_number or not math.isfinite(tuning_seconds) or tuning_seconds < 0:  # type: ignore[arg-type, operator]
        raise UsageError(f"tuning_seconds must be a number of seconds, not {tuning_seconds!r}")
    if database is not None and opt_level != 3:
        raise UsageError(f"a tuning database is for optimization level 3, which measures; this is level {opt_level}")
    if isinstance(source, Graph) and shapes:
        raise UsageError("a Graph has its shapes already: give them to dsc.import_onnx(model, shapes=...)")


def check_target(target: object) -> None:
    """Raise UsageError for what is neither a name nor a target."""
    if not isinstance(target, str | Target):
        known = ", ".join(families())
        raise UsageError(f"target must be a name of one of the families {known}, or a Target, not {target!r}")


def check_runs_here(target: str | AnyTarget, why: str) -> None:
    """Raise UsageError where code for the target cannot run on this machine, as it has to: `why` begins the message.

    Before the work: loading the code would say it after.
    """
    onto = target if isinstance(target, Target) else named_target(target)
    try:
        needed_device(onto.backend().needs, onto.name, "code")
    except ArtifactError as error:
        raise UsageError(
            f"{why} runs the code, and this machine does not run code for {onto.name}: {error}; compile it to a "
            "file to run elsewhere, with `dsc compile` or dsc.pipeline.compile_model"
        ) from error


def check_opt_level(opt_level: object) -> None:
    """Raise UsageError for what is none of the levels."""
    if isinstance(opt_level, bool) or not isinstance(opt_level, int) or opt_level not in OPT_LEVELS:
        raise UsageError(f"there is no optimization level {opt_level!r}: choose one of 0, 1, 2, 3")


def check_passes(
    passes: object,
    precision: object,
    activations: object,
    attention_window: object = None,
    attention_keep: object = None,
) -> None:
    """Raise UsageError for what is no pipeline, no precision, no type of activations, no window, no share of keys, or a
    pipeline beside these."""
    if not isinstance(passes, str | Pipeline | None):
        raise UsageError(f"passes must be a text, as 'canonicalize,fuse', or a Pipeline, not {passes!r}")
    check_precision(precision)
    check_activations(activations)
    check_attention_window(attention_window)
    check_attention_keep(attention_keep)
    if passes is not None and (sparsify := sparsifying(attention_window, attention_keep)):
        raise UsageError(
            "an approximation of attention adds a pass to the preset, and passes are given in its place: "
            f"have {sparsify} after fuse"
        )
    if passes is not None and activations != ACTIVATIONS[0]:
        raise UsageError(
            f"activations {activations} adds a pass to the preset, and passes are given in its place: "
            f"have quantize-rows{{type={activations}}} after fuse"
        )
    if passes is not None and precision != "fp32":
        raise UsageError(
            f"precision {precision} adds a pass to the preset, and passes are given in its place: "
            f"end them with precision{{type={PRECISIONS[str(precision)]}}}"
        )


def check_precision(precision: object) -> None:
    """Raise UsageError for what is none of the precisions."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise UsageError(f"there is no precision {precision!r}: choose one of {', '.join(PRECISIONS)}")


def check_activations(activations: object) -> None:
    """Raise UsageError for what activations cannot be rounded to."""
    if not isinstance(activations, str) or activations not in ACTIVATIONS:
        raise UsageError(f"activations cannot be {activations!r}: choose one of {', '.join(ACTIVATIONS)}")


def check_attention_window(window: object) -> None:
    """Raise UsageError for what is no number of positions."""
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise UsageError(f"an attention window is a number of positions, 1 or more, not {window!r}")


def check_attention_keep(share: object) -> None:
    """Raise UsageError for what is no share of keys."""
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
        raise UsageError(f"what attention keeps is a share of the keys, more than 0 and less than 1, not {share!r}")


def sparsifying(attention_window: object, attention_keep: object) -> str:
    """The pass that approximates attention so, as text; "" where none does."""
    options = {"window": attention_window, "keep": attention_keep}
    given = " ".join(f"{name}={value}" for name, value in options.items() if value is not None)
    return f"sparsify-attention{{{given}}}" if given else ""


def check_regions(attention_window: int | None, attention_keep: float | None, opt_level: int) -> None:
    """Raise UsageError where no regions are formed that could be approximated."""
    if sparsifying(attention_window, attention_keep) and opt_level < 2:
        what = "what attention keeps is" if attention_window is None else "attention windows are"
        raise UsageError(f"{what} of regions, which -O2 and -O3 form; this is -O{opt_level}")


def check_samples(given: bool, approximates: bool) -> None:
    """Raise UsageError for samples on which nothing would be measured."""
    if given and not approximates:
        raise UsageError(
            "samples are to measure by how much an approximation is off, and no pass approximates: have an attention "
            "window or a share of keys that attention keeps, or sparsify-attention among the passes"
        )


def check_approximated(
    graph: Graph, attention_window: int | None, attention_keep: float | None, records: Sequence[PassRecord]
) -> None:
    """Raise UsageError where no attention of an optimized model is approximated in a way that was asked for."""
    asked = ((attention_window, attention_window_of, "have a window of"), (attention_keep, attention_keep_of, "keep"))
    misses = [
        miss for record in records if record.name.startswith("sparsify-attention") for miss in record.near_misses()
    ]
    for wanted, stated, what in asked:
        if wanted is not None and all(stated(op) is None for op in graph.ops()):
            why = "; ".join(f"{miss.count}: {miss.reason}" for miss in misses) or "it has none"
            raise UsageError(f"no attention of the model can {what} {wanted}: {why}")


def check_multiplies_bytes(target: AnyTarget, activations: str, opt_level: int) -> None:
    """Raise UsageError where no kernel would multiply rounded activations by weights of few bits."""
    if activations == ACTIVATIONS[0]:
        return
    if opt_level < 2 or not target.unpacks_weights():
        where = f"-O{opt_level}" if opt_level < 2 else target.name
        raise UsageError(f"activations {activations} are for weights of few bits, which {where} makes floats of")
    if not any(row.a in ("int8", "uint8") and row.b == "int8" for row in target.machine.instructions):
        raise UsageError(
            f"{target.name} has no instruction that multiplies bytes by signed bytes: {activations} needs one"
        )


def check_rounded(graph: Graph, activations: str) -> None:
    """Raise UsageError where an optimized model has no activations that could be rounded as was asked for."""
    if activations != ACTIVATIONS[0] and not any(multiplied_as(op) == activations for op in graph.ops()):
        raise UsageError(
            f"activations {activations} are for products by weights of few bits, and the model has none "
            "(`dsc opt --stats` says what the pass weight-only made of its weights)"
        )


def check_multiplies(target: AnyTarget, precision: str) -> None:
    """Raise UsageError where a target cannot multiply as a precision asks for.

    Half precision is for memory as well, so that it goes without such an instruction: by conversion to float32. A
    warning says so.
    """
    element = PRECISIONS[precision]
    rows = {row.a for row in target.machine.instructions}
    if element is None or element in rows:
        return
    known = ", ".join(name for name, type_ in PRECISIONS.items() if type_ is None or type_ in rows)
    if precision == "tf32":
        raise UsageError(f"{target.name} has no instruction that multiplies tf32; it has some for {known}")
    kept = "tensors are" if target.machine.half_arithmetic else "weights of products are"
    _LOG.warning(
        "%s has no instruction that multiplies %s: %s stored in it, and multiplied in float32 (it has instructions "
        "for %s)", target.name, precision, kept, known,
    )  # fmt: skip
