"""Models of many architectures as PyTorch's exporters write them, compiled and compared with ONNX Runtime.

`make exports`, outside `make test`: it needs torch and transformers (`pip install -e '.[exports]'`). Nothing is
downloaded: the models are small, random and seeded.
"""
