"""The place of a frozen network whose features were computed beforehand."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.functional.feature_pairs import pick_features
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError


@MODELS.register_module()
class CachedFeatures(BaseModule):
    """A backbone whose input are features that ``tools/cache_features.py`` has made.

    Flips reach the features of the mirror image, see ``pair_features``; no other
    change of the image does.

    Args:
        channels: D, of the network that made them.
        init_cfg: mmengine's initialization; there is nothing to initialize.

    Raises:
        ConfigError: if there are no channels.
    """

    def __init__(self, channels: int, *, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if channels < 1:
            raise ConfigError(f'channels must be at least 1, got {channels}')
        self.channels = (channels,)

    def forward(self, pairs: Tensor) -> tuple[Tensor]:
        """Return the features (B, D, h, w) of pairs (B, 2 D + 1, h, w).

        Raises:
            ConfigError: if there are other than 2 D + 1 channels.
        """
        expected = 2 * self.channels[0] + 1
        if pairs.shape[1] != expected:
            raise ConfigError(
                f'CachedFeatures(channels={self.channels[0]}) expects arrays of '
                f'{expected} channels, got {pairs.shape[1]}; the pipeline must load '
                'features with LoadFeatures, of a network of as many channels'
            )
        return (pick_features(pairs),)
