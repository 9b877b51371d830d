"""The wide residual network with 38 layers, at a stride of 8.

Model A1 of 'Wider or Deeper: Revisiting the ResNet Model for Visual Recognition',
dilated as PSA and SEAM use it. Modules carry the names of their state dicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.models.backbones.norms import freeze_norms
from mmwsss.models.backbones.pretrained import fetching
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError, ConfigError

STAGES: dict[str, dict[str, Any]] = {
    'b2': dict(units=3, inside=128, outside=128, stride=2),
    'b3': dict(units=3, inside=256, outside=256, stride=2),
    'b4': dict(units=6, inside=512, outside=512, stride=2),
    'b5': dict(units=3, inside=512, outside=1024, dilation=2),
}
"""Stages of two 3x3 convolutions a unit; the first unit of b5 starts undilated."""
BOTTLENECKS: dict[str, dict[str, Any]] = {
    'b6': dict(outside=2048, dilation=4, dropout=0.3),
    'b7': dict(outside=4096, dilation=4, dropout=0.5),
}
STEM_CHANNELS = 64


class WideUnit(nn.Module):
    """Pre-activation unit of two 3x3 convolutions.

    ``y = s + conv(relu(bn(conv(a))))`` with ``a = relu(bn(x))`` and the shortcut s = x,
    or a 1x1 convolution of a where the shape changes.

    Args:
        channels: Channels of x.
        inside: Channels between the convolutions.
        outside: Channels of y.
        stride: Of the first convolution.
        first_dilation: Of the first convolution.
        dilation: Of the second.
    """

    def __init__(
        self,
        channels: int,
        *,
        inside: int,
        outside: int,
        stride: int = 1,
        first_dilation: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(channels)
        self.conv_branch2a = _conv3x3(channels, inside, stride, first_dilation)
        self.bn_branch2b1 = nn.BatchNorm2d(inside)
        self.conv_branch2b1 = _conv3x3(inside, outside, 1, dilation)
        self.conv_branch1 = None
        if channels != outside or stride != 1:
            self.conv_branch1 = nn.Conv2d(channels, outside, 1, stride, bias=False)

    def activate(self, x: Tensor) -> Tensor:
        """Return a of x, (B, channels, h, w)."""
        return self.bn_branch2a(x).relu()

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        """Map x (B, channels, h, w) to (B, outside, h // stride, w // stride).

        Args:
            x: The input.
            active: Its activation a, where that is known.
        """
        active = self.activate(x) if active is None else active
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(active)
        inner = self.bn_branch2b1(self.conv_branch2a(active)).relu()
        return shortcut + self.conv_branch2b1(inner)


class WideBottleneck(nn.Module):
    """Pre-activation unit of a 1x1, a dilated 3x3 and a 1x1 convolution.

    Its shortcut is a 1x1 convolution of the first activation. Whole channels are
    dropped before the second and the third convolution.

    Args:
        channels: Channels of the input.
        outside: Channels of the output; a quarter and half of it inside.
        dilation: Of the 3x3 convolution.
        dropout: Probability of dropping a channel.
    """

    def __init__(
        self, channels: int, *, outside: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        quarter, half = outside // 4, outside // 2
        self.bn_branch2a = nn.BatchNorm2d(channels)
        self.conv_branch2a = nn.Conv2d(channels, quarter, 1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv3x3(quarter, half, 1, dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = nn.Conv2d(half, outside, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(channels, outside, 1, bias=False)

    def activate(self, x: Tensor) -> Tensor:
        """Return the first activation of x, (B, channels, h, w)."""
        return self.bn_branch2a(x).relu()

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        """Map x (B, channels, h, w) to (B, outside, h, w).

        Args:
            x: The input.
            active: Its first activation, where that is known.
        """
        active = self.activate(x) if active is None else active
        inner = self.bn_branch2b1(self.conv_branch2a(active)).relu()
        inner = self.conv_branch2b1(self.dropout_2b1(inner))
        inner = self.dropout_2b2(self.bn_branch2b2(inner).relu())
        return self.conv_branch1(active) + self.conv_branch2b2(inner)


def _conv3x3(channels: int, outside: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels, outside, 3, stride, padding=dilation, dilation=dilation, bias=False
    )


def _stages_behind(out_indices: Sequence[int]) -> set[str]:
    """Return the stages whose first activation is a level that is returned."""
    stages, found = [*STAGES, *BOTTLENECKS], list(out_indices)
    last = len(stages) - 1
    if found != sorted({*found, last}) or found[0] < 0:
        raise ConfigError(
            f'out_indices: expected levels of 0..{last}, ascending, {last} among them, '
            f'got {tuple(found)}'
        )
    return {stages[index + 1] for index in found[:-1]}


@MODELS.register_module()
class ResNet38(BaseModule):
    """Wide ResNet38 without its pools: stride 8, 4096 channels.

    Its levels are what the stages b2 to b7 leave, normalized and cut at 0 as the next
    layer takes them: 128, 256, 512, 1024, 2048 and 4096 channels at strides of 2, 4, 8,
    8, 8 and 8.

    Args:
        out_indices: Which levels are returned, ascending, the last among them; PSA's
            conv4, conv5 and conv6 are 2, 3 and 5.
        norm_eval: Whether batch normalization is frozen, statistics, scales and shifts,
            as PSA, SEAM and RCA train it; False needs batches of a fair size.
        pretrained: Path of a state dict in the names that PSA and SEAM use
            (``b2_1.conv_branch2a.weight``); a classifier in it is passed over. It is
            loaded by ``init_weights``.
        init_cfg: Initialization in place of the default.

    Raises:
        ConfigError: if ``pretrained`` is True: nobody hosts official weights for torch;
            or if ``out_indices`` are not as said.
    """

    def __init__(
        self,
        *,
        out_indices: Sequence[int] = (5,),
        norm_eval: bool = True,
        pretrained: bool | str = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if pretrained is True:
            raise ConfigError(
                'ResNet38 has no official weights for torch: set pretrained to the '
                'path of a state dict in the names of PSA and SEAM (conv1a.weight, '
                'b2_1.conv_branch2a.weight, bn7.running_var), such as the ones their '
                'repositories link to (MXNet files converted first)'
            )
        self.behind = _stages_behind(out_indices)
        self.norm_eval, self.pretrained = norm_eval, pretrained
        self.conv1a = _conv3x3(3, STEM_CHANNELS, 1, 1)
        self.units = self._add_stages()
        self.bn7 = nn.BatchNorm2d(self.channels)
        if norm_eval:
            freeze_norms(self)

    def _add_stages(self) -> list[str]:
        """Add b2 to b7; return the names in the order of the pass."""
        names, channels = [], STEM_CHANNELS
        for stage, settings in STAGES.items():
            outside, stride = settings['outside'], settings.get('stride', 1)
            dilation = settings.get('dilation', 1)
            for index in range(settings['units']):
                unit = WideUnit(
                    channels,
                    inside=settings['inside'],
                    outside=outside,
                    stride=1 if index else stride,
                    first_dilation=dilation if index else 1,
                    dilation=dilation,
                )
                names.append(f'{stage}_{index}' if index else stage)
                self.add_module(names[-1], unit)
                channels = outside
        for stage, bottleneck in BOTTLENECKS.items():
            self.add_module(stage, WideBottleneck(channels, **bottleneck))
            names.append(stage)
            channels = bottleneck['outside']
        self.channels = channels
        return names

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, then load the weights asked for.

        Raises:
            CheckpointError: if they cannot be read or do not fit.
        """
        super().init_weights()
        if not self.pretrained:
            return
        with fetching('ResNet38', self.pretrained):
            state = read_checkpoint(self.pretrained)
            state = state.get('state_dict', state)
            # files saved from data-parallel training
            state = {k.removeprefix('module.'): v for k, v in state.items()}
            own = self.state_dict()
            missing = own.keys() - state.keys()
            # older torch kept no count
            missing -= {key for key in own if key.endswith('num_batches_tracked')}
            if missing:
                raise CheckpointError(
                    f'{self.pretrained} lacks {len(missing)} weights of ResNet38, the '
                    f'first being {min(missing)}; expected the names of PSA and SEAM'
                )
            known = {key: state[key] for key in own if key in state}
            self.load_state_dict(known, strict=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, H, W), normalized, to one map (B, D, h, w) a level.

        The last is (B, 4096, H / 8, W / 8); sides that are no multiple of a stride are
        rounded up.
        """
        x = self.conv1a(images)
        maps = []
        for name in self.units:
            unit, active = getattr(self, name), None
            if name in self.behind:
                active = unit.activate(x)
                maps.append(active)
            x = unit(x, active)
        return (*maps, self.bn7(x).relu())

    def train(self, mode: bool = True) -> ResNet38:
        """Set the mode; with ``norm_eval`` batch normalization stays frozen."""
        super().train(mode)
        if self.norm_eval:
            freeze_norms(self)
        return self
