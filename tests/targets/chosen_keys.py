"""Attention to chosen keys, as the pass `sparsify-attention` makes it: the choice, and the region apart from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from dsc.exchange import export_model, import_model
from dsc.ir import FusionOp, Graph, attention_keep
from dsc.lower.workload import Workload
from dsc.passes import Pipeline
from tests.compiled import TextModel
from tests.targets.weighted import Weighted

BLOCK = 32


def text(shape: tuple[int | str, ...], mask: str = "", between: str = "w = Softmax<axis=-1>(p)", keys: int = 0) -> str:
    """Heads of 24 in a merged tensor of [batch, length, 48] (two heads); `between` makes w of the scaled product p."""
    batch, length = shape
    other = keys or length
    given = f"float[{batch},{length},48] q, float[{batch},{other},48] k, float[{batch},{other},48] v"
    return f"""({given}{", " if mask else ""}{mask}) => (float[{batch},{length},48] y) {{
        split = Constant<value=int64[4] {{0, 0, 2, 24}}>() join = Constant<value=int64[3] {{0, 0, 48}}>()
        scale = Constant<value=float {{0.2}}>()
        qs = Reshape(q, split) qt = Transpose<perm=[0, 2, 1, 3]>(qs)
        ks = Reshape(k, split) kt = Transpose<perm=[0, 2, 3, 1]>(ks)
        vs = Reshape(v, split) vt = Transpose<perm=[0, 2, 1, 3]>(vs)
        m = MatMul(qt, kt) p = Mul(m, scale) {between}
        c = MatMul(w, vt) ct = Transpose<perm=[0, 2, 1, 3]>(c) y = Reshape(ct, join) }}"""


ADDED = "pm = Add(p, mask) w = Softmax<axis=-1>(pm)"


def sparsified(of: str, options: str, quantized: bool = False) -> Graph:
    """After the pass."""
    graph = import_model(TextModel(of).proto())
    fuse = "fuse{quantized-attention=true}" if quantized else "fuse"
    Pipeline.parse(f"canonicalize,{fuse},sparsify-attention{{{options}}}").run(graph)
    return graph


def attention_of(graph: Graph) -> FusionOp:
    """The only region that keeps some of its keys."""
    (found,) = (op for op in graph.ops() if isinstance(op, FusionOp) and attention_keep(op) is not None)
    return found


def run(graph: Graph, feeds: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Output, and which blocks were chosen, by ONNX Runtime."""
    copy = graph.clone()
    named = list(zip(copy.output_names, copy.outputs, strict=True))
    copy.set_outputs([*named, ("chosen", attention_of(copy).operands[-1])])
    session = onnxruntime.InferenceSession(export_model(copy).SerializeToString())
    output, chosen = session.run(None, dict(feeds))
    return output, chosen


def workload(graph: Graph) -> Workload:
    """The region."""
    return Workload.of(attention_of(graph))


@dataclass(frozen=True)
class ChosenAttention(Weighted):
    """The region apart from its choice, which is an input like others: the last."""

    kind: str = "attention"
    options: str = "keep=0.3"
    quantized: bool = False

    def graph(self) -> Graph:
        """One region, its inputs in the order in which it has them."""
        whole = sparsified(self.text, self.options, self.quantized)
        fusion = attention_of(whole)
        named = {value: name for name, value in zip(whole.input_names, whole.inputs, strict=True)}
        given = [(named.get(value, "chosen"), value.type) for value in fusion.operands]
        graph = Graph.build(given, whole.weights)
        again = fusion.clone(dict(zip(fusion.operands, graph.inputs, strict=True)))
        graph.body.add_op(again)
        graph.set_outputs(list(zip(whole.output_names, again.results, strict=True)))
        return graph

    def model(self) -> onnx.ModelProto:
        """As it is exported."""
        return export_model(self.graph())

    def workload(self) -> Workload:
        """The region."""
        return workload(self.graph())

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """Blocks are chosen at random, at least one for each block of queries."""
        *arrays, chosen = super().arrays(seed)
        random = np.random.default_rng(seed + 1)
        picked = random.random(chosen.shape) < 0.4
        picked[..., 0] |= ~picked.any(-1)
        return [*arrays, picked.astype(np.uint8)]


def inputs(batch: int, queries: int, keys: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = {"q": queries, "k": keys or queries, "v": keys or queries}
    return {name: random.standard_normal((batch, size, 48), np.float32) for name, size in sizes.items()}


def _heads(array: np.ndarray) -> np.ndarray:
    return array.reshape(*array.shape[:2], 2, 24).transpose(0, 2, 1, 3).astype(np.float64)


def estimates(feeds: Mapping[str, np.ndarray], live: np.ndarray) -> np.ndarray:
    """Means of blocks of queries times those of keys that are live, ``[batch, 1, 1, keys]``, in float64."""
    q, k = _heads(feeds["q"]), _heads(feeds["k"])
    rows = [q[:, :, i : i + BLOCK].mean(2) for i in range(0, q.shape[2], BLOCK)]
    weights = live[:, :, 0, :, None]
    columns = []
    for i in range(0, k.shape[2], BLOCK):
        kept, these = weights[:, :, i : i + BLOCK], k[:, :, i : i + BLOCK]
        columns.append((kept * these).sum(2) / np.maximum(kept.sum(2), 1))
    return 0.2 * np.stack(rows, 2) @ np.stack(columns, 2).swapaxes(2, 3)


def attention(feeds: Mapping[str, np.ndarray], seen: np.ndarray) -> np.ndarray:
    """Softmax over the keys that are seen, in float64; 0 for queries without any."""
    q, k, v = (_heads(feeds[name]) for name in "qkv")
    scores = np.where(seen, 0.2 * q @ k.swapaxes(2, 3), -np.inf)
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = np.nan_to_num(weights / weights.sum(-1, keepdims=True))
    found = (weights @ v).transpose(0, 2, 1, 3)
    return found.reshape(*found.shape[:2], -1)


def expanded(chosen: np.ndarray, queries: int, keys: int) -> np.ndarray:
    """Of each query and key."""
    return chosen.repeat(BLOCK, 2).repeat(BLOCK, 3)[:, :, :queries, :keys].astype(bool)
