"""Small graphs of the kinds of regions that networks have, on sizes that no tile, vector or warp divides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import compose, numpy_helper

OPSET = 21

# In each, what is named w or b is a weight.
CONVOLUTIONS = {
    "stem 7x7": "(float[1,3,57,57] x) => (float[1,64,29,29] y) <float[64,3,7,7] w>"
    "{ y = Conv<strides=[2,2],pads=[3,3,3,3]>(x, w) }",
    "stem 3x3": "(float[1,3,47,47] x) => (float[1,16,24,24] y) <float[16,3,3,3] w>"
    "{ y = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w) }",
    "pointwise to 16": "(float[1,32,28,28] x) => (float[1,16,28,28] y) <float[16,32,1,1] w> { y = Conv(x, w) }",
    "pointwise to 24": "(float[1,144,13,13] x) => (float[1,24,13,13] y) <float[24,144,1,1] w> { y = Conv(x, w) }",
    "pointwise to 8": "(float[1,32,14,14] x) => (float[1,8,14,14] y) <float[8,32,1,1] w> { y = Conv(x, w) }",
    "pointwise of 1x1": "(float[1,64,1,1] x) => (float[1,16,1,1] y) <float[16,64,1,1] w> { y = Conv(x, w) }",
    "3x3 to 1": "(float[1,32,13,13] x) => (float[1,1,13,13] y) <float[1,32,3,3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }",
    "3x3 of 20": "(float[1,20,13,13] x) => (float[1,36,13,13] y) <float[36,20,3,3] w>"
    "{ y = Conv<pads=[1,1,1,1]>(x, w) }",
    "3x3 of 33": "(float[1,33,9,9] x) => (float[1,33,9,9] y) <float[33,33,3,3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }",
    "3x3 on 7x7": "(float[1,64,7,7] x) => (float[1,64,7,7] y) <float[64,64,3,3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }",
    "groups of 8": "(float[1,64,7,7] x) => (float[1,64,7,7] y) <float[64,8,3,3] w>"
    "{ y = Conv<group=8,pads=[1,1,1,1]>(x, w) }",
    "groups of 3": "(float[1,12,9,9] x) => (float[1,24,9,9] y) <float[24,3,3,3] w>"
    "{ y = Conv<group=4,pads=[1,1,1,1]>(x, w) }",
    "one-dimensional": "(float[1,48,101] x) => (float[1,32,101] y) <float[32,48,3] w> { y = Conv<pads=[1,1]>(x, w) }",
    "transposed": "(float[1,32,7,7] x) => (float[1,16,14,14] y) <float[32,16,2,2] w>"
    "{ y = ConvTranspose<strides=[2,2]>(x, w) }",
    "transposed 3x3": "(float[1,24,7,7] x) => (float[1,24,13,13] y) <float[24,24,3,3] w>"
    "{ y = ConvTranspose<strides=[2,2],pads=[1,1,1,1]>(x, w) }",
}
DEPTHWISE = {
    "3x3 on 7x7": "(float[1,96,7,7] x) => (float[1,96,7,7] y) <float[96,1,3,3] w>"
    "{ y = Conv<group=96,pads=[1,1,1,1]>(x, w) }",
    "5x5 on 7x7": "(float[1,192,7,7] x) => (float[1,192,7,7] y) <float[192,1,5,5] w>"
    "{ y = Conv<group=192,pads=[2,2,2,2]>(x, w) }",
    "5x5 to 7x7": "(float[1,64,14,14] x) => (float[1,64,7,7] y) <float[64,1,5,5] w>"
    "{ y = Conv<group=64,strides=[2,2],pads=[2,2,2,2]>(x, w) }",
    "5x5 on 5x5": "(float[1,40,5,5] x) => (float[1,40,5,5] y) <float[40,1,5,5] w>"
    "{ y = Conv<group=40,pads=[2,2,2,2]>(x, w) }",
    "3x3 of 20": "(float[1,20,13,13] x) => (float[1,20,13,13] y) <float[20,1,3,3] w>"
    "{ y = Conv<group=20,pads=[1,1,1,1]>(x, w) }",
    "3x3 of 33": "(float[1,33,13,13] x) => (float[1,33,13,13] y) <float[33,1,3,3] w>"
    "{ y = Conv<group=33,pads=[1,1,1,1]>(x, w) }",
    "one-dimensional": "(float[1,48,101] x) => (float[1,48,101] y) <float[48,1,5] w>"
    "{ y = Conv<group=48,pads=[2,2]>(x, w) }",
}
POOLS = {
    "3x3, steps of 2": "(float[1,64,15,15] x) => (float[1,64,7,7] y)"
    "{ y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(x) }",
    "2x2 of 13": "(float[1,20,13,13] x) => (float[1,20,6,6] y){ y = AveragePool<kernel_shape=[2,2],strides=[2,2]>(x) }",
    "3x3 of 33": "(float[1,33,9,9] x) => (float[1,33,7,7] y) { y = MaxPool<kernel_shape=[3,3]>(x) }",
    "wide": "(float[1,48,6,40] x) => (float[1,48,3,40] y){ y = MaxPool<kernel_shape=[2,1],strides=[2,1]>(x) }",
}
MOVES = {
    "transpose": "(float[5,37,29] x) => (float[29,5,37] y) { y = Transpose<perm=[2,0,1]>(x) }",
    "heads": "(float[1,49,96] x) => (float[1,6,49,16] y)"
    "{ s = Constant<value_ints=[1,49,6,16]>() t = Reshape(x, s) y = Transpose<perm=[0,2,1,3]>(t) }",
    "to channels last": "(float[1,19,13,13] x) => (float[1,13,13,19] y) { y = Transpose<perm=[0,2,3,1]>(x) }",
    "concat": "(float[1,16,7,7] x, float[1,24,7,7] z) => (float[1,40,7,7] y) { y = Concat<axis=1>(x, z) }",
    "concat of rows": "(float[37,13] x, float[37,21] z) => (float[37,34] y) { y = Concat<axis=1>(x, z) }",
    "slice": "(float[3,37,29] x) => (float[3,35,26] y)"
    "{ s = Constant<value_ints=[1,2]>() e = Constant<value_ints=[36,28]>() a = Constant<value_ints=[1,2]>()"
    " y = Slice(x, s, e, a) }",
    "pad": "(float[3,13,29] x) => (float[3,15,31] y){ p = Constant<value_ints=[0,1,1,0,1,1]>() y = Pad(x, p) }",
    "gather of rows": "(float[50,77] x, int64[13] i) => (float[13,77] y) { y = Gather(x, i) }",
    "resize": "(float[1,24,7,7] x) => (float[1,24,14,14] y)"
    '{ s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() y = Resize<mode="nearest">(x, , s) }',
    "linear resize": "(float[1,12,7,7] x) => (float[1,12,13,13] y)"
    '{ s = Constant<value_floats=[1.0,1.0,1.9,1.9]>() y = Resize<mode="linear">(x, , s) }',
}
ELEMENTS = {
    "odd": "(float[37,29] x, float[29] z) => (float[37,29] y) { t = Add(x, z) y = Tanh(t) }",
    "gate": "(float[1,48,7,7] x, float[1,48,1,1] z) => (float[1,48,7,7] y) { s = Sigmoid(z) y = Mul(x, s) }",
    "column": "(float[37,29] x, float[37,1] z) => (float[37,29] y) { y = Mul(x, z) }",
    "sum": "(float[1,20,13,13] x, float[1,20,13,13] z) => (float[1,20,13,13] y) { t = Add(x, z) y = Relu(t) }",
}
PRODUCTS = {
    "odd": "(float[37,45] x) => (float[37,51] y) <float[45,51] w> { y = MatMul(x, w) }",
    "head": "(float[1,160] x) => (float[1,214] y) <float[160,214] w, float[214] b> { y = Gemm(x, w, b) }",
    "transposed head": "(float[1,160] x) => (float[1,101] y) <float[101,160] w, float[101] b>"
    "{ y = Gemm<transB=1>(x, w, b) }",
    "few columns": "(float[300,64] x) => (float[300,5] y) <float[64,5] w> { y = MatMul(x, w) }",
    "of two tensors": "(float[3,29,40] x, float[3,40,31] z) => (float[3,29,31] y) { y = MatMul(x, z) }",
    "of heads": "(float[4,49,16] x, float[4,49,16] z) => (float[4,49,49] y)"
    "{ t = Transpose<perm=[0,2,1]>(z) y = MatMul(x, t) }",
}
KINDS: Mapping[str, Mapping[str, str]] = {
    "convolution": CONVOLUTIONS, "depthwise": DEPTHWISE, "pool": POOLS, "move": MOVES, "elements": ELEMENTS,
    "product": PRODUCTS,
}  # fmt: skip


def model(texts: Sequence[str], seed: int = 0) -> onnx.ModelProto:
    """All graphs side by side in one model, the n-th with its names after ``n.``, with random weights."""
    graphs = []
    for i, text in enumerate(texts):
        graph = onnx.parser.parse_graph(f"g {text}")
        graphs.append(compose.add_prefix_graph(_weighted(graph, seed + i), f"n{i}."))
    joined = onnx.helper.make_graph(
        [node for graph in graphs for node in graph.node], "joined",
        [value for graph in graphs for value in graph.input], [value for graph in graphs for value in graph.output],
        [value for graph in graphs for value in graph.initializer],
    )  # fmt: skip
    return onnx.helper.make_model(joined, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)


def _weighted(graph: onnx.GraphProto, seed: int) -> onnx.GraphProto:
    """Random numbers for the values that are declared beside the inputs."""
    random = np.random.default_rng(seed)
    for value in graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        graph.initializer.append(numpy_helper.from_array(random.standard_normal(shape, np.float32), value.name))
    del graph.value_info[:]
    return graph


def feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; integers lie in [0, 8)."""
    random, found = np.random.default_rng(seed), {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        is_integer = value.type.tensor_type.elem_type == onnx.TensorProto.INT64
        found[value.name] = random.integers(0, 8, shape) if is_integer else random.standard_normal(shape, np.float32)
    return found
