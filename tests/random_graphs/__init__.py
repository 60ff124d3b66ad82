"""Random graphs over all operators that dsc compiles, judged against ONNX Runtime.

`python -m tests.random_graphs --count 3000 --seed 1` runs many; `test_random_graphs.py` some in each test run.
"""
