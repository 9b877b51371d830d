"""Fill one table of refiners: their labels on training images, a segmentor on each.

python tools/analysis/refiner_table.py configs/_base_/studies/refiners_embedded.py \\
    --tune --jobs 2
python tools/analysis/refiner_table.py configs/_base_/studies/refiners_embedded.py \\
    --jobs 2 --out docs/studies/embedded/refiners
The first command trains a classifier with the tuning seed and searches each refiner's
settings there, by the mIoU of its labels; the refiner with the highest is the winner.
The second trains one classifier for each seed of the table, and on its seeds each
refiner with those settings and a segmentor on its labels; it writes OUT.md, OUT.json.
Seeds are the generator's if the config's ``data`` is ``synthetic``. Else they are those
of the trainings, and ``splits`` names the list of images that settings are searched on,
``tuning``, and of those whose labels are in the ``table``.
The row "seeds" takes the threshold that is best for the very seeds it labels, which no
refiner is granted. A chain is a pipeline in a folder of its own, begun as a copy of its
seed's finished classifier; one begun with other settings is refused: remove its folder.
Stopped, the same commands go on; --only LABEL ... takes some of the refiners.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from refiner_chains import (
    BASE,
    FIGURES,
    NETWORK,
    RAW,
    Chain,
    end_by_signal,
    network_places,
    run_all,
    use_threads,
)
from refiner_search import Contender, contenders_of, in_words

from mmwsss.apis.launch import add_cfg_options, check_writable, config_with, run_tool
from mmwsss.apis.study_statistics import Summary, paired_difference, summarize
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.digests import digest_json
from mmwsss.utils.errors import ArtefactError, ConfigError

TUNED = 'tuned.json'
NEEDED = ('title', 'data', 'classifier', 'segmentor', 'seeds', 'tuning_seed')
TITLES = (
    'labels of training images, mIoU',
    'their boundary F',
    'undecided',
    'segmentor on test, mIoU',
)


def read_table(path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Read the config of a table.

    Raises:
        ConfigError: if it is absent or lacks a part, an option names no setting, or
            settings would be searched on what is in the table.
    """
    config = config_with(path, options)._cfg_dict.to_dict()
    lacking = [name for name in (*NEEDED, 'refiners') if name not in config]
    if lacking:
        raise ConfigError(f'{path} lacks {", ".join(lacking)}')
    if 'splits' not in config and config['tuning_seed'] in config['seeds']:
        raise ConfigError(
            f'{path}: seed {config["tuning_seed"]} is for the search of settings and '
            'cannot be in the table too; choose another, or state splits'
        )
    return config


