"""The architectures, as data: small configurations of transformers' models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.exports.inputs import IDS, MASK, TARGET_IDS, Input, pixels

TEXT: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
SWIN: dict[str, Any] = {
    "image_size": 32, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4, "patch_size": 4,
}  # fmt: skip
SPEECH: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": (32, 32, 32), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3), "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "group", "mask_time_prob": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A model type of transformers, and what of it is exported."""

    model_type: str
    """As `AutoConfig.for_model` knows it."""
    form: str
    """``plain``: inputs to outputs; ``past``: a decoder with its keys and values; ``step``: the decoder of an
    encoder-decoder, with those of both attentions."""
    task: str
    """The class of transformers that makes the model of its configuration."""
    inputs: tuple[Input, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For reports and files."""
        return self.model_type if self.form == "plain" else f"{self.model_type}-{self.form}"


def _encoder(model_type: str, **config: Any) -> list[Architecture]:
    return [Architecture(model_type, "plain", "AutoModel", (IDS, MASK), {**TEXT, **config})]


def _decoder(model_type: str, **config: Any) -> list[Architecture]:
    return [Architecture(model_type, "past", "AutoModelForCausalLM", (IDS,), {**TEXT, **config})]


def _seq2seq(model_type: str, base: Mapping[str, Any] = SEQ2SEQ, **config: Any) -> list[Architecture]:
    small = {**base, **config}
    task = "AutoModelForSeq2SeqLM"
    return [
        Architecture(model_type, "plain", task, (IDS, MASK, TARGET_IDS), small),
        Architecture(model_type, "step", task, (TARGET_IDS,), small),
    ]


def _vision(model_type: str, task: str = "AutoModel", **config: Any) -> list[Architecture]:
    return [Architecture(model_type, "plain", task, (pixels(32, 32),), {**VISION, **config})]


def _images(model_type: str, task: str = "AutoModel", size: int | None = None, **config: Any) -> list[Architecture]:
    """Networks of stages: images of any size unless one is given, a configuration all of its own."""
    images = pixels() if size is None else pixels(size, size)
    return [Architecture(model_type, "plain", task, (images,), config)]


def _speech(model_type: str, **config: Any) -> list[Architecture]:
    waves = Input("input_values", ("batch", "samples"))
    return [Architecture(model_type, "plain", "AutoModel", (waves,), {**SPEECH, **config})]


_PAIR = {
    "text_config": {**TEXT, "projection_dim": 16},
    "vision_config": {**VISION, "projection_dim": 16},
    "projection_dim": 16,
}

ARCHITECTURES: list[Architecture] = [
    architecture
    for group in (
        # text: encoders
        _encoder("bert"),
        _encoder("roberta"),
        _encoder("distilbert", dim=32, hidden_dim=64, n_layers=2, n_heads=4),
        _encoder("albert", embedding_size=16),
        _encoder("electra", embedding_size=16),
        _encoder("mpnet"),
        _encoder("camembert"),
        _encoder("xlm-roberta"),
        _encoder("deberta"),
        _encoder("deberta-v2", relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8),
        _encoder("convbert", embedding_size=16),
        _encoder("squeezebert", embedding_size=32),
        _encoder("mobilebert", embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16),
        _encoder("modernbert", local_attention=4),
        _encoder("nomic_bert"),
        _encoder("roformer", embedding_size=32),
        _encoder("esm", position_embedding_type="rotary", mask_token_id=3),
        _encoder("ibert"),
        _encoder("rembert", input_embedding_size=16, output_embedding_size=16),
        _encoder("megatron-bert"),
        _encoder("ernie"),
        # text: decoders with past
        _decoder("gpt2"),
        _decoder("gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4),
        _decoder("gpt_neox"),
        _decoder("gptj", rotary_dim=4),
        _decoder("gpt_bigcode"),
        _decoder("opt", ffn_dim=64, word_embed_proj_dim=32),
        _decoder("bloom"),
        _decoder("llama", num_key_value_heads=2),
        _decoder("mistral", num_key_value_heads=2, sliding_window=64),
        _decoder("qwen2", num_key_value_heads=2),
        _decoder("qwen3", num_key_value_heads=2, head_dim=8),
        _decoder("gemma", num_key_value_heads=2, head_dim=8),
        _decoder("gemma2", num_key_value_heads=2, head_dim=8, sliding_window=64),
        _decoder("phi", num_key_value_heads=4),
        _decoder("phi3", num_key_value_heads=2),
        _decoder("falcon"),
        _decoder("stablelm", num_key_value_heads=2),
        _decoder("codegen", rotary_dim=4),
        _decoder("olmo", num_key_value_heads=2),
        _decoder("granite", num_key_value_heads=2),
        _decoder("cohere", num_key_value_heads=2),
        _decoder("starcoder2", num_key_value_heads=2),
        _decoder("smollm3", num_key_value_heads=2),
        _decoder("biogpt"),
        _decoder("xglm", d_model=32, ffn_dim=64, num_layers=2, attention_heads=4),
        # text: encoder-decoders, whole and a step of the decoder
        _seq2seq("bart"),
        _seq2seq("mbart"),
        _seq2seq("pegasus"),
        _seq2seq("marian"),
        _seq2seq("blenderbot"),
        _seq2seq("m2m_100"),
        _seq2seq("t5", T5),
        _seq2seq("mt5", T5),
        # vision
        _vision("vit"),
        _vision("deit"),
        _vision("beit"),
        _vision("dinov2"),
        _images("swin", size=32, **SWIN),
        _images("swinv2", size=32, **SWIN),
        _vision("siglip_vision_model"),
        _vision("clip_vision_model"),
        _vision("vit_msn"),
        _vision("yolos", task="AutoModelForObjectDetection", image_size=(32, 32), num_detection_tokens=5),
        _images("resnet", embedding_size=16, hidden_sizes=(16, 32), depths=(1, 1), layer_type="basic"),
        _images("convnext", hidden_sizes=(16, 32), depths=(1, 1), num_stages=2),
        _images("convnextv2", hidden_sizes=(16, 32), depths=(1, 1), num_stages=2),
        _images("mobilenet_v2", depth_multiplier=0.35),
        _images("mobilenet_v1", depth_multiplier=0.25),
        _images("regnet", embedding_size=16, hidden_sizes=(16, 32), depths=(1, 1), groups_width=8),
        _images("segformer", hidden_sizes=(16, 32), depths=(1, 1), num_encoder_blocks=2, sr_ratios=(4, 2),
                patch_sizes=(7, 3), strides=(4, 2), num_attention_heads=(1, 2), mlp_ratios=(2, 2)),
        _images("poolformer", hidden_sizes=(16, 32), depths=(1, 1), num_encoder_blocks=2, patch_sizes=(7, 3),
                strides=(4, 2), padding=(2, 1)),
        _images("efficientnet", image_size=64, hidden_dim=320, width_coefficient=0.25, depth_coefficient=0.25),
        # audio
        _speech("wav2vec2"),
        _speech("hubert"),
        _speech("unispeech"),
        _speech("wavlm"),
        _speech("data2vec-audio", conv_pos_kernel_size=3),
        [Architecture("whisper", "plain", "AutoModelForSpeechSeq2Seq",
                      (Input("input_features", ("batch", 80, 60)), TARGET_IDS),
                      {**SEQ2SEQ, "max_source_positions": 30, "max_target_positions": 64})],
        [Architecture("audio-spectrogram-transformer", "plain", "AutoModel",
                      (Input("input_values", ("batch", 64, 32)),),
                      {**VISION, "max_length": 64, "num_mel_bins": 32, "frequency_stride": 8, "time_stride": 8})],
        # text and images
        [Architecture("clip", "plain", "AutoModel", (IDS, pixels(32, 32), MASK), _PAIR)],
        [Architecture("clip_text_model", "plain", "AutoModel", (IDS, MASK), TEXT)],
        [Architecture("siglip", "plain", "AutoModel", (IDS, pixels(32, 32)), _PAIR)],
    )
    for architecture in group
]  # fmt: skip
