"""Models with small integers in place of floats."""
