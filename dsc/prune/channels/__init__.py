"""Channels that are removed: dims that depend on one another are found, what they are worth, and the smaller model."""
