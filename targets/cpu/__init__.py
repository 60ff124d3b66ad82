"""Kernels that any CPU runs: register tiles, packed weights, epilogues from the region's body."""
