"""Turn weights of ACR's authors' release into a checkpoint of mmwsss.

python tools/model_converters/acr_release.py weight/acr_001_last.pth \\
    --out work_dirs/acr_release.pth
python tools/test.py configs/acr/vit_hybrid_voc_release.py work_dirs/acr_release.pth

The release (train_acr.py) writes the state dict of its network: timm's names behind
pretrained.model., the classifier as cls_head. The layers of its segmentation branch,
the final norm and head and the background token take no part in its logits or maps and
are left out. Classes are taken to be in the order of the config's data set. For weights
of COCO: --config configs/acr/vit_hybrid_coco.py.
"""

from __future__ import annotations

from released_weights import ReleasedWeights, convert_file, parse_arguments
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.models.classifiers import ACRClassifier, WSSSClassifier
from mmwsss.utils.errors import ConfigError

CONFIG = 'acr/vit_hybrid_voc_release.py'
OURS, THEIRS = 'backbone.vit.', 'pretrained.model.'
WITHOUT_PART = (
    'scratch.',
    'pretrained.act_postprocess',
    f'{THEIRS}norm.',
    f'{THEIRS}head.',
    f'{THEIRS}pre_logits.',
    f'{THEIRS}bkg_token',
)
"""Beginnings of released names that neither logits nor maps depend on."""


def convert(source: ReleasedWeights, model: WSSSClassifier) -> dict[str, Tensor]:
    """Rename the weights; the model's own names decide which are asked for.

    Raises:
        CheckpointError: if one is missing.
        ConfigError: if the model is no ``ACRClassifier``.
    """
    if not isinstance(model, ACRClassifier):
        raise ConfigError(
            f'the config is of {type(model).__name__}, not of ACRClassifier; take one '
            'of configs/acr'
        )
    names = list(model.state_dict())
    state = {name: source.take(name.replace(OURS, THEIRS, 1)) for name in names}
    source.drop(*WITHOUT_PART)
    return state


def main() -> None:
    """Convert."""
    convert_file(parse_arguments(__doc__ or '', CONFIG), convert)


if __name__ == '__main__':
    run_tool(main)
