"""Networks of the embedded data's configs with random weights, ready to look."""

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as SEGMENTORS
from tiny_run import ROOT

from mmwsss.apis import WSSSInferencer
from mmwsss.registry import MODELS

SEGMENTOR = 'segmentation/deeplabv2_embedded'


def random_network(folder, name, *, seed=0, **settings):
    """Return the inferencer of a config with weights far from zero."""
    path = folder / f'{name.replace("/", "_")}_{seed}.pth'
    if not path.exists():
        scope, models = ('mmseg', SEGMENTORS) if name == SEGMENTOR else (None, MODELS)
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope(scope or 'mmwsss'):
            model = models.build(Config.fromfile(ROOT / f'configs/{name}.py').model)
        for weights in model.parameters():
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=1.5 * weights[0].numel() ** -0.5)
        torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return WSSSInferencer(name, path, 'cpu', show_progress=False, **settings)
