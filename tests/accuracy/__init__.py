"""Accuracy of quantized models of the zoo."""
