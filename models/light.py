"""The nine `light_*` networks of the onnx package's tests: real topologies, constant weights, opset 9."""

from __future__ import annotations

from dsc.models.recipe import InputSpec, Installed, Recipe

# name, input's name
_NETS = (
    ("bvlc_alexnet", "data_0"),
    ("densenet121", "data_0"),
    ("inception_v1", "data_0"),
    ("inception_v2", "data_0"),
    ("resnet50", "gpu_0/data_0"),
    ("shufflenet", "gpu_0/data_0"),
    ("squeezenet", "data_0"),
    ("vgg19", "data_0"),
    ("zfnet512", "gpu_0/data_0"),
)


def light() -> list[Recipe]:
    """Their recipes; all take one image of (1, 3, 224, 224)."""
    return [_recipe(net, image) for net, image in _NETS]


def _recipe(net: str, image: str) -> Recipe:
    shape = (1, 3, 224, 224)
    return Recipe(
        name=f"light-{net.replace('_', '-')}",
        title=f"{net} with constant weights, opset 9",
        license="Apache-2.0",
        origin=Installed("onnx", f"backend/test/data/light/light_{net}.onnx"),
        inputs=(InputSpec(image, "float32", shape, shape, "photo"),),
    )
