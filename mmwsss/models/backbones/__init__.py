"""Backbones of the classifiers."""

from mmwsss.models.backbones.attention_vit import AttentionViT, ViTOutput
from mmwsss.models.backbones.cached_features import CachedFeatures
from mmwsss.models.backbones.resnet38 import ResNet38
from mmwsss.models.backbones.timm_cnn import TimmCNN
from mmwsss.models.backbones.vgg_stride8 import VGGStride8

__all__ = [
    'AttentionViT',
    'CachedFeatures',
    'ResNet38',
    'TimmCNN',
    'VGGStride8',
    'ViTOutput',
]
