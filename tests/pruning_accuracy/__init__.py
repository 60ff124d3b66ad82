"""Accuracy of pruned models of the zoo."""
