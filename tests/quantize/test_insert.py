"""What is written is plain QDQ that ONNX Runtime and dsc take, and that computes what the formulas say."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dsc.check import Reference
from dsc.exchange import import_model
from dsc.ir import OnnxOp
from dsc.passes import Pipeline
from dsc.pipeline import compile_model
from dsc.quantize.calibration import calibrate
from dsc.quantize.grid import bias_steps
from dsc.quantize.insert import grids_of, needed_ranges, quantized_model
from dsc.quantize.layers import Layer, find_layers
from dsc.quantize.network import Network
from dsc.quantize.prepare import prepare
from dsc.quantize.quantized_layer import quantize_layer
from dsc.quantize.scheme import StaticScheme
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, names, samples, weight

NETS = {"convolutions": CONVS, "attention": PRODUCTS, "dense": DENSE}


class Made:
    """A net, its layers that have a form in bytes, and their ranges."""

    def __init__(self, model: TextModel) -> None:
        self.network = Network(prepare(model.proto()))
        self.layers = [layer for layer in find_layers(self.network) if layer.refusal is None]
        self.ranges = calibrate(self.network.model, samples(model), tensors=needed_ranges(self.network, self.layers))[
            "minmax"
        ]

    def quantized(
        self, scheme: StaticScheme | None = None, layers: list[Layer] | None = None, shifts: object = None
    ) -> onnx.ModelProto:
        chosen = self.layers if layers is None else layers
        return quantized_model(self.network, chosen, self.ranges, scheme or StaticScheme(), shifts)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=NETS)
def made(request: pytest.FixtureRequest) -> tuple[TextModel, Made]:
    return NETS[request.param], Made(NETS[request.param])


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10((expected**2).mean() / ((expected - found) ** 2).mean()))


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(Reference(model, 1).run(feed).values()))


@pytest.mark.parametrize(
    "scheme",
    [
        StaticScheme(),
        StaticScheme(activations="int8"),
        StaticScheme(activations="int8", symmetric=True),
        StaticScheme(per_channel=False, keeps_residuals=True),
        StaticScheme(weight_bits=7),
    ],
    ids=str,
)
def test_the_model_is_near_and_keeps_its_names(made: tuple[TextModel, Made], scheme: StaticScheme) -> None:
    text, net = made
    model = net.quantized(scheme)
    onnx.checker.check_model(model, full_check=True)
    kept = {node.name for node in net.network.nodes}
    assert kept < {node.name for node in model.graph.node}
    assert {o for node in net.network.nodes for o in node.output} < {
        o for node in model.graph.node for o in node.output
    }
    assert not any(t.data_type == onnx.TensorProto.FLOAT and t.dims == [24, 24] for t in model.graph.initializer)
    feed = samples(text, 1, seed=9)[0]
    # bytes are good for 45 dB a layer, 7 bits, one scale or symmetric ones for 35; five layers
    assert decibels(run(net.network.model, feed), run(model, feed)) > 25


def test_dsc_multiplies_bytes_in_every_layer(made: tuple[TextModel, Made]) -> None:
    _, net = made
    model = net.quantized()
    graph = import_model(model)
    Pipeline.parse("integers,canonicalize,requantize").run(graph)
    ops = [op.onnx_name for op in graph.module.walk() if isinstance(op, OnnxOp)]
    refused = sum(layer.refusal is not None for layer in find_layers(net.network))
    assert sum(op in ("ConvInteger", "MatMulInteger") for op in ops) == len(net.layers)
    assert sum(op in ("Conv", "MatMul", "Gemm") for op in ops) == refused


def test_dsc_computes_what_onnx_runtime_does() -> None:
    """Where a step lies at a tie, it may fall the other way."""
    model, feed = Made(DENSE).quantized(), samples(DENSE, 1, seed=4)[0]
    found = next(iter(compile_model(model).model.load(threads=1).run(feed).values()))
    assert decibels(run(model, feed), found) > 40


def test_a_dense_layer_is_what_the_formula_says() -> None:
    """y = sx sw sum((x - zx) w) + b, the bias in steps of sx sw."""
    net = Made(DENSE)
    (layer, _), feed = net.layers, samples(DENSE, 1, seed=2)[0]
    grid = grids_of(net.network, net.layers, net.ranges, StaticScheme())["x"]
    parts = quantize_layer(net.network, layer, grid, StaticScheme())
    assert parts.bias is not None
    x = grid.quantized(feed["x"]).astype(np.int64) - int(grid.zero_point)
    steps, scale = bias_steps(parts.bias, parts.grid, float(grid.scale))
    expected = (x @ parts.weight.astype(np.int64).T + steps) * scale.astype(np.float64)
    model = net.quantized(layers=[layer])
    model.graph.output.append(onnx.ValueInfoProto(name="a"))
    found = Reference(model, 1).run(feed)["a"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)  # a sum of 19 products in float32


def test_what_only_moves_elements_has_one_scale() -> None:
    net = Made(CONVS)
    grids = grids_of(net.network, net.layers, net.ranges, StaticScheme())
    assert {str(grids[name].scale) for name in ("r", "d0", "j", "p")} == {str(grids["j"].scale)}
    assert grids["s"].scale != grids["j"].scale
    assert grids["j"].scale * 255 == pytest.approx(
        max(net.ranges["r"].high, net.ranges["d0"].high) - min(0, net.ranges["d0"].low), rel=1e-5
    )
    assert "j" not in net.ranges


@pytest.mark.parametrize(("keeps", "operands"), [(False, 1), (True, 0)])
def test_a_sum_reads_bytes_or_what_they_were(keeps: bool, operands: int) -> None:
    model = TextModel(
        "(float[1,4,5,5] x) => (float[1,4,5,5] y) { a = Relu(x) [c] c = Conv(a, w) [s] y = Add(c, a) }",
        {"w": weight(4, 4, 1, 1)},
    )
    (add,) = [n for n in Made(model).quantized(StaticScheme(keeps_residuals=keeps)).graph.node if n.name == "s"]
    assert sum(name.endswith("_dequantized") for name in add.input) == operands


def test_a_shift_goes_into_the_bias_wherever_it_is() -> None:
    """That of a Gemm, of an Add behind a product, and of a convolution that had none."""
    for text, name in ((DENSE, "second"), (PRODUCTS, "key"), (CONVS, "side")):
        net = Made(text)
        layer = next(found for found in net.layers if found.name == name)
        output = layer.output if text is not PRODUCTS else "kb"
        shift = np.linspace(-1, 1, net.network.constant(layer.weight).shape[layer.channels])  # type: ignore[union-attr]
        found = []
        for shifts in ({}, {name: shift}):
            model = net.quantized(layers=[layer], shifts=shifts)
            if output != "y":
                model.graph.output.append(onnx.ValueInfoProto(name=output))
            found.append(Reference(model, 1).run(samples(text, 1)[0])[output])
        along = shift.reshape([-1 if axis == layer.output_axis % found[0].ndim else 1 for axis in range(found[0].ndim)])
        np.testing.assert_allclose(found[1] - found[0], np.broadcast_to(along, found[0].shape), atol=1e-3)


@pytest.mark.parametrize("added", ["row", "computed"])
def test_what_is_added_and_is_no_vector_stays(added: str) -> None:
    """A shift would have to go into it: there is none then, and nothing is lost."""
    model = TextModel(
        f"(float[2,19] x) => (float[2,5] y) {{ computed = ReduceSum(x, axis) [only] y = Gemm(x, w, {added}) }}",
        {"w": weight(19, 5), "row": 100 * weight(1, 5), "axis": np.int64([1])},
    )
    net = Made(model)
    (layer,) = net.layers
    assert not layer.takes_shift
    feed = samples(model, 1, seed=6)[0]
    expected = run(net.network.model, feed)
    # the sum reads bytes too, which costs 10 dB; without the addend it would be less than 5
    assert decibels(expected, run(net.quantized(shifts={"only": np.ones(5)}), feed)) > 15


def test_no_other_product_is_touched() -> None:
    net = Made(PRODUCTS)
    model = net.quantized(layers=net.layers[:1])
    assert names(model, "QuantizeLinear") == ["x_QuantizeLinear"]
    assert len(names(model, "DequantizeLinear")) == 2
