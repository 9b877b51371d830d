"""Store the features of a frozen backbone, so that trainings on them take minutes.

python tools/cache_features.py configs/cam/lite0_frozen_voc.py --out work_dirs/features
Images are those of the config's seed_dataloader. Stopped, the same command goes on.
Configs that read them: configs/cam/lite0_cached_voc.py and those beside it.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from mmwsss.apis.feature_cache import cache_features
from mmwsss.apis.launch import add_common_arguments, read_config, run_tool
from mmwsss.apis.seeds import load_tagged_images
from mmwsss.registry import MODELS


def main() -> None:
    """Read the command line and fill the folder."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument('--out', required=True, help='folder of the features')
    args = parser.parse_args()
    args.work_dir = args.work_dir or args.out
    config = read_config(args)
    images = load_tagged_images(config)
    backbone = MODELS.build(config.model.backbone)
    backbone.init_weights()
    cache_features(config, backbone, images, args.out)
    print(f'{args.out}: features of {len(images.ids)} images')


if __name__ == '__main__':
    run_tool(main)
