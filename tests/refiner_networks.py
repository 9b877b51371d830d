"""Tiny trained networks of affinity, their configs and images to label by them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import nn

from mmwsss.registry import MODELS

WIDTHS = (5, 6)


@MODELS.register_module(force=True)
class TwoLevels(BaseModule):
    """Two convolutions, at strides of 2 and 4 or both of 4."""

    def __init__(self, strides=(2, 2)):
        super().__init__()
        self.first = nn.Conv2d(3, WIDTHS[0], 4, strides[0], padding=1)
        self.second = nn.Conv2d(WIDTHS[0], WIDTHS[1], 4, strides[1], padding=1)

    def forward(self, inputs):
        first = self.first(inputs).relu()
        return first, self.second(first).relu()


PSA_CONFIG = """
model = dict(
    type='PSANetwork',
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[100.0, 110.0, 120.0],
        std=[50.0, 60.0, 70.0],
        bgr_to_rgb=True,
        pad_size_divisor=4,
    ),
    backbone=dict(type='TwoLevels'),
    in_channels=(5, 6),
    channels=(3, 4),
    stride=4,
    radius=3,
)
"""


def write_network(folder, *, text=PSA_CONFIG, seed=0, scale=0.5):
    """Write a config and random weights far from zero; return both paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / 'network.py'
    config.write_text(text)
    return str(config), write_weights(folder / 'network.pth', text, seed, scale)


def write_weights(path, text, seed=0, scale=0.5):
    """Write random weights that fit the network of a config's text."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: scale * torch.randn(weight.shape, generator=generator)
        for name, weight in build(text).state_dict().items()
    }
    torch.save(dict(state_dict=state, meta=dict(epoch=1)), path)
    return str(path)


def build(text):
    """Build the network of a config's text."""
    with DefaultScope.overwrite_default_scope('mmwsss'):
        return MODELS.build(Config.fromstring(text, '.py').model)


def drawn_image(height, width, seed=0):
    """Return an image of noise, (height, width, 3) RGB."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), np.uint8)


def drawn_maps(count, height, width, seed=0):
    """Return maps (count, height, width) float32 in [0, 1], even in squares of 4."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.rand(count, height // 4 + 1, width // 4 + 1, generator=generator)
    wide = squares.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return wide[:, :height, :width]
