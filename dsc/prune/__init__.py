"""Models with fewer weights.

The package is what `dsc.prune(model, calibration)` calls, too: a function of `import dsc` is called as its package.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsc.prune.pruned import Pruned


class _Callable(ModuleType):
    def __call__(self, *args: Any, **keywords: Any) -> Pruned:
        from dsc.prune.prune import prune

        return prune(*args, **keywords)


sys.modules[__name__].__class__ = _Callable
