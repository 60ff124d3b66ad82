"""GPT-2 small (Radford et al., 2019): the real shapes, seeded random weights, no key/value cache.

Batch and sequence length are free. Spelled as PyTorch exports transformers' GPT2LMHeadModel: Gemm on
flattened tokens, Split for query, key and value, the causal mask sliced from a constant, GELU with tanh.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.weights import Random

_LAYERS, _HIDDEN, _HEADS, _POSITIONS, _VOCABULARY = 12, 768, 12, 1024, 50257
_SIZE = _HIDDEN // _HEADS


def gpt2() -> onnx.ModelProto:
    """124 million parameters; input_ids (batch, sequence), output logits (batch, sequence, 50257)."""
    return _Gpt2().model()


class _Gpt2:
    def __init__(self) -> None:
        self._graph, self._weights = Builder("gpt2"), Random(seed=2)

    def model(self) -> onnx.ModelProto:
        graph = self._graph
        ids = graph.input("input_ids", np.int64, ("batch", "sequence"))
        length = self._dim(ids, 1)
        words = self._parameter("transformer.wte.embedding", _VOCABULARY, _HIDDEN)
        places = self._parameter("transformer.wpe.embedding", _POSITIONS, _HIDDEN)
        steps = graph.op("Range", self._index(0), length, self._index(1))
        position = graph.op("Gather", places, graph.op("Unsqueeze", steps, graph.ints(0)))
        x = graph.op("Add", graph.op("Gather", words, ids), position)
        mask = self._causal_mask(length)
        for index in range(_LAYERS):
            with graph.scope(f"transformer/h.{index}"):
                x = self._layer(x, mask, f"transformer.h.{index}")
        x = self._norm(x, "transformer.ln_f")
        logits = graph.op("MatMul", x, graph.op("Transpose", words, perm=[1, 0]))
        graph.output("logits", logits, np.float32, ("batch", "sequence", _VOCABULARY))
        return graph.model()

    def _causal_mask(self, length: str) -> str:
        """The leading (sequence, sequence) of a lower triangle, as (1, 1, sequence, sequence) booleans."""
        graph = self._graph
        triangle = np.tril(np.ones((1, 1, _POSITIONS, _POSITIONS), np.bool_))
        every = graph.weight("transformer.causal_mask", triangle)
        ends = graph.op("Unsqueeze", length, graph.ints(0))
        rows = graph.op("Slice", every, graph.ints(0), ends, graph.ints(2))
        return graph.op("Slice", rows, graph.ints(0), ends, graph.ints(3))

    def _layer(self, x: str, mask: str, name: str) -> str:
        graph = self._graph
        with graph.scope("attn"):
            y = self._attention(self._norm(x, f"{name}.ln_1"), mask, f"{name}.attn")
        x = graph.op("Add", y, x)
        with graph.scope("mlp"):
            y = self._conv1d(self._norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc", _HIDDEN, 4 * _HIDDEN)
            y = self._conv1d(self._gelu(y), f"{name}.mlp.c_proj", 4 * _HIDDEN, _HIDDEN)
        return graph.op("Add", x, y)

    def _attention(self, x: str, mask: str, name: str) -> str:
        graph = self._graph
        merged = self._conv1d(x, f"{name}.c_attn", _HIDDEN, 3 * _HIDDEN)
        query, key, value = graph.ops("Split", merged, graph.ints(*[_HIDDEN] * 3), results=3, axis=2)
        query, key, value = (
            graph.op("Transpose", graph.op("Reshape", part, self._shape_like(part, _HEADS, _SIZE)), perm=perm)
            for part, perm in ((query, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3]))
        )
        scores = graph.op("Div", graph.op("MatMul", query, key), graph.scalar(_SIZE**0.5))
        scores = graph.op("Where", mask, scores, graph.scalar(float(np.finfo(np.float32).min)))
        context = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
        context = graph.op("Transpose", context, perm=[0, 2, 1, 3])
        context = graph.op("Reshape", context, self._shape_like(context, _HIDDEN))
        return self._conv1d(context, f"{name}.c_proj", _HIDDEN, _HIDDEN)

    def _conv1d(self, x: str, name: str, before: int, after: int) -> str:
        """transformers' Conv1D: Gemm on the flattened tokens, then back to (batch, sequence, after)."""
        graph = self._graph
        shape = self._shape_like(x, after)
        flat = graph.op("Reshape", x, graph.ints(-1, before))
        weight = graph.weight(f"{name}.weight", self._weights(f"{name}.weight", after, before).T)
        product = graph.op("Gemm", flat, weight, self._parameter(f"{name}.bias", after))
        return graph.op("Reshape", product, shape)

    def _gelu(self, x: str) -> str:
        """0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))"""
        graph = self._graph
        cube = graph.op("Mul", graph.op("Pow", x, graph.scalar(3.0)), graph.scalar(0.044715))
        inner = graph.op("Mul", graph.op("Add", x, cube), graph.scalar(math.sqrt(2 / math.pi)))
        tanh = graph.op("Add", graph.op("Tanh", inner), graph.scalar(1.0))
        return graph.op("Mul", graph.op("Mul", x, graph.scalar(0.5)), tanh)

    def _norm(self, x: str, name: str) -> str:
        scale, shift = (self._parameter(f"{name}.{part}", _HIDDEN) for part in ("weight", "bias"))
        return self._graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def _parameter(self, name: str, *shape: int) -> str:
        return self._graph.weight(name, self._weights(name, *shape))

    def _shape_like(self, x: str, *last: int) -> str:
        graph = self._graph
        dims = [graph.op("Unsqueeze", self._dim(x, axis), graph.ints(0)) for axis in (0, 1)]
        return graph.op("Concat", *dims, *(graph.ints(size) for size in last), axis=0)

    def _dim(self, x: str, axis: int) -> str:
        return self._graph.op("Gather", self._graph.op("Shape", x), self._index(axis), axis=0)

    def _index(self, value: int) -> str:
        return self._graph.op("Squeeze", self._graph.ints(value))
