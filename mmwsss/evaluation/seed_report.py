"""Seed figures as text, picture and files."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from prettytable import PrettyTable
from torch import Tensor

from mmwsss.evaluation.seed_summary import SeedSource, SeedSummary
from mmwsss.utils.atomic import atomic_write_text, atomic_writer

FIGURE_INCHES = (7.0, 4.5)
FIGURE_DPI = 100
PROTOCOL_LINES = {'best': ':', 'fixed': '-.', 'gt_free': '--'}
CURVE_NAMES = {
    'mIoU': 'mIoU, all classes',
    'mIoU_occurring': 'mIoU, occurring classes',
    'mFP': 'false positives / union',
    'mFN': 'false negatives / union',
}


def report_text(summary: SeedSummary, source: SeedSource) -> str:
    """Return the figures as tables: each protocol, then each class at the best."""
    head = (
        f'seeds: split {source.split or "not stated"}, {source.num_images} images, '
        f'{source.num_pixels} pixels judged, {source.num_ignored} ignored, '
        f'extra supervision: {source.extra_supervision or "none"}'
    )
    scalars = summary.scalars()
    columns = ('threshold', *summary.curves())
    protocols = PrettyTable(['protocol', *columns])
    for name in summary.index:
        values = (_rounded(scalars[f'{column}_{name}']) for column in columns)
        protocols.add_row([name, *values])
    classes = PrettyTable()
    classes.add_column('class', list(summary.classes))
    for name, rates in summary.class_columns('best').items():
        classes.add_column(name, [_rounded(rate) for rate in rates])
    best = scalars['threshold_best']
    return f'{head}\n{protocols}\nper class at the best threshold {best:g}:\n{classes}'


def _rounded(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.2f}'


def curve_figure(summary: SeedSummary, source: SeedSource) -> Figure:
    """Draw the curves over the threshold with each protocol's choice."""
    figure = Figure(figsize=FIGURE_INCHES, dpi=FIGURE_DPI, layout='constrained')
    axes = figure.add_subplot()
    curves = summary.curves()
    for name, label in CURVE_NAMES.items():
        axes.plot(summary.thresholds, curves[name].numpy(), label=label)
    for protocol, index in summary.index.items():
        axes.axvline(
            summary.thresholds[index],
            color='grey',
            linestyle=PROTOCOL_LINES[protocol],
            label=f'{protocol}: {summary.miou[index]:.2f} at '
            f'{summary.thresholds[index]:g}',
        )
    axes.set(xlabel='background threshold', ylabel='%', ylim=(0, 100))
    axes.set_title(f'{source.split or "seeds"}, {source.num_images} images')
    axes.legend(fontsize='small')
    return figure


def figure_pixels(figure: Figure) -> np.ndarray:
    """Render a figure to (H, W, 3) uint8 RGB, without a display."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def report_record(summary: SeedSummary, source: SeedSource) -> dict[str, Any]:
    """Return all figures as plain values; undefined ones are None."""
    scalars = summary.scalars()
    curves = {name: curve.tolist() for name, curve in summary.curves().items()}
    protocols = {
        protocol: {
            'threshold': summary.thresholds[index],
            **{name: scalars[f'{name}_{protocol}'] for name in curves},
            'classes': summary.class_columns(protocol),
        }
        for protocol, index in summary.index.items()
    }
    record = {
        **asdict(source),
        'classes': list(summary.classes),
        'protocols': protocols,
        'thresholds': list(summary.thresholds),
        'curves': curves,
    }
    return _without_nan(record)


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON has no word for, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def write_report(
    out_dir: str | Path,
    summary: SeedSummary,
    source: SeedSource,
    *,
    histogram: Tensor,
    figure: Figure,
) -> None:
    """Write ``seed_curve.{png,json}`` and ``seed_histogram.npz``, each atomically.

    Args:
        out_dir: Folder, made if absent.
        summary: The figures.
        source: Where they come from.
        histogram: (C, C + 1, T + 1) int64, from which all figures follow.
        figure: The picture of the curve.

    Raises:
        ArtefactError: if a file cannot be written.
    """
    folder = Path(out_dir)
    text = json.dumps(report_record(summary, source), indent=2, allow_nan=False)
    atomic_write_text(folder / 'seed_curve.json', text + '\n')
    with atomic_writer(folder / 'seed_curve.png') as file:
        figure.savefig(file, format='png')
    with atomic_writer(folder / 'seed_histogram.npz') as file:
        np.savez_compressed(
            file,
            histogram=histogram.numpy(),
            thresholds=np.array(summary.thresholds),
            classes=np.array(summary.classes),
            num_images=np.array(source.num_images),
        )
