"""Turn weights of RCA's authors' release into a checkpoint of mmwsss.

python tools/model_converters/rca_release.py \\
    runs/pascal/model/pascal_voc_epoch_29.pth --out work_dirs/rca_release.pth
python tools/test.py configs/rca/vgg16_voc_release.py work_dirs/rca_release.pth

The release (train.py) writes its network's state dict beside the optimizer's, which is
left out: a training may start from the checkpoint, not resume. The stacks of the
classes become grouped convolutions, the queues and cluster centres of the classes the
memory and the prototypes. Batch normalization takes off the bias of the convolution
before it, which mmwsss does not have: it goes into the running mean. All slots and
prototypes count as visited, as they do in the release. Classes are taken to be in the
order of the config's data set.
"""

from __future__ import annotations

import torch
from released_weights import ReleasedWeights, convert_file, parse_arguments
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.models.aggregators import ReleasedAggregator
from mmwsss.models.classifiers import RCAClassifier, WSSSClassifier
from mmwsss.models.heads import CAMHead, RegionProjection
from mmwsss.utils.errors import CheckpointError, ConfigError

CONFIG = 'rca/vgg16_voc_release.py'
AGGREGATION = {
    'query': 'Q',
    'key': 'K',
    'value': 'V',
    'context': 'aggre',
    'output': 'concat_project',
}
"""Layers of ``ReleasedAggregator`` and their released names."""
KINDS = ('weight', 'bias')


def convert(source: ReleasedWeights, model: WSSSClassifier) -> dict[str, Tensor]:
    """Rename and join the weights.

    Raises:
        CheckpointError: if one is missing.
        ConfigError: if the model is not RCA in the release's form.
    """
    released = (
        isinstance(model, RCAClassifier)
        and isinstance(model.aggregation, ReleasedAggregator)
        and isinstance(model.projection, RegionProjection)
        and model.memory is not None
        and model.head.classify.groups == model.num_classes
    )
    if not isinstance(model, RCAClassifier) or not released:
        raise ConfigError(
            'the config is not of RCA in the form of the release; take '
            f'configs/{CONFIG} or one that differs in sizes alone'
        )
    classes = range(model.num_classes)
    return {
        **backbone(source, model),
        **head(source, model.coarse_head, 'coarse_head', ['extra_convs']),
        **head(source, model.head, 'head', [f'extra_convs{c}' for c in classes]),
        **projection(source),
        **aggregation(source, model.num_classes),
        **memory(source, model.num_classes),
    }


def backbone(source: ReleasedWeights, model: RCAClassifier) -> dict[str, Tensor]:
    """Take ``features.<n>``; n counts layers without weights too.

    Raises:
        CheckpointError: if there are more or fewer convolutions than in the model.
    """
    found = {n.split('.')[1] for n in source.names() if n.startswith('features.')}
    numbers = sorted(found, key=int)
    own = (name.rpartition('.')[0] for name in model.backbone.state_dict())
    layers = list(dict.fromkeys(own))
    if len(numbers) != len(layers):
        raise CheckpointError(
            f'{source.path} has {len(numbers)} layers features.<n>, the backbone of '
            f'the config {len(layers)}; give the config of its network with --config'
        )
    return {
        f'backbone.{layer}.{kind}': source.take(f'features.{number}.{kind}')
        for layer, number in zip(layers, numbers)
        for kind in KINDS
    }


def head(
    source: ReleasedWeights, own: CAMHead, name: str, stacks: list[str]
) -> dict[str, Tensor]:
    """Join stacks of convolutions with relu between, one behind the other.

    Where the config has a stack for each class and the release one for all, each class
    gets a copy: the maps are the same.
    """
    *layers, last = range(0, len(own.convs) + 1, 2)
    copies = own.classify.groups // len(stacks)
    places = {f'convs.{layer}': (layer, copies) for layer in layers}
    places['classify'] = (last, 1)
    return {
        f'{name}.{place}.{kind}': torch.cat(
            [source.take(f'{stack}.{layer}.{kind}') for stack in stacks] * times
        )
        for place, (layer, times) in places.items()
        for kind in KINDS
    }


def projection(source: ReleasedWeights) -> dict[str, Tensor]:
    """Take ``extra_F``, its first bias within the mean that follows."""
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    names = ['0.weight', *(f'1.{kind}' for kind in norm), '3.weight', '3.bias']
    state = {f'projection.{name}': source.take(f'extra_F.{name}') for name in names}
    mean = 'projection.1.running_mean'
    state[mean] = state[mean] - source.take('extra_F.0.bias')
    return state


def aggregation(source: ReleasedWeights, num_classes: int) -> dict[str, Tensor]:
    """Take the layers and the cluster centres of all classes."""
    state = {
        f'aggregation.{own}.{kind}': source.take(f'{theirs}.{kind}')
        for own, theirs in AGGREGATION.items()
        for kind in KINDS
    }
    centres = [source.take(f'cluter{c}') for c in range(num_classes)]
    # clustered at the start of every epoch but the first
    refreshes = torch.tensor(max(1, source.epoch or 1))
    return state | {
        'aggregation.prototypes': torch.stack(centres),
        'aggregation.ready': torch.ones(num_classes, dtype=torch.bool),
        'aggregation.refreshes': refreshes,
    }


def memory(source: ReleasedWeights, num_classes: int) -> dict[str, Tensor]:
    """Take the queues of all classes and their pointers."""
    features = torch.stack([source.take(f'queue{c}') for c in range(num_classes)])
    pointers = [source.take(f'queue_ptr{c}') for c in range(num_classes)]
    return {
        'memory.features': features,
        'memory.pointer': torch.cat(pointers),
        'memory.count': torch.full((num_classes,), features.shape[1]),
    }


def main() -> None:
    """Convert."""
    convert_file(parse_arguments(__doc__ or '', CONFIG), convert)


if __name__ == '__main__':
    run_tool(main)
