"""A perceptron trained here on Fashion-MNIST with scikit-learn: a net whose accuracy means something."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx

from dsc.errors import UsageError
from dsc.models.builder import Builder
from dsc.models.fashion import read_split


def fashion_mlp(package: Path) -> onnx.ModelProto:
    """784-256-128-10, about 88 % of the 10,000 test images; takes a minute or two to train."""
    images, labels = read_split(package, "train")
    kernels, biases = _train(images.reshape(len(images), -1), labels)
    graph = Builder("fashion-mlp")
    x = graph.input("image", np.float32, ("batch", 784))
    for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        weight = graph.weight(f"layers.{index}.weight", kernel.T.astype(np.float32))
        shift = graph.weight(f"layers.{index}.bias", bias.astype(np.float32))
        x = graph.op("Gemm", x, weight, shift, transB=1)
        if index + 1 < len(kernels):
            x = graph.op("Relu", x)
    graph.output("probabilities", graph.op("Softmax", x, axis=1), np.float32, ("batch", 10))
    return graph.model()


def _train(images: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise UsageError("fashion-mlp is trained here and needs scikit-learn: pip install scikit-learn") from error
    net = MLPClassifier((256, 128), batch_size=256, learning_rate_init=1e-3, max_iter=10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are enough
        net.fit(images, labels)
    return net.coefs_, net.intercepts_
