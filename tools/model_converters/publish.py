"""Publish a checkpoint: weights alone, with their checksum in the name.

python tools/model_converters/publish.py work_dirs/rca/epoch_30.pth rca_vgg16_voc.pth
Writes rca_vgg16_voc-<first 8 digits of the SHA-256>.pth: the weights, the classes and
the config, without optimizer, schedules, logs, and what hooks have noted. The region
memory, which only training needs, is left out unless --keep-memory is given; the
prototypes stay. A published checkpoint can be tested and trained from, not resumed.
"""

import hashlib
import io
import re
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import torch

from mmwsss.apis.launch import run_tool
from mmwsss.utils.atomic import atomic_write_bytes
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError

KEPT_META = ('cfg', 'dataset_meta', 'epoch', 'iter', 'mmengine_version')
MEMORY = re.compile(r'(^|\.)memory\.(features|pointer|count)$')
WRAPPER = 'module.'
DIGITS = 8


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='file, or the work directory of a training')
    parser.add_argument('out', type=Path, help='file; the checksum is put in its name')
    parser.add_argument(
        '--keep-memory', action='store_true', help='publish the region memory too'
    )
    return parser.parse_args()


def published(checkpoint: dict[str, Any], *, keep_memory: bool) -> dict[str, Any]:
    """Return the parts of a checkpoint that others need.

    Args:
        checkpoint: As mmengine writes it, or a plain state dict.
        keep_memory: Whether the region memory is among them.

    Raises:
        CheckpointError: if it holds something else than tensors for weights.
    """
    state = checkpoint.get('state_dict', checkpoint)
    weights = {
        name.removeprefix(WRAPPER): value
        for name, value in state.items()
        if keep_memory or not MEMORY.search(name)
    }
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(
            'the checkpoint holds no state_dict and is none itself: name one that a '
            'training wrote'
        )
    # a view would bring along all that it is a part of
    weights = {name: value.detach().clone() for name, value in weights.items()}
    meta = checkpoint.get('meta', {})
    return dict(
        meta={name: meta[name] for name in KEPT_META if name in meta},
        state_dict=weights,
    )


def main() -> None:
    """Publish."""
    args = parse_arguments()
    checkpoint = read_checkpoint(args.checkpoint)
    buffer = io.BytesIO()
    torch.save(published(checkpoint, keep_memory=args.keep_memory), buffer)
    content = buffer.getvalue()
    digits = hashlib.sha256(content).hexdigest()[:DIGITS]
    path = args.out.with_name(f'{args.out.name.removesuffix(".pth")}-{digits}.pth')
    atomic_write_bytes(path, content)
    print(f'{path}: {len(content) / 1e6:.1f} MB')


if __name__ == '__main__':
    run_tool(main)
