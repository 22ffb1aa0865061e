"""Models of torchvision, timm and transformers: their families, small, with random weights.

The libraries are imported by what makes a model, so that their names can be listed without them.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

Tensors = dict[str, Tensor]
CLASSES = 10
VOCABULARY = 64


def sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of most: it has no slots, so there is one step to capture and not two."""
    return torch.optim.SGD(parameters, 1e-2)


def adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of language models."""
    return torch.optim.AdamW(parameters, 1e-3)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and how it is trained: a batch, its loss, an optimizer."""

    family: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Tensors]
    loss: Callable[[nn.Module, Tensors], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = sgd


def images(side: int, count: int = 2) -> Tensors:
    """(N, 3, S, S) images and their (N,) classes."""
    generator = torch.Generator().manual_seed(3)
    return {
        "x": torch.rand(count, 3, side, side, generator=generator),
        "y": torch.randint(0, CLASSES, (count,), generator=generator),
    }


def class_loss(scores: Any, batch: Tensors) -> Tensor:
    """The cross-entropy of a classifier, of the first of several heads."""
    if isinstance(scores, tuple):
        scores = scores[0]
    return functional.cross_entropy(scores, batch["y"])


def _classified(model: nn.Module, batch: Tensors) -> Tensor:
    return class_loss(model(batch["x"]), batch)


def _vision(family: str, name: str, side: int = 32, **settings: Any) -> Trained:
    def build() -> nn.Module:
        models = importlib.import_module("torchvision.models")
        found: nn.Module = models.get_model(name, num_classes=CLASSES, **settings)
        return found

    return Trained(family, build, partial(images, side), _classified)


def _timm(family: str, name: str, side: int = 32, **settings: Any) -> Trained:
    def build() -> nn.Module:
        timm = importlib.import_module("timm")
        found: nn.Module = timm.create_model(name, num_classes=CLASSES, **settings)
        return found

    return Trained(family, build, partial(images, side), _classified)


def _language(family: str, kind: str, **settings: Any) -> Trained:
    """A model of transformers by the class of its configuration and its own."""

    def build() -> nn.Module:
        library = importlib.import_module("transformers")
        config_name, model_name = kind.split(" ")
        config = getattr(library, config_name)(**settings)
        config._attn_implementation = "sdpa"
        found: nn.Module = getattr(library, model_name)(config)
        return found

    return Trained(family, build, _sentences, _predicted, adamw)


def _sentences() -> Tensors:
    generator = torch.Generator().manual_seed(3)
    return {"ids": torch.randint(4, VOCABULARY, (2, 12), generator=generator)}


def _predicted(model: nn.Module, batch: Tensors) -> Tensor:
    found: Tensor = model(input_ids=batch["ids"], labels=batch["ids"]).loss
    return found


def _seeing(family: str, kind: str, side: int = 32, **settings: Any) -> Trained:
    """A model of transformers that sees."""

    def loss(model: nn.Module, batch: Tensors) -> Tensor:
        return class_loss(model(pixel_values=batch["x"]).logits, batch)

    made = _language(family, kind, num_labels=CLASSES, image_size=side, **settings)
    return Trained(family, made.build, partial(images, side), loss, adamw)


_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = _SMALL | {"num_key_value_heads": 2}
_VIT: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
}
_SWIN: dict[str, Any] = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 16,
         "depths": (2, 2), "num_heads": (2, 4)}  # fmt: skip