def rows_of(config: dict[str, Any], only: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the entries of the refiners wanted.

    Raises:
        ConfigError: if one is not there.
    """
    parts = config['refiners']
    plain = [{k: v for k, v in part.items() if k != NETWORK} for part in parts]
    labels = [one.label for one in contenders_of(plain, only)]
    return [part for part in parts if part['label'] in labels]


def tune(
    config: dict[str, Any], work_dir: Path, parts: Sequence[dict[str, Any]], jobs: int
) -> dict[str, Any]:
    """Search the settings of refiners on the tuning seed and keep them.

    Those of other refiners found before stay.

    Raises:
        WSSSError: if a classifier or network cannot be trained, or a setting not used.
    """
    seed = config['tuning_seed']
    base = Chain(config, work_dir, seed, BASE, {}, {})
    use_threads(1)
    base.run('seeds')
    networks = [
        Chain(config, work_dir, seed, part['label'], part, part['refiner'])
        for part in parts
        if NETWORK in part
    ]
    use_threads(jobs)
    run_all(networks, [], jobs, NETWORK).check()
    split = config.get('splits', {}).get('tuning')
    judged = base.judged(split, jobs=jobs, folder=work_dir / 'figures')
    path = work_dir / TUNED
    tuned = dict(read_tuned(path, config) if path.exists() else {}) or dict(
        seed=seed, origin=origin_of(config), refiners={}
    )
    tuned['seeds'] = judged.seeds()['seed/mIoU_best']
    places = {chain.label: network_places(chain) for chain in networks}
    for part in parts:
        label = part['label']
        refiner = {**part['refiner'], **places.get(label, {})}
        contender = Contender(label, refiner, part.get('search', [{}]))
        best, tried = judged.search(contender)
        found = max(entry['mIoU'] for entry in tried)
        chosen = contender.searched(best)
        tuned['refiners'][label] = dict(
            part=digest_json(part), chosen=chosen, mIoU=found, tried=tried
        )
        tuned['winner'] = max(
            tuned['refiners'], key=lambda name: tuned['refiners'][name]['mIoU']
        )
        atomic_write_text(path, json.dumps(tuned, indent=1) + '\n')
        print(f'{label}: {found} with {in_words(chosen)}', flush=True)
    return tuned


def origin_of(config: dict[str, Any]) -> str:
    """Return the digest of what the tuning seed's seeds are made from."""
    kept = ('data', 'classifier', 'tuning_seed', 'splits')
    return digest_json([config.get(name) for name in kept])


def read_tuned(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that were searched.

    Raises:
        ArtefactError: if there are none, or they are of another classifier.
    """
    if not path.exists():
        raise ArtefactError(f'no {path}; search the settings first, with --tune')
    tuned = json.loads(path.read_text())
    if tuned['origin'] != origin_of(config):
        raise ArtefactError(
            f'{path} is of other settings of data or classifier; choose another '
            '--work-dir and --tune there'
        )
    return tuned


def chosen_settings(tuned: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a refiner's settings with those that were searched.

    Raises:
        ArtefactError: if they were searched for other settings, or not at all.
    """
    found = tuned['refiners'].get(part['label'], {})
    if found.get('part') != digest_json(part):
        raise ArtefactError(
            f'the settings of {part["label"]} were not searched as its entry is now; '
            f'run --tune --only {part["label"]}'
        )
    return {**part['refiner'], **found['chosen']}


def report_of(
    config: dict[str, Any],
    tuned: dict[str, Any],
    parts: Sequence[dict[str, Any]],
    figures: dict[tuple[str, int], dict[str, Any]],
) -> dict[str, Any]:
    """Return all values, their means, and differences to the seeds, seed by seed."""
    rows = []
    for label in (RAW, *(part['label'] for part in parts)):
        own = {seed: f for (name, seed), f in figures.items() if name == label}
        row = dict(refiner=label, winner=label == tuned['winner'], values=own)
        if label != RAW:
            row['chosen'] = tuned['refiners'][label]['chosen']
        for name in FIGURES:
            values = {seed: found[name] for seed, found in own.items()}
            base = {s: f[name] for (n, s), f in figures.items() if n == RAW}
            row[name] = dict(
                summary=_plain(summarize(values)),
                difference=_plain(paired_difference(values, base)),
            )
        rows.append(row)
    return dict(
        title=config['title'],
        seeds=config['seeds'],
        classifier=config['classifier'],
        segmentor=config['segmentor'],
        data=config['data'],
        splits=config.get('splits'),
        tuned=tuned,
        rows=rows,
    )


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    return dict(mean=summary.mean, error=summary.error, count=summary.count)


def markdown(report: dict[str, Any]) -> str:
    """Return the page of a table."""
    tuned = report['tuned']
    winner = tuned['refiners'][tuned['winner']]
    images, tuned_on = _origins(report)
    head = (
        f'# {report["title"]}\n\n'
        f'Classifier `{report["classifier"]["config"]}`, segmentor '
        f'`{report["segmentor"]["config"]}`; {images}. Settings, and '
        f'{tuned["winner"]} as the winner (**bold**; its labels reach '
        f'{winner["mIoU"]:.2f} there, the seeds {tuned["seeds"]:.2f}), were chosen on '
        f'{tuned_on} not in the table. The row "{RAW}" takes the threshold that is '
        'best for the very seeds it labels. Mean ± standard error over seeds in '
        f'percent; in brackets the difference to "{RAW}", seed by seed, ± its standard '
        'error.\n\n'
    )
    lines = [_line(['refiner', 'settings', *TITLES])]
    lines.append(_line(['---'] * (len(TITLES) + 2)))
    for row in report['rows']:
        name = f'**{row["refiner"]}**' if row['winner'] else row['refiner']
        chosen = in_words(row['chosen']) if 'chosen' in row else 'best threshold'
        lines.append(_line([name, chosen, *(_cell(row, figure) for figure in FIGURES)]))
    return head + '\n'.join(lines) + '\n'


def _origins(report: dict[str, Any]) -> tuple[str, str]:
    """Return what a table is of, and what its settings were chosen on."""
    seeds, tuned = ', '.join(map(str, report['seeds'])), report['tuned']['seed']
    if generated := report['data'].get('synthetic'):
        images = f'{generated["train"]} training and {generated["test"]} test images'
        return f"{images} of each of the generator's seeds {seeds}", (
            f'seed {tuned}, which is'
        )
    splits = {name: Path(path).stem for name, path in report['splits'].items()}
    return f'trainings with seeds {seeds}, labels of `{splits["table"]}`', (
        f'`{splits["tuning"]}` with seed {tuned}, images that are'
    )


def _cell(row: dict[str, Any], figure: str) -> str:
    found = row[figure]
    if found['summary'] is None:
        return '-'
    text = _text(found['summary'], '.2f')
    if row['refiner'] == RAW or found['difference'] is None:
        return text
    return f'{text} ({_text(found["difference"], "+.2f")})'


def _text(summary: dict[str, Any], form: str) -> str:
    error = '' if summary['error'] is None else f' ± {summary["error"]:.2f}'
    return f'{summary["mean"]:{form}}{error}'


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="the table's config")
    parser.add_argument('--tune', action='store_true', help='search the settings')
    parser.add_argument('--only', nargs='+', help='labels of the refiners wanted')
    parser.add_argument('--jobs', type=int, default=1, help='chains at once')
    parser.add_argument('--work-dir', type=Path, default='work_dirs/refiner_table')
    parser.add_argument('--out', help='files to write, without suffix')
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    """Search settings, or fill the table."""
    args = parse_arguments()
    torch.set_num_threads(1)
    end_by_signal()
    config = read_table(args.config, args.cfg_options)
    parts = rows_of(config, args.only)
    check_writable(str(args.work_dir))
    work_dir = args.work_dir.resolve()
    if args.tune:
        tuned = tune(config, work_dir, parts, args.jobs)
        print(f'winner: {tuned["winner"]}')
        return
    tuned = read_tuned(work_dir / TUNED, config)
    settings = {part['label']: chosen_settings(tuned, part) for part in parts}
    bases = [Chain(config, work_dir, s, BASE, {}, {}) for s in config['seeds']]
    rows = [dict(label=RAW), *parts]
    chains = [
        Chain(config, work_dir, s, row['label'], row, settings.get(row['label'], {}))
        for s in config['seeds']
        for row in rows
    ]
    use_threads(args.jobs)
    outcome = run_all(bases, chains, args.jobs)
    report = report_of(config, tuned, parts, outcome.figures)
    out = args.out or str(work_dir / 'table')
    atomic_write_text(f'{out}.json', json.dumps(report, indent=1) + '\n')
    atomic_write_text(f'{out}.md', markdown(report))
    print(markdown(report))
    outcome.check()


if __name__ == '__main__':
    run_tool(main)
