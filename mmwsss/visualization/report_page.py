"""The report of a pipeline as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from mmwsss import __version__
from mmwsss.visualization.examples import Example, Painter
from mmwsss.visualization.overlays import data_uri, encode_uri
from mmwsss.visualization.page_template import PAGE, STYLE
from mmwsss.visualization.pipeline_figures import Figures

PROTOCOLS = {
    'best': 'the highest mIoU: reads the masks, so it is an oracle (as in the papers)',
    'fixed': 'named before the run',
    'gt_free': "Otsu's threshold on the maps: reads no mask",
}
STAGE_MEANINGS = {
    'data': 'images, tags, and masks for judging',
    'classifier': 'trains the classifier on tags',
    'seeds': 'measures maps on held-out images, stores maps of training images',
    'labels': 'refines maps to pseudo labels',
    'segmentor': 'trains the segmentor on pseudo labels',
    'test': 'measures the segmentor on held-out images',
}
COMPARED_LABELS = {
    'classifier_map': 'tags recognized, mAP (0 to 1)',
    'seed_miou': 'seeds, mIoU in %',
    'segmentor_miou': 'segmentor, mIoU in %',
    'undecided_share': 'undecided pixels, %',
}
FINE_FIGURES = frozenset({'classifier_map'})
"""Figures in [0, 1]; the others are in percent."""


def shown(name: str, value: float, *, sign: str = '') -> str:
    """Return a figure as text; ``sign='+'`` is for differences."""
    return f'{value:{sign}.{3 if name in FINE_FIGURES else 2}f}'


@dataclass(frozen=True)
class ReportContent:
    """What a report shows.

    Args:
        figures: Of ``read_figures``, with ``compare`` where there is one.
        painter: Names and colours of the classes.
        test_examples: Rows of held-out images.
        training_examples: Rows of training images.
        curve: The threshold curve, a PNG file's bytes.
        origin: A sentence on the data and what may be concluded.
        refiner: Name of the refiner.
        work_dir: Folder of the run.
    """

    figures: Figures
    painter: Painter
    test_examples: Sequence[Example]
    training_examples: Sequence[Example]
    curve: bytes
    origin: str
    refiner: str
    work_dir: str


def report_page(content: ReportContent) -> str:
    """Return the report: HTML with its pictures inside, without scripts."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    names, palette = content.painter.classes, content.painter.palette
    foreground = list(zip(names, palette))[1:]
    return environment.from_string(PAGE).render(
        style=STYLE,
        uri=data_uri,
        shown=shown,
        figures=content.figures,
        compare=content.figures.get('compare'),
        compared=COMPARED_LABELS,
        colours={name: 'rgb({}, {}, {})'.format(*rgb) for name, rgb in foreground},
        test_examples=content.test_examples,
        training_examples=content.training_examples,
        curve=encode_uri(content.curve, 'image/png'),
        origin=content.origin,
        refiner=content.refiner,
        protocols=PROTOCOLS,
        stage_meanings=STAGE_MEANINGS,
        version=__version__,
        work_dir=content.work_dir,
    )
