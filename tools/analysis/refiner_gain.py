"""Tell what each refiner gains on real photographs, from seeds degraded on purpose.

python tools/analysis/refiner_gain.py data/VOCdevkit/VOC2012 --tune train_rest \\
    --tune-images 100 --test train_mini --out docs/studies/refiner_gain --jobs 2
Seeds are made of masks (degraded_seeds.py). Settings of each refiner are searched on
the tuning list, by mIoU, and its figures taken on the test list, which shares no image
with it. The gain is over the raw seeds at the threshold that is best on the test list
itself: no refiner is granted that. Writes OUT.md and OUT.json. Stopped, the same
command goes on: figures of finished settings are kept in --work-dir.

Networks are trained beforehand, on degraded seeds of images that are not tested:

python tools/analysis/degraded_seeds.py data/VOCdevkit/VOC2012 --list train_rest \\
    --out work_dirs/refiner_gain/train --jobs 2 --refiner type=densecrf \\
    preset=deeplabv2 background_threshold=0.2 foreground_threshold=0.4
python tools/train.py configs/refinement/irn_lite0_voc.py \\
    --work-dir work_dirs/refiner_gain/irn --cfg-options \\
    train_dataloader.dataset.data_root=data/VOCdevkit/VOC2012 \\
    train_dataloader.dataset.label_root=work_dirs/refiner_gain/train
then: --network irn=configs/refinement/irn_lite0_voc.py,work_dirs/refiner_gain/irn
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from degraded_seeds import (
    Degradation,
    add_degradation,
    degraded_seeds,
    load_photographs,
    write_saliency,
)
from mmengine.registry import init_default_scope
from refiner_search import Contender, Judged, contenders_of, in_words

from mmwsss.apis.launch import check_writable, run_tool
from mmwsss.datasets.tag_list import some_names
from mmwsss.refiners import build_refiner
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.progress import track

LEVELS = tuple(step / 20 for step in range(3, 15))
CRF_SEARCH = [
    dict(background_threshold=(0.2, 0.3, 0.4), certainty=(None, 0.7)),
    dict(alpha=(2.0, 4.0)),
]
NETWORK_SEARCH: dict[str, dict[str, Sequence[float]]] = dict(
    psa=dict(exponent=(8.0, 32.0), background_threshold=(0.2, 0.3, 0.4)),
    irn=dict(exponent=(10.0,), background_threshold=(0.2, 0.3, 0.4)),
)
REFINERS: list[dict[str, Any]] = [
    dict(
        label='threshold',
        refiner=dict(type='threshold'),
        search=[dict(background_threshold=LEVELS)],
    ),
    dict(
        label='PAMR',
        refiner=dict(type='pamr'),
        search=[dict(background_threshold=LEVELS)],
    ),
    *(
        dict(
            label=f'CRF {preset}',
            refiner=dict(type='densecrf', preset=preset),
            search=CRF_SEARCH,
        )
        for preset in ('cam', 'irn', 'deeplabv2')
    ),
    dict(
        label='saliency',
        refiner=dict(type='saliency'),
        search=[dict(salient=(32 / 255, 0.5, 1.0))],
    ),
]
RAW = 'seeds, best threshold'
SALIENCY = 'saliency'
COLUMNS = (
    'refiner',
    'settings',
    'mIoU',
    'gain',
    'mIoU decided',
    'boundary F',
    'undecided',
    's/image',
    's in all',
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root', help="photographs and masks in VOC's layout")
    for name, use in (('tune', 'settings are searched on'), ('test', 'are measured')):
        parser.add_argument(
            f'--{name}', required=True, help=f'list of images that {use}'
        )
        parser.add_argument(f'--{name}-images', type=int, help='how many at most')
    add_degradation(parser)
    parser.add_argument(
        '--network',
        action='append',
        default=[],
        metavar='NAME=CONFIG,CHECKPOINT',
        help='a refiner with a trained network, e.g. irn=CONFIG,WORK_DIR',
    )
    parser.add_argument('--only', nargs='+', help='labels of the refiners wanted')
    parser.add_argument('--jobs', type=int, default=1, help='processes, a thread each')
    parser.add_argument('--work-dir', type=Path, default='work_dirs/refiner_gain')
    parser.add_argument('--out', required=True, help='files to write, without suffix')
    return parser.parse_args()


def network_contender(text: str) -> dict[str, Any]:
    """Return the contender of a command line's network.

    Raises:
        ConfigError: if the text is not NAME=CONFIG,CHECKPOINT.
    """
    name, _, places = text.partition('=')
    config, _, checkpoint = places.partition(',')
    if not (name in NETWORK_SEARCH and config and checkpoint):
        raise ConfigError(
            '--network: expected NAME=CONFIG,CHECKPOINT with NAME among '
            f'{", ".join(NETWORK_SEARCH)}, got {text!r}'
        )
    refiner = dict(type=name, config=config, checkpoint=checkpoint)
    return dict(label=name.upper(), refiner=refiner, search=[NETWORK_SEARCH[name]])


def parts_of(args: Namespace) -> list[dict[str, Any]]:
    """Return all contenders, with the folder of the saliency maps."""
    parts = [*REFINERS, *map(network_contender, args.network)]
    folder = dict(folder=str(args.work_dir / SALIENCY))
    return [
        dict(part, refiner=part['refiner'] | folder)
        if part['label'] == SALIENCY
        else part
        for part in parts
    ]


class Comparison:
    """Contenders, searched on some images and measured on others.

    Args:
        tune: Images that settings are searched on.
        test: Images that figures are taken on.

    Raises:
        ConfigError: if they share an image.
    """

    def __init__(self, tune: Judged, test: Judged) -> None:
        if shared := sorted(set(tune.names()) & set(test.names())):
            raise ConfigError(
                f'--tune and --test share {some_names(shared)}: figures would be of '
                'images that chose the settings'
            )
        self.tune, self.test = tune, test

    def raw(self) -> dict[str, Any]:
        """Return the row of the seeds at the threshold that is best for them."""
        seeds = self.test.seeds()
        level = seeds['seed/threshold_best']
        figures = self.test.figures(dict(type='threshold', background_threshold=level))
        chosen = dict(background_threshold=level)
        return dict(refiner=RAW, chosen=chosen, tried=[], **figures)

    def row(self, contender: Contender) -> dict[str, Any]:
        """Search a contender's settings and return its row."""
        settings, tried = self.tune.search(contender)
        return dict(
            refiner=contender.label,
            chosen=contender.searched(settings),
            settings=_portable(settings),
            tried=tried,
            **self.test.figures(settings),
        )


