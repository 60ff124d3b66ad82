"""From an architecture to an ONNX file, by either of PyTorch's exporters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from tests.exports.architectures import Architecture
from tests.exports.inputs import FULL_MASK, MASK, SIZES, Input, feeds


def export(architecture: Architecture, exporter: str, path: Path) -> list[Input]:
    """Write the file, and tell what its inputs are."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
    model = getattr(transformers, architecture.task).from_config(config).eval()
    wrapped = _FORMS[architecture.form](model, architecture.inputs)
    given = [torch.from_numpy(array) for array in feeds(wrapped.inputs, SIZES[0], seed=1).values()]
    _export(wrapped, given, exporter, path)
    return wrapped.inputs


def _export(wrapped: _Form, given: Sequence[torch.Tensor], exporter: str, path: Path) -> None:
    names = [i.name for i in wrapped.inputs]
    axes = [{axis: d for axis, d in enumerate(i.dims) if isinstance(d, str)} for i in wrapped.inputs]
    axes = [{axis: d.replace("+", "_plus_") for axis, d in each.items()} for each in axes]
    with torch.no_grad():
        count = len(wrapped(*given))
        outputs = [f"output_{i}" for i in range(count)]
        if exporter == "dynamo":
            torch.onnx.export(
                wrapped, tuple(given), str(path), dynamo=True, input_names=names, output_names=outputs,
                dynamic_shapes=(tuple(axes),), external_data=False, verbose=False,
            )  # fmt: skip
        else:
            free = dict(zip(names, axes, strict=True))
            torch.onnx.export(
                wrapped, tuple(given), str(path), dynamo=False, input_names=names, output_names=outputs,
                dynamic_axes=free, opset_version=17,
            )  # fmt: skip


class _Form(torch.nn.Module):
    """A model as a function of tensors to tensors."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[Input]) -> None:
        super().__init__()
        self.model = model
        self.inputs = list(inputs)

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(**self.arguments(dict(zip((i.name for i in self.inputs), arrays, strict=True))))
        return tuple(_tensors(outputs))

    def arguments(self, given: dict[str, torch.Tensor]) -> dict[str, Any]:
        """What the model is called with."""
        return given


class _Plain(_Form):
    def arguments(self, given: dict[str, torch.Tensor]) -> dict[str, Any]:
        return {**given, "use_cache": False} if "decoder_input_ids" in given else given


class _WithPast(_Form):
    """A decoder: tokens and a mask, and the keys and values of the tokens before them."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[Input]) -> None:
        super().__init__(model, inputs)
        tokens = torch.ones((1, 3), dtype=torch.int64)
        with torch.no_grad():
            cache = model(input_ids=tokens, use_cache=True).past_key_values
        self.inputs += [FULL_MASK, *_keys_and_values(cache, "past", "past")]

    def arguments(self, given: dict[str, torch.Tensor]) -> dict[str, Any]:
        past = DynamicCache()
        _restore(past, "past", given)
        kept = {name: given[name] for name in ("input_ids", "attention_mask")}
        return {**kept, "past_key_values": past, "use_cache": True}


class _Step(_Form):
    """The decoder of an encoder-decoder, with keys and values of its own tokens and of the encoder's."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[Input]) -> None:
        super().__init__(model, inputs)
        tokens = torch.ones((1, 3), dtype=torch.int64)
        with torch.no_grad():
            found = model(input_ids=tokens, decoder_input_ids=tokens, use_cache=True)
        width = found.encoder_last_hidden_state.shape[-1]
        self.inputs += [
            Input("encoder_hidden_states", ("batch", "sequence", width)),
            MASK,
            *_keys_and_values(found.past_key_values.self_attention_cache, "past", "past"),
            *_keys_and_values(found.past_key_values.cross_attention_cache, "cross", "sequence"),
        ]

    def arguments(self, given: dict[str, torch.Tensor]) -> dict[str, Any]:
        own, cross = DynamicCache(), DynamicCache()
        _restore(own, "past", given)
        _restore(cross, "cross", given)
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=given["encoder_hidden_states"]),
            "attention_mask": given["attention_mask"],
            "decoder_input_ids": given["decoder_input_ids"],
            "past_key_values": EncoderDecoderCache(own, cross),
            "use_cache": True,
        }


_FORMS: dict[str, type[_Form]] = {"plain": _Plain, "past": _WithPast, "step": _Step}


def _keys_and_values(cache: Cache, name: str, length: str) -> list[Input]:
    """An input for each key and value of a cache [batch, heads, length, size]."""
    found = []
    for index, layer in enumerate(cache.layers):
        for part, tensor in (("key", layer.keys), ("value", layer.values)):
            _, heads, _, size = tensor.shape
            found.append(Input(f"{name}.{index}.{part}", ("batch", heads, length, size)))
    return found


def _restore(cache: DynamicCache, name: str, given: dict[str, torch.Tensor]) -> None:
    layers = sum(key.startswith(f"{name}.") for key in given) // 2
    for index in range(layers):
        cache.update(given[f"{name}.{index}.key"], given[f"{name}.{index}.value"], index)


def _tensors(outputs: Any) -> list[torch.Tensor]:
    """The tensors of a model's output, those of caches included, each once."""
    found: list[torch.Tensor] = []

    def collect(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            if not any(value is other for other in found):
                found.append(value)
        elif isinstance(value, EncoderDecoderCache):
            collect(value.self_attention_cache)
        elif isinstance(value, Cache):
            for layer in value.layers:
                collect([layer.keys, layer.values])
        elif isinstance(value, dict):
            collect(list(value.values()))
        elif isinstance(value, list | tuple):
            for part in value:
                collect(part)

    collect(outputs)
    return found
