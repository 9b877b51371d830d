"""A config of RCA that trains in milliseconds: bank, prototypes, accumulated maps."""

from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from pseudo_label_run import write_config
from torch import nn

from mmwsss.registry import MODELS

CHANNELS = 6
CLOCKS = (
    dict(type='CountedRandomnessHook'),
    dict(type='RegionMemoryHook'),
    dict(type='PrototypeRefreshHook'),
)
ACCUMULATION = dict(type='MapAccumulationHook', gate=0.0, begin=0)
MODEL = dict(
    type='RCAClassifier',
    num_classes=20,
    channels=CHANNELS,
    backbone=dict(type='TinyNormedCNN'),
    head=dict(type='CAMHead', channels=8, num_convs=1),
    memory=dict(type='RegionMemory', num_slots=4, score_gate=0.0, momentum=0.5),
    contrast=dict(type='RegionContrastLoss', loss_weight=0.5),
    aggregation=dict(type='PrototypeAggregator', num_prototypes=2),
    contrast_from=1,
    aggregate_from=1,
)


@MODELS.register_module(force=True)
class TinyNormedCNN(BaseModule):
    """A convolution at stride 4; on request with batch normalization and dropout."""

    def __init__(self, *, norm=True, dropout=0.2):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.norm = nn.BatchNorm2d(CHANNELS) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, images):
        return (self.dropout(self.norm(self.conv(images)).relu()),)


def write_rca_config(folder, voc_root):
    """Return a function from a run's name and settings to its config."""
    path = write_config(folder, voc_root)

    def make(name, *, hooks=(*CLOCKS, ACCUMULATION), **options):
        config = Config.fromfile(path)
        config.work_dir = str(Path(folder) / name)
        preprocessor = config.model.data_preprocessor
        config.model = ConfigDict(MODEL, data_preprocessor=preprocessor)
        config.custom_hooks = [ConfigDict(hook) for hook in hooks]
        config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
        return config

    return make
