"""VGG16 at a stride of 8, as class activation maps use it."""

from __future__ import annotations

from mmpretrain.models.backbones.vgg import VGG
from torch import Tensor, nn
from torchvision.models import VGG16_Weights

from mmwsss.models.backbones.pretrained import fetching
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError

DEPTH, FOURTH = 16, 3
"""Layers with weights in VGG16; the stage, from 0, whose pool is replaced."""


@MODELS.register_module()
class VGGStride8(VGG):
    """mmpretrain's VGG16 without its last two reductions.

    As RCA uses it: the fourth pool has stride 1, there is no fifth, and the
    convolutions of the fifth stage have dilation 2, so that 368 pixels give 46. The
    fourth pool is 3x3 with padding 1, which keeps the size and has a centre.

    Args:
        frozen_stages: How many of the five stages are not trained.
        pretrained: True fetches torchvision's ImageNet weights, a path reads a state
            dict in torchvision's names (``features.0.weight``) or this module's
            (``features.0.conv.weight``); a classifier in it is passed over. They are
            loaded by ``init_weights``, so testing needs no network.
        init_cfg: mmengine's initialization in place of mmpretrain's.
    """

    def __init__(
        self,
        *,
        frozen_stages: int = -1,
        pretrained: bool | str = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        settings = {} if init_cfg is None else dict(init_cfg=init_cfg)
        super().__init__(
            DEPTH,
            dilations=(1, 1, 1, 1, 2),
            frozen_stages=frozen_stages,
            with_last_pool=False,
            **settings,
        )
        self.pretrained = pretrained
        self.features[self.range_sub_modules[FOURTH][1] - 1] = nn.MaxPool2d(3, 1, 1)

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, then load the weights asked for.

        Raises:
            CheckpointError: if they cannot be fetched or read, or do not fit.
        """
        super().init_weights()
        if not self.pretrained:
            return
        with fetching('VGG16', self.pretrained):
            if self.pretrained is True:
                state = VGG16_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
            else:
                state = read_checkpoint(self.pretrained)
            self.load_state_dict(self._own_names(state.get('state_dict', state)))

    def _own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the convolutions of a state dict under this module's names."""
        own = list(self.state_dict())
        if own[0] in state:
            return {key: value for key, value in state.items() if key in own}
        found = [key for key in state if key.startswith('features.')]
        if len(found) != len(own):
            raise CheckpointError(
                f'weights of VGG16: expected {len(own)} tensors named '
                f"'features.<n>.weight' or '.bias', found {len(found)}; set pretrained "
                "to a state dict of torchvision's vgg16"
            )
        found.sort(key=lambda key: (int(key.split('.')[1]), key.endswith('bias')))
        return {name: state[key] for name, key in zip(own, found)}

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Map images (B, 3, H, W), normalized, to one map (B, 512, H // 8, W // 8)."""
        return super().forward(images)

    def train(self, mode: bool = True) -> VGGStride8:
        """Set the mode; frozen stages stay as they are."""
        super().train(mode)
        return self
