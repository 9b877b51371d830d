"""Backbones of the classifiers."""

from mmwsss.models.backbones.attention_vit import AttentionViT, ViTOutput

__all__ = ['AttentionViT', 'ViTOutput']
