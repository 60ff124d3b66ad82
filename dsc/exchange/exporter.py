"""Graph -> ModelProto, at any stage of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from dsc.errors import DscError
from dsc.exchange.layout_nodes import layout_nodes
from dsc.exchange.names import unique
from dsc.exchange.schema_version import OLDEST, oldest_opset
from dsc.ir import FusionOp, Graph, OnnxOp, PackOp, UnpackOp, WeightOp, YieldOp, describe
from dsc.ir.onnx.infer import to_type_proto

DOMAIN = "dsc"
"""The domain of the model-local functions that fusions become."""

_MIN_IR_VERSION = 10
_Tensor = Callable[[str, np.ndarray], onnx.TensorProto]


def export_model(graph: Graph, *, tensor: _Tensor | None = None) -> onnx.ModelProto:
    """The ONNX model of a graph, at the oldest opset that has what it uses.

    A `dsc.fusion` becomes a call of a model-local function of domain "dsc", whose body is the fusion's; pack
    and unpack become Reshape and Transpose. tensor: makes the initializer of a weight, by default with the
    data inside.
    Operators of plugins keep their domain, which the model imports. Raises DscError for ops that have no ONNX form.
    """
    return _Exporter(graph, tensor or inline_tensor).model()


def inline_tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    """An initializer with its data in raw_data."""
    return onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)


@dataclass
class _Names:
    """The names of the values of one graph or function, subgraphs included."""

    of: dict[SSAValue, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)

    def fresh(self, wish: str) -> str:
        """A name for a value that no other has."""
        return unique(wish, self.taken)

    def node(self, wish: str) -> str | None:
        """A name for a node that no other has; None for a nameless one."""
        return unique(wish, self.nodes) if wish else None

    def define(self, value: SSAValue) -> str:
        """The name of a value; made from its hint when it has none yet."""
        if value not in self.of:
            self.of[value] = self.fresh(value.name_hint or "v")
        return self.of[value]


class _Exporter:
    def __init__(self, graph: Graph, tensor: _Tensor) -> None:
        self._graph = graph
        self._tensor = tensor
        self._opsets = {"": OLDEST}
        """The version that is needed of each domain."""
        self._functions: dict[bytes, onnx.FunctionProto] = {}
        self._initializers: dict[str, onnx.TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        graph, names = self._graph, _Names()
        input_names, output_names = graph.input_names, graph.output_names
        names.taken.update(input_names, output_names)
        names.of.update(zip(graph.inputs, input_names, strict=True))
        copies = self._name_outputs(names, output_names)
        nodes = self._nodes(graph.body, names)
        proto = onnx.helper.make_graph(
            [*nodes, *copies],
            graph.name,
            [_value_info(n, v.type) for n, v in zip(input_names, graph.inputs, strict=True)],
            [_value_info(n, v.type) for n, v in zip(output_names, graph.outputs, strict=True)],
            list(self._initializers.values()),
        )
        return self._wrap(proto)

    def _name_outputs(self, names: _Names, output_names: list[str]) -> list[onnx.NodeProto]:
        """Name the values that are outputs; Identity nodes for inputs, constants and values that are outputs
        twice.
        """
        copies = []
        for name, value in zip(output_names, self._graph.outputs, strict=True):
            is_made = isinstance(value.owner, Operation) and not isinstance(value.owner, WeightOp)
            if is_made and value not in names.of:
                names.of[value] = name
            else:
                copies.append(onnx.helper.make_node("Identity", [names.define(value)], [name]))
        return copies

    def _wrap(self, proto: onnx.GraphProto) -> onnx.ModelProto:
        imports = [onnx.helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        for function in self._functions.values():
            function.opset_import.extend(imports)
        ir_version = max(_MIN_IR_VERSION, onnx.helper.find_min_ir_version_for(imports[:1]))
        if self._functions:
            imports.append(onnx.helper.make_opsetid(DOMAIN, 1))
        model: onnx.ModelProto = onnx.helper.make_model(
            proto, opset_imports=imports, ir_version=ir_version, functions=list(self._functions.values())
        )
        _set_metadata(model, self._graph.metadata)
        return model

    def _nodes(self, block: Block, names: _Names) -> list[onnx.NodeProto]:
        return [node for op in block.ops for node in self._op(op, names)]

    def _op(self, op: Operation, names: _Names) -> Iterable[onnx.NodeProto]:
        match op:
            case ReturnOp() | YieldOp():
                return []
            case WeightOp():
                name = names.define(op.out)
                self._initializers[name] = self._tensor(name, self._graph.weights.get(op.weight))
                return []
            case PackOp() | UnpackOp():
                return layout_nodes(op, names.of[op.source], names.define(op.out), names.fresh)
            case FusionOp():
                return [self._call(op, names)]
            case OnnxOp():
                return [self._node(op, names)]
        raise DscError(f"there is no ONNX form of this operation\n  at {describe(op)}")

    def _node(self, op: OnnxOp, names: _Names) -> onnx.NodeProto:
        schema = op.onnx_schema
        self._opsets[schema.domain] = max(self._opsets.get(schema.domain, 0), oldest_opset(op))
        inputs = ["" if v is None else names.of[v] for v in op.node_inputs()]
        outputs = ["" if v is None else names.define(v) for v in op.node_outputs()]
        node: onnx.NodeProto = onnx.helper.make_node(
            schema.name, inputs, outputs, name=names.node(op.node), domain=schema.domain or None
        )
        for name, value in op.attrs().items():
            node.attribute.append(_attribute(op, name, value))
        for name, region in zip(op.graph_attributes, op.regions, strict=True):
            body = self._subgraph(region.block, name, names)
            node.attribute.append(onnx.helper.make_attribute(name, body))
        return node

    def _subgraph(self, block: Block, name: str, names: _Names) -> onnx.GraphProto:
        inputs = [_value_info(names.define(a), a.type) for a in block.args]
        nodes = self._nodes(block, names)
        outputs: list[onnx.ValueInfoProto] = []
        for value in block.last_op.operands if block.last_op else ():
            made_here = isinstance(value.owner, OnnxOp) and value.owner.parent is block
            source = names.of[value]
            if not made_here or source in (o.name for o in outputs):
                copy = names.fresh(f"{source}_out")
                nodes.append(onnx.helper.make_node("Identity", [source], [copy]))
                source = copy
            outputs.append(_value_info(source, value.type))
        return onnx.helper.make_graph(nodes, name, inputs, outputs)

    def _call(self, op: FusionOp, names: _Names) -> onnx.NodeProto:
        function = self._function(op)
        inputs = [names.of[v] for v in op.inputs]
        outputs = [names.define(v) for v in op.outputs]
        return onnx.helper.make_node(function.name, inputs, outputs, domain=DOMAIN, name=names.node(function.name))

    def _function(self, op: FusionOp) -> onnx.FunctionProto:
        """The function of a fusion; fusions whose bodies are the same share one."""
        names = _Names()
        inputs = [names.define(a) for a in op.block.args]
        nodes = self._nodes(op.block, names)
        outputs: list[str] = []
        for value in op.yield_op.values:
            source = names.of[value]
            if source in inputs or source in outputs:
                copy = names.fresh(f"{source}_out")
                nodes.append(onnx.helper.make_node("Identity", [source], [copy]))
                source = copy
            outputs.append(source)
        function = onnx.helper.make_function(DOMAIN, "", inputs, outputs, nodes, [])
        key = function.SerializeToString(deterministic=True)
        if key not in self._functions:
            function.name = f"{op.kind.data}_{len(self._functions)}"
            self._functions[key] = function
        return self._functions[key]


def _attribute(op: OnnxOp, name: str, value: object) -> onnx.AttributeProto:
    kind = op.onnx_schema.attributes[name].type.value
    if isinstance(value, np.ndarray):
        value = onnx.numpy_helper.from_array(value)
    elif isinstance(value, Attribute):
        value = to_type_proto(value)
    return onnx.helper.make_attribute(name, value, attr_type=kind)


def _value_info(name: str, type_: Attribute) -> onnx.ValueInfoProto:
    return onnx.helper.make_value_info(name, to_type_proto(type_))


_MODEL_FIELDS = ("producer_name", "producer_version", "domain", "doc_string")


def _set_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> None:
    model.producer_name, model.producer_version = "dsc", version("dsc")
    for key, value in metadata.items():
        name = key.removeprefix("onnx.")
        if key == f"onnx.{name}" and name in _MODEL_FIELDS:
            setattr(model, name, value)
        elif key == "onnx.model_version":
            model.model_version = int(value)
        else:
            onnx.helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, key: value})
