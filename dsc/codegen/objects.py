"""From a Relax module to object files: the backend works on several kernels at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tvm
import tvm_ffi
from tvm import relax, tirx

from dsc.codegen.dump import KernelObserver
from dsc.codegen.relax_passes import relax_passes
from dsc.host import usable_cores
from dsc.targets.backend import Backend
from dsc.targets.resources import KernelResources


class KernelError(Exception):
    """No code could be made of a kernel: `function` is its name in the module, `cause` what went wrong."""

    def __init__(self, function: str, cause: Exception) -> None:
        super().__init__(f"in compiling {function}: {cause}")
        self.function, self.cause = function, cause


@dataclass(frozen=True)
class MadeCode:
    """The code of one function of the module."""

    func: tirx.PrimFunc
    library: tvm.runtime.Module
    resources: tuple[KernelResources, ...]
    """What its launches take of the device, if it is known."""


class KernelCode(dict[str, MadeCode]):
    """The code of functions by name; what is compiled again is taken from here where nothing changed."""

    def known(self, name: str, func: tirx.PrimFunc) -> MadeCode | None:
        """The code of that function, if it was made before."""
        made = self.get(name)
        return made if made is not None and tvm_ffi.structural_equal(made.func, func) else None


def write_objects(
    module: tvm.IRModule,
    backend: Backend,
    folder: Path,
    kernels: KernelCode,
    progress: Callable[[int, int], None] | None = None,
    observe: KernelObserver | None = None,
) -> list[Path]:
    """Compile a module made by `dsc.codegen.emit` to object files in `folder`.

    There is one for each kernel, and one with the bytecode.

    `kernels` has the code that was made before, and gets what is made now. `progress` is told how many kernels are
    done, and of how many; `observe` of each that was made. Equal modules give equal files.
    Raises KernelError for the first kernel of which no code can be made.
    """
    with backend.target:
        module = relax_passes()(module)
    builder = relax.ExecBuilder()
    rest = tvm.get_global_func("relax.VMCodeGen")(builder, module)
    functions = sorted((v.name_hint, f) for v, f in rest.functions.items() if isinstance(f, tirx.PrimFunc))
    paths = [folder / f"{name}.o" for name, _ in functions]
    done = 0

    def compiled(name: str, func: tirx.PrimFunc, path: Path) -> tvm.runtime.Module:
        nonlocal done
        made = kernels.known(name, func)
        if made is None:
            made = kernels[name] = _made(name, func, backend, observe)
        write_object(made.library, path)
        done += 1
        if progress is not None:
            progress(done, len(paths))
        return made.library

    # TVM lets go of the interpreter lock while it lowers and generates code.
    with ThreadPoolExecutor(usable_cores()) as pool:
        first, *others = pool.map(compiled, *zip(*functions, strict=True), paths)
    executable = tvm.get_global_func("relax.VMLink")(builder, backend.target, first, others, {})
    paths.append(folder / "bytecode.o")
    write_imports(executable, first, backend, paths[-1])
    return paths


def _made(name: str, func: tirx.PrimFunc, backend: Backend, observe: KernelObserver | None) -> MadeCode:
    """The code of a function. Raises KernelError where none can be made."""
    try:
        lowered = backend.lower(tvm.IRModule({tvm.ir.GlobalVar(name): func}))
        library = backend.generate(lowered)
        made = MadeCode(func, library, backend.resources(lowered, library))
    except Exception as error:
        raise KernelError(name, error) from error
    if observe is not None:
        observe(name, func, lowered, library)
    return made


def write_imports(module: tvm.runtime.Module, host: tvm.runtime.Module, backend: Backend, path: Path) -> None:
    """Write what `module` imports and is no code of the host's, bytecode and code for devices, as an object file.

    host: any module of the host's code.
    """
    target = str(host.get_function("_get_target_string")())
    imports = tvm.get_global_func("runtime.ModulePackImportsToTensor")(module).numpy().tobytes()
    write_object(tvm.get_global_func("codegen.codegen_blob")(backend.pack(imports), False, target, ""), path)


def write_object(library: tvm.runtime.Module, path: Path) -> None:
    """Write the host's code as an object file. Raises OSError where that fails: LLVM itself would end the process."""
    with open(os.memfd_create(path.name), "rb") as memory:
        library.write_to_file(f"/proc/self/fd/{memory.fileno()}", "o")
        path.write_bytes(memory.read())


def compile_kernel(name: str, func: tirx.PrimFunc, backend: Backend) -> tvm.runtime.Module:
    """One kernel as a module of the host's code, which imports the device's."""
    return compile_kernels(tvm.IRModule({tvm.ir.GlobalVar(name): func}), backend)


def compile_kernels(module: tvm.IRModule, backend: Backend) -> tvm.runtime.Module:
    """All functions of `module`, each with the attribute `global_symbol`, as one module."""
    return backend.generate(backend.lower(module))
