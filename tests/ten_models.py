"""The models of the zoo that every target has to compile and run, small ones first."""

from __future__ import annotations

TEN_MODELS = (
    *("squeezenet", "efficientnet-lite0", "mobilenet-v2", "ppocr-rec", "minilm-l6"),
    *("ppocr-det", "resnet50", "yolov8n", "gpt2", "bert-base"),
)
CLASSIFIERS = ("squeezenet", "efficientnet-lite0", "mobilenet-v2", "resnet50", "ppocr-rec", "gpt2")
"""Those whose output is scores of classes, characters or tokens along its last axis; others give maps and features."""
