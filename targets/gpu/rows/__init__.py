"""Rows that are reduced and computed from registers: norms, softmax, means, the largest of a row."""

from dsc.targets.gpu.rows.kernel import ReduceRows as ReduceRows
