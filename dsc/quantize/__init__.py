"""Models in fewer bits.

The package is what `dsc.quantize(model, calibration)` calls, too: a function of `import dsc` is called as its package.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsc.quantize.quantized import Quantized


class _Callable(ModuleType):
    def __call__(self, *args: Any, **keywords: Any) -> Quantized:
        from dsc.quantize.quantize import quantize

        return quantize(*args, **keywords)


sys.modules[__name__].__class__ = _Callable
