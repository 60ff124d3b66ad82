"""Models run with pages around every tensor that nobody may touch: a read or a write outside of one is a crash.

`python -m tests.guards` runs all of ONNX's node cases and models of random sizes; the tests take some of them.
"""
