"""Make pseudo labels: seeds of a trained classifier, refined to label maps.

python tools/generate_pseudo_labels.py configs/acr/vit_hybrid_voc.py \\
    work_dirs/acr/epoch_15.pth --out work_dirs/acr/pseudo
Writes OUT/seeds, OUT/labels/<id>.png and OUT/labels.json, the latter two to --label-out
where that is given. Stopped, it goes on where it was. Several processes:
tools/dist_pseudo_labels.sh, or --jobs for the labels alone.
With --accumulated the seeds are the maps that MapAccumulationHook kept, in place of the
checkpoint's own. Settings of the refiner: --cfg-options refiner.type=densecrf
refiner.preset=irn. A background score that is to be chosen over all seeds:
--background-threshold gt_free, or searched --masks DIR.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed, is_main_process

from mmwsss.apis.accumulated_store import accumulated_seeds
from mmwsss.apis.background_scores import (
    UNDECIDED,
    background_rule,
    choose_background,
    masks_of_all,
    score_or_rule,
)
from mmwsss.apis.launch import add_common_arguments, read_config, run_tool
from mmwsss.apis.pseudo_labels import (
    choose_refiner,
    generate_labels,
    refiner_settings,
)
from mmwsss.apis.seeds import generate_seeds, load_tagged_images
from mmwsss.utils.checkpoint import find_checkpoint


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint', help="classifier's checkpoint, or its training's work directory"
    )
    parser.add_argument(
        '--out', dest='work_dir', required=True, help='folder of seeds and labels'
    )
    parser.add_argument(
        '--label-out', metavar='DIR', help='folder of labels and manifest, if not OUT'
    )
    parser.add_argument('--refiner', help="in place of the config's, e.g. threshold")
    parser.add_argument(
        '--background-threshold',
        type=score_or_rule,
        metavar='SCORE',
        help="score of the background in [0, 1], in place of the refiner's; gt_free "
        'chooses it once by the scores of all seeds, searched by masks',
    )
    parser.add_argument(
        '--masks', metavar='DIR', help='folder of masks, read for searched alone'
    )
    parser.add_argument(
        '--accumulated',
        metavar='STORE',
        help='accumulated maps in place of generated ones: WORK_DIR/accumulated of '
        "the checkpoint's training",
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='processes that refine, on the processor: for refiners without a GPU',
    )
    parser.add_argument('--only', choices=['seeds'], help='stop behind the seeds')
    return parser.parse_args()


def join_processes(config: Config) -> None:
    """Join the other processes, if there are any and it is not done yet."""
    if config.launcher != 'none' and not is_distributed():
        init_dist(config.launcher, **config.env_cfg.dist_cfg)


def main() -> None:
    """Make seeds, then labels."""
    args = parse_arguments()
    config = read_config(args)
    choice = dict(name=args.refiner, background_threshold=args.background_threshold)
    rule = background_rule(refiner_settings(config, **choice), args.masks)
    if rule:
        choice.update(background_threshold=UNDECIDED)
    refiner = choose_refiner(config, **choice)
    join_processes(config)
    out = Path(config.work_dir)
    images = load_tagged_images(config)
    masks = masks_of_all(config, images, args.masks) if args.masks else None
    checkpoint = str(find_checkpoint(args.checkpoint))
    task = (config, checkpoint, images)
    if args.accumulated:
        seeds = accumulated_seeds(*task, args.accumulated, out / 'seeds')
    else:
        seeds = generate_seeds(*task, out / 'seeds')
    if args.only == 'seeds':
        return
    score = None
    if rule:
        score = choose_background(rule, config, seeds, images, masks=masks)
        choice.update(background_threshold=score.threshold)
        refiner = choose_refiner(config, **choice)
    out = Path(args.label_out or out)
    manifest = generate_labels(
        seeds, images, refiner, out, jobs=args.jobs, background=score
    )
    if is_main_process():
        pixels = sum(manifest['pixels_per_class'].values())
        undecided = manifest['ignored_pixels'] / (pixels + manifest['ignored_pixels'])
        supervision = manifest['extra_supervision']
        print(
            f'{out / "labels"}: {manifest["num_images"]} labels by '
            f'{manifest["refiner"]["type"]}, {undecided:.1%} of pixels undecided'
            + (f', background score {score.threshold:g} ({rule})' if score else '')
            + (f', extra supervision: {supervision}' if supervision else '')
        )


if __name__ == '__main__':
    run_tool(main)
