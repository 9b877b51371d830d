"""Look at own images with a trained classifier or segmentor.

python tools/infer.py configs/acr/vit_hybrid_voc.py work_dirs/acr/epoch_15.pth \\
    holiday.jpg more_photographs/ --out work_dirs/look --tags dog person
Writes, for each image, OUT/vis (image, the map of each tag, seeds, pseudo label),
OUT/seeds and OUT/labels (palette PNG), OUT/scores (JSON). Without --tags those classes
are localized that the classifier recognizes. --point adds what attention joins to a
pixel, with ACR. Of a segmentor it writes the predicted label. CONFIG may also be the
name of a config that comes with mmwsss, such as acr/vit_hybrid_voc.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from mmwsss.apis import WSSSInferencer
from mmwsss.apis.inferencer_files import check_names
from mmwsss.apis.inferencer_inputs import gather_images
from mmwsss.apis.launch import (
    add_cfg_options,
    add_inference_arguments,
    config_with,
    run_tool,
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_inference_arguments(parser, background='score of the background in the seeds')
    parser.add_argument('images', nargs='+', help='files, folders or file:// URLs')
    parser.add_argument('--out', required=True, help='folder of all that is written')
    parser.add_argument('--tags', nargs='+', help='classes to localize in all images')
    parser.add_argument(
        '--point',
        nargs=2,
        type=float,
        metavar=('X', 'Y'),
        help='column and row in pixels whose affinity is drawn (ACR)',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images at once')
    add_cfg_options(parser, example='refiner.background_threshold=0.3')
    return parser.parse_args()


def main() -> None:
    """Load, look, write."""
    args = parse_arguments()
    images = gather_images(args.images, tags=args.tags, point=args.point)
    check_names(images)
    inferencer = WSSSInferencer(
        config_with(args.config, args.cfg_options),
        args.checkpoint,
        args.device,
        score_threshold=args.score_threshold,
        background_threshold=args.background_threshold,
    )
    found = inferencer.predict(images, batch_size=args.batch_size, refiner=args.refiner)
    for prediction in found:
        inferencer.visualize([prediction], out_dir=args.out)
    print(f'{args.out}: what was found in {len(images)} images; pictures in vis')


if __name__ == '__main__':
    run_tool(main)