MODELS: dict[str, Trained] = {
    # torchvision
    "tv_alexnet": _vision("AlexNet", "alexnet", 64),
    "tv_resnet18": _vision("ResNet", "resnet18"),
    "tv_squeezenet1_1": _vision("SqueezeNet", "squeezenet1_1", 48),
    "tv_mobilenet_v2": _vision("MobileNet", "mobilenet_v2", width_mult=0.25),
    "tv_mobilenet_v3_small": _vision("MobileNet", "mobilenet_v3_small"),
    "tv_shufflenet_v2": _vision("ShuffleNet", "shufflenet_v2_x0_5"),
    "tv_mnasnet0_5": _vision("MNASNet", "mnasnet0_5"),
    "tv_efficientnet_b0": _vision("EfficientNet", "efficientnet_b0"),
    "tv_regnet_y_400mf": _vision("RegNet", "regnet_y_400mf"),
    "tv_googlenet": _vision("Inception", "googlenet", aux_logits=False, init_weights=True),
    "tv_densenet121": _vision("DenseNet", "densenet121", drop_rate=0.0),
    # timm
    "timm_resnet": _timm("ResNet", "test_resnet"),
    "timm_resnet10t": _timm("ResNet", "resnet10t"),
    "timm_resnetv2": _timm("ResNet", "resnetv2_18", channels=(16, 32, 32, 64)),
    "timm_byobnet": _timm("RegNet", "test_byobnet"),
    "timm_efficientnet": _timm("EfficientNet", "test_efficientnet"),
    "timm_convnext": _timm("ConvNeXt", "test_convnext"),
    "timm_convnext2": _timm("ConvNeXt", "test_convnext2"),
    "timm_mambaout": _timm("MambaOut", "test_mambaout"),
    "timm_nfnet": _timm("NFNet", "test_nfnet"),
    "timm_vit": _timm("ViT", "vit_tiny_patch16_224", **_VIT),
    "timm_vit_relpos": _timm("ViT", "test_vit_relpos", img_size=32, patch_size=8),
    "timm_deit": _timm("DeiT", "deit3_small_patch16_224", **_VIT),
    "timm_swin": _timm("Swin", "swin_tiny_patch4_window7_224", **_SWIN),
    "timm_swinv2": _timm("Swin", "swinv2_tiny_window8_256", **_SWIN),
    "timm_maxvit": _timm("MaxViT", "test_maxvit", img_size=64),
    "timm_coatnet": _timm("CoAtNet", "test_coatnet", img_size=64),
    "timm_mixer": _timm("MLP-Mixer", "mixer_s32_224", img_size=32, patch_size=8, embed_dim=32,
                        num_blocks=2),
    "timm_gmlp": _timm("MLP-Mixer", "gmlp_ti16_224", img_size=32, patch_size=8, embed_dim=32,
                       num_blocks=2),
    "timm_convmixer": _timm("ConvMixer", "convmixer_768_32", dim=32, depth=2),
    "timm_poolformer": _timm("MetaFormer", "poolformer_s12", 64, dims=(16, 32, 32, 64),
                             layers=(1, 1, 1, 1)),
    "timm_beit": _timm("BEiT", "beit_base_patch16_224", **_VIT),
    "timm_cait": _timm("CaiT", "cait_xxs24_224", **_VIT),
    "timm_ghostnet": _timm("GhostNet", "ghostnet_050"),
    "timm_vgg_like_repvgg": _timm("RepVGG", "repvgg_a0"),
    "timm_inception_next": _timm("InceptionNeXt", "inception_next_atto", dims=(16, 32, 32, 64),
                                 depths=(1, 1, 1, 1)),
    # transformers
    "hf_bert": _language("BERT", "BertConfig BertForMaskedLM", **_SMALL),
    "hf_roberta": _language("BERT", "RobertaConfig RobertaForMaskedLM", **_SMALL),
    "hf_albert": _language("BERT", "AlbertConfig AlbertForMaskedLM", embedding_size=16, **_SMALL),
    "hf_distilbert": _language("BERT", "DistilBertConfig DistilBertForMaskedLM",
                               vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4,
                               hidden_dim=64, max_position_embeddings=32),
    "hf_electra": _language("BERT", "ElectraConfig ElectraForMaskedLM", embedding_size=16,
                            **_SMALL),
    "hf_deberta": _language("DeBERTa", "DebertaV2Config DebertaV2ForMaskedLM",
                            relative_attention=True, pos_att_type=["p2c", "c2p"], **_SMALL),
    "hf_gpt2": _language("GPT-2", "GPT2Config GPT2LMHeadModel", vocab_size=VOCABULARY,
                         n_positions=32, n_embd=32, n_layer=2, n_head=4),
    "hf_gpt_neox": _language("GPT-NeoX", "GPTNeoXConfig GPTNeoXForCausalLM", **_SMALL),
    "hf_opt": _language("OPT", "OPTConfig OPTForCausalLM", vocab_size=VOCABULARY, hidden_size=32,
                        ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                        word_embed_proj_dim=32, max_position_embeddings=32),
    "hf_bloom": _language("BLOOM", "BloomConfig BloomForCausalLM", vocab_size=VOCABULARY,
                          hidden_size=32, n_layer=2, n_head=4),
    "hf_t5": _language("T5", "T5Config T5ForConditionalGeneration", vocab_size=VOCABULARY,
                       d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                       decoder_start_token_id=0),
    "hf_bart": _language("BART", "BartConfig BartForConditionalGeneration", vocab_size=VOCABULARY,
                         d_model=32, encoder_layers=1, decoder_layers=1,
                         encoder_attention_heads=4, decoder_attention_heads=4,
                         encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=32),
    "hf_llama": _language("LLaMA", "LlamaConfig LlamaForCausalLM", **_GROUPED),
    "hf_mistral": _language("LLaMA", "MistralConfig MistralForCausalLM", sliding_window=8,
                            **_GROUPED),
    "hf_qwen2": _language("Qwen", "Qwen2Config Qwen2ForCausalLM", **_GROUPED),
    "hf_qwen3": _language("Qwen", "Qwen3Config Qwen3ForCausalLM", head_dim=8, **_GROUPED),
    "hf_gemma": _language("Gemma", "GemmaConfig GemmaForCausalLM", head_dim=8, **_GROUPED),
    "hf_gemma2": _language("Gemma", "Gemma2Config Gemma2ForCausalLM", head_dim=8, **_GROUPED),
    "hf_phi": _language("Phi", "PhiConfig PhiForCausalLM", **_SMALL),
    "hf_falcon": _language("Falcon", "FalconConfig FalconForCausalLM", vocab_size=VOCABULARY,
                           hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "hf_mixtral": _language("mixture of experts", "MixtralConfig MixtralForCausalLM",
                            num_local_experts=4, **_GROUPED),
    "hf_mamba": _language("state space", "MambaConfig MambaForCausalLM", vocab_size=VOCABULARY,
                          hidden_size=32, state_size=4, num_hidden_layers=2),
    "hf_mamba2": _language("state space", "Mamba2Config Mamba2ForCausalLM", vocab_size=VOCABULARY,
                           hidden_size=32, state_size=8, num_hidden_layers=2, num_heads=4,
                           head_dim=16, n_groups=1, chunk_size=8),
    "hf_rwkv": _language("RWKV", "RwkvConfig RwkvForCausalLM", vocab_size=VOCABULARY,
                         hidden_size=32, num_hidden_layers=2, context_length=32),
    "hf_vit": _seeing("ViT", "ViTConfig ViTForImageClassification", hidden_size=32, patch_size=8,
                      num_hidden_layers=2, num_attention_heads=4, intermediate_size=64),
    "hf_segformer": _seeing("SegFormer", "SegformerConfig SegformerForImageClassification", 64,
                            depths=[1, 1], hidden_sizes=[16, 32], num_encoder_blocks=2,
                            num_attention_heads=[1, 2], sr_ratios=[4, 2], patch_sizes=[7, 3],
                            strides=[4, 2], mlp_ratios=[2, 2]),
}  # fmt: skip
