"""The same float function with other numbers in its channels: what a product reads is divided by a factor for each
channel, its weight multiplied by it, so that both fit bytes better.
"""

from __future__ import annotations

from dsc.quantize.rescale.apply import Change, rescale

__all__ = ["Change", "rescale"]
