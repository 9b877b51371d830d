"""Check the images, tags and masks of a config before anything is trained on them.

python tools/check_dataset.py configs/custom/cam.py
Reads every file once. The report goes to the terminal and to OUT/report.html and
OUT/report.json; the exit code is 1 if there are errors. With --fix-tags DIR the tag
files are copied there with the tags that the masks show; originals stay as they are.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mmwsss.apis.dataset_check import check_config, fix_tags
from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.visualization.dataset_page import dataset_page

PAIRS = 5
COLOURS = {'error': 'red', 'warning': 'yellow', 'note': 'cyan'}


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='folder of the report')
    parser.add_argument('--fix-tags', metavar='DIR', help='write corrected tag files')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='0 reads in one process'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.workers < 0:
        parser.error(f'--workers: expected at least 0, got {args.workers}')
    return args


def common_pairs(report: dict[str, Any]) -> list[str]:
    """Return the classes that most images of the first tagged split have together."""
    names = next((list(s['classes']) for s in report['splits'] if s['tagged']), [])
    together = report['cooccurrence']
    pairs = [(together[a][b], a, b) for a, b in combinations(range(len(names)), 2)]
    pairs = sorted((pair for pair in pairs if pair[0]), key=lambda pair: -pair[0])
    return [f'{names[a]} and {names[b]} ({n})' for n, a, b in pairs[:PAIRS]]


def show(report: dict[str, Any], console: Console) -> None:
    """Print the report on one page."""
    console.print(report['config'], soft_wrap=True)
    counts = Table()
    splits = [split for split in report['splits'] if split['tagged']]
    for head in ('images of', *(split['name'] for split in splits)):
        counts.add_column(head)
    counts.add_row('all', *(str(split['images']) for split in splits))
    for name in splits[0]['classes'] if splits else ():
        counts.add_row(name, *(str(s['classes'].get(name, '-')) for s in splits))
    console.print(counts)
    for split in report['splits']:
        masks = 'with masks' if split['with_masks'] else 'without masks'
        console.print(f'{split["name"]}: {split["images"]} images, {masks}')
    sizes = (f'{count} of {name}' for name, count in report['sizes'].items() if count)
    console.print(f'longer side in pixels: {", ".join(sizes) or "none readable"}')
    pairs = common_pairs(report)
    if pairs:
        console.print(f'most often on one image: {", ".join(pairs)}', soft_wrap=True)
    for problem in report['problems']:
        console.print(
            f'{problem["severity"]}: {problem["title"]}, {problem["count"]} in '
            f'{problem["where"]}: {problem["effect"]}',
            style=COLOURS[problem['severity']],
        )
        for example in problem['examples']:
            console.print(f'    {example}', soft_wrap=True)
    console.print(f'{report["errors"]} errors, {report["warnings"]} warnings')


def main() -> None:
    """Check, report, correct."""
    args = parse_arguments()
    config = config_with(args.config, args.cfg_options)
    report, loaded, facts = check_config(config, args.config, workers=args.workers)
    console = Console(markup=False, highlight=False)
    show(report, console)
    out = Path(args.out or Path('work_dirs/check', Path(args.config).stem))
    text = json.dumps(report, indent=1, ensure_ascii=False)
    atomic_write_text(out / 'report.json', text + '\n')
    atomic_write_text(out / 'report.html', dataset_page(report))
    console.print(f'report: {out / "report.html"}', soft_wrap=True)
    if args.fix_tags:
        for path, count in fix_tags(loaded, facts, args.fix_tags).items():
            console.print(f'{path}: tags of {count} images corrected', soft_wrap=True)
    if report['errors']:
        sys.exit(1)


if __name__ == '__main__':
    run_tool(main)
