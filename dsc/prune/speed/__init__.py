"""Models that take less time: by the estimates of dsc's kernels, and measured."""
