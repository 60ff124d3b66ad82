"""Convolutions on CPUs: direct, depthwise and Winograd, for packed (NCHW[c]) and plain tensors."""