def _portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a refiner's whole settings without the places of its files."""
    whole = build_refiner(settings).settings()
    return {name: value for name, value in whole.items() if name != 'folder'}


def with_gains(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the gain over the first, in points of mIoU."""
    first = rows[0]['mIoU']
    return [dict(row, gain=round(row['mIoU'] - first, 2)) for row in rows]


def markdown(report: dict[str, Any]) -> str:
    """Return the report's page."""
    how, command = report['degradation'], report['lists']
    head = (
        '# What refiners gain on photographs, from degraded seeds\n\n'
        f'Seeds of {command["test"]["images"]} photographs of '
        f'`{command["test"]["list"]}` made of their masks: {how["cells"]} cells along '
        f'the long side, strength {how["strength"]:g}, seed {how["seed"]}. Settings '
        f'are those of the highest mIoU on {command["tune"]["images"]} photographs of '
        f'`{command["tune"]["list"]}`, which shares none; the first row alone takes '
        'its threshold from the images it is measured on, and the gain is over it. '
        'mIoU (undecided pixels count as missed, or are left out), boundary F and '
        'undecided pixels in percent, processor seconds of one thread, median and '
        'sum.\n\n'
    )
    lines = [_line(COLUMNS), _line(['---'] * len(COLUMNS))]
    marked = any(row['extra_supervision'] for row in report['rows'])
    for row in report['rows']:
        star = '\\*' if row['extra_supervision'] else ''
        lines.append(
            _line(
                [
                    row['refiner'] + star,
                    in_words(row['chosen']),
                    f'{row["mIoU"]:.2f}',
                    f'{row["gain"]:+.2f}',
                    f'{row["mIoU_decided"]:.2f}',
                    f'{row["boundary_F"]:.2f}',
                    f'{row["undecided"]:.2f}',
                    f'{row["seconds"]["median"]:.3f}',
                    f'{row["seconds"]["total"]:.1f}',
                ]
            )
        )
    note = '\n\\* with extra supervision: saliency maps, made of masks too.\n'
    return head + '\n'.join(lines) + '\n' + (note if marked else '')


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def judged_lists(args: Namespace, how: Degradation) -> dict[str, Judged]:
    """Make the seeds and saliency maps of both lists."""
    found = {}
    for name in ('tune', 'test'):
        count = getattr(args, f'{name}_images')
        images, masks = load_photographs(args.data_root, getattr(args, name), count)
        store = degraded_seeds(images, masks, args.work_dir / f'seeds_{name}', how)
        write_saliency(images, masks, args.work_dir / SALIENCY, how)
        figures = args.work_dir / 'figures'
        found[name] = Judged(store, images, masks, figures, args.jobs)
    return found


def main() -> None:
    """Search, measure and write."""
    args = parse_arguments()
    check_writable(str(args.work_dir))
    init_default_scope('mmwsss')
    contenders = contenders_of(parts_of(args), args.only)
    how = Degradation(cells=args.cells, strength=args.strength, seed=args.seed)
    lists = judged_lists(args, how)
    comparison = Comparison(**lists)
    rows = [comparison.raw()]
    for contender in track(contenders, 'Refiners'):
        rows.append(comparison.row(contender))
        print(f'{contender.label}: {rows[-1]["mIoU"]} {rows[-1]["chosen"]}', flush=True)
    report = dict(
        degradation=asdict(how),
        lists={
            name: dict(list=getattr(args, name), images=len(judged.names()))
            for name, judged in lists.items()
        },
        jobs=args.jobs,
        rows=with_gains(rows),
    )
    atomic_write_text(f'{args.out}.json', json.dumps(report, indent=1) + '\n')
    atomic_write_text(f'{args.out}.md', markdown(report))
    print(markdown(report))


if __name__ == '__main__':
    run_tool(main)
