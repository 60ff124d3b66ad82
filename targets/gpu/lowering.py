"""From kernels with launches to functions of the host and of the device, for every family of GPUs."""

from __future__ import annotations

import tvm
from tvm import s_tir, tirx

from dsc.lower.floats import opaque, plain
from dsc.lower.functions import Expansions, expanded
from dsc.lower.nearest import rounded_first
from dsc.targets.backend import ON_HOST, Backend
from dsc.targets.tir.passes import compacted_blocks, each, flat_loops
from dsc.targets.tir.plain_shapes import plain_shapes


def lower(
    module: tvm.IRModule,
    target: tvm.target.Target,
    host: Backend,
    functions: Expansions,
    device_passes: tvm.transform.Pass,
) -> tvm.IRModule:
    """Functions with launches, as what code is generated from: the host's by `host`, the device's by its own passes.

    Functions of tensors in the host's memory, or of none, are the host's.
    functions: how the device computes elementary functions.
    """
    on_host = {name for name, func in module.functions.items() if _is_hosts(func)}
    lowered = tvm.IRModule({})
    if on_host:
        lowered.update(host.lower(tvm.IRModule({name: module[name] for name in on_host})))
    kernels = {name: func for name, func in module.functions.items() if name not in on_host}
    if kernels:
        split = tirx.transform.BindTarget(target)(tvm.IRModule(kernels))
        split = _kernel_passes(functions)(split)
        lowered.update(_host_passes()(hosts_part(split, target)))
        lowered.update(device_passes(devices_part(split, target)))
    return lowered


def devices_part(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """The functions of the target's device."""
    return _of_kind(module, target, device=True)


def hosts_part(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """The functions of its host."""
    return _of_kind(module, target, device=False)


def _of_kind(module: tvm.IRModule, target: tvm.target.Target, *, device: bool) -> tvm.IRModule:
    kind = target.kind.name
    found = {
        name: func for name, func in module.functions.items() if (func.attrs["target"].kind.name == kind) == device
    }
    return tvm.IRModule(found, attrs=module.attrs)


def _is_hosts(func: tirx.PrimFunc) -> bool:
    """Whether a function is marked as the host's, or has no tensors."""
    marked = bool(func.attrs) and (ON_HOST in func.attrs or "tirx.is_host_func" in func.attrs)
    return marked or not any(tirx.is_buffer_var(parameter) for parameter in func.params)


def _kernel_passes(functions: Expansions) -> tvm.transform.Pass:
    """An explicit list, to functions of the host that launch functions of the device.

    functions: how the machine computes elementary functions.
    """
    return tvm.transform.Sequential(
        [
            each(lambda func: expanded(func, functions), "dsc.expanded_functions"),
            each(rounded_first, "dsc.rounded_first"),
            each(opaque, "dsc.opaque_floats"),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerCrossThreadReduction(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.LiftThreadBinding(),
            compacted_blocks(),
            s_tir.transform.UnifyThreadBinding(),
            *flat_loops(),
            tirx.transform.AnnotateEntryFunc(),
            s_tir.transform.ThreadSync("shared"),
            s_tir.transform.ThreadSync("shared.dyn"),
            s_tir.transform.LowerThreadAllreduce(),
            s_tir.transform.MergeSharedMemoryAllocations(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
        ],
        name="dsc.gpu.kernels",
    )


def _host_passes() -> tvm.transform.Pass:
    """The part of the host, which launches."""
    return tvm.transform.Sequential(
        [
            tirx.transform.LowerTVMBuiltin(),
            each(plain_shapes, "dsc.plain_shapes"),
            each(plain, "dsc.plain_floats"),
            tirx.transform.LowerIntrin(),
            tirx.transform.ConvertSSA(),
        ],
        name="dsc.gpu.host",
    )
