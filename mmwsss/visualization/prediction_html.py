"""What a network finds in an image, as parts of a page: HTML and CSS, no script."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from mmwsss.visualization.examples import UNDECIDED, Painter
from mmwsss.visualization.overlays import IGNORED_LABEL, data_uri
from mmwsss.visualization.predictions import Prediction, draw_prediction

PICTURE_SIDE = 512
SCORES_SHOWN = 8
"""Classes that are listed before the reader asks for all."""

STYLE = """
.found { color: var(--body-text-color, CanvasText); font-size: 1rem; }
.found h2 { margin: 1.25rem 0 .5rem; font-size: 1.15rem; font-weight: 600; }
.found p { margin: .25rem 0; }
.found .pictures { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(11rem, 100%), 1fr)); }
.found figure { margin: 0; }
.found .marked { position: relative; }
.found img { display: block; width: 100%; height: auto; margin: 0; }
.found .marked span { position: absolute; transform: translate(-50%, -50%);
  padding: 0 .35em; border-radius: .6em; background: #000c; color: #fff;
  font-size: .75rem; font-weight: 600; }
.found figcaption { margin-top: .25rem; overflow-wrap: anywhere; }
.found table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.found caption { text-align: left; padding-bottom: .3rem; }
.found tr { border: 0; border-bottom: 1px solid var(--border-color-primary, #888); }
.found th { border: 0; padding: .25rem .9rem .25rem 0; text-align: left;
  font-weight: normal; }
.found tbody th { overflow-wrap: anywhere; }
.found td { border: 0; padding: .25rem .9rem .25rem 0; text-align: right; }
.found .figure { text-align: right; }
.found summary { cursor: pointer; padding: .4rem 0; }
.found i { display: inline-block; width: 1em; height: 1em; margin-right: .4em;
  border: 1px solid currentColor; vertical-align: -.15em; }
.found i.background { background: #555; }
.found i.undecided { background: repeating-linear-gradient(135deg, #ebebeb 0 3px,
  #5a5a5a 3px 6px); }
.found i.heat { width: 6em; background: linear-gradient(90deg, #000004, #420a68,
  #932667, #dd513a, #fca50a, #fcffa4); }
"""

PICTURES = """<div class="found">
<h2>Pictures</h2>
<div class="pictures">
{%- for picture in pictures %}
<figure><div class="marked"><img src="{{ uri(picture.pixels, max_side=side) }}"
 alt="{{ picture.description }}">
{%- for label, left, top in marks.get(picture.title, ()) %}
<span aria-hidden="true" style="left: {{ left }}%; top: {{ top }}%">{{ label }}</span>
{%- endfor %}</div>
<figcaption>{{ picture.title }}</figcaption></figure>
{%- endfor %}
</div>
{%- if heat %}
<p><i class="heat"></i>maps and affinity: from 0 (dark) to 1 (light)</p>
{%- endif %}
<h2>Labels</h2>
<p>{{ rule }}</p>
<table><caption>Share of the pixels in percent, by colour and number.</caption>
<thead><tr><th scope="col">label</th>
{%- for title in shares %}
<th scope="col" class="figure">{{ title }}</th>
{%- endfor %}</tr></thead>
<tbody>
{%- for label, name, swatch in legend %}
<tr><th scope="row">{{ swatch|safe }}{{ label }} {{ name }}</th>
{%- for counts in shares.values() %}
<td>{{ '%.1f'|format(100 * counts.get(label, 0)) }}</td>
{%- endfor %}</tr>
{%- endfor %}
</tbody></table>
</div>"""

SCORES = """{% macro table(rows) -%}
<table><thead><tr><th scope="col">class</th>
<th scope="col" class="figure">probability</th>
<th scope="col" class="figure">localized</th></tr></thead><tbody>
{%- for name, score in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ '%.3f'|format(score) }}</td>
<td>{{ 'yes' if name in tags else 'no' }}</td></tr>
{%- endfor %}
</tbody></table>
{%- endmacro -%}
<div class="found"><h2>Probabilities</h2>
{%- if not rows %}
<p>A segmentor gives none.</p>
{%- else %}
{{ table(rows[:shown]) }}
{%- if rows|length > shown %}
<details><summary>The other {{ rows|length - shown }} classes</summary>
{{ table(rows[shown:]) }}</details>
{%- endif %}{% endif %}
</div>"""


def pictures_html(painter: Painter, prediction: Prediction, *, rule: str) -> str:
    """Return pictures of a prediction and what their colours stand for.

    Args:
        painter: Of the data set's classes.
        prediction: Of the image.
        rule: A sentence on how the label was made.
    """
    drawn = draw_prediction(painter, prediction).pictures
    maps = {'prediction': prediction.label}
    if prediction.seeds is not None:
        maps = {'seeds': prediction.seeds, 'pseudo label': prediction.label}
    shares = {title: label_shares(labels) for title, labels in maps.items()}
    return _render(
        PICTURES,
        pictures=drawn[1:],
        heat=prediction.localization is not None,
        rule=rule,
        shares=shares,
        marks={title: label_marks(labels) for title, labels in maps.items()},
        legend=_legend(
            painter, {label for counts in shares.values() for label in counts}
        ),
        uri=data_uri,
        side=PICTURE_SIDE,
    )


def scores_html(prediction: Prediction) -> str:
    """Return the table of a prediction's probabilities, the highest first."""
    rows = sorted(prediction.scores.items(), key=lambda row: -row[1])
    return _render(SCORES, rows=rows, tags=prediction.tags, shown=SCORES_SHOWN)


def label_shares(labels: NDArray[np.uint8]) -> Mapping[int, float]:
    """Return the share in [0, 1] of each label that is there."""
    found, counts = np.unique(labels, return_counts=True)
    return dict(zip(found.tolist(), (counts / labels.size).tolist()))


def label_marks(labels: NDArray[np.uint8]) -> list[tuple[int, float, float]]:
    """Return label, left and top in percent of each label's pixel farthest from others.

    Background and undecided pixels have none: darkness and stripes tell them apart.
    """
    marks = []
    for label in sorted(set(np.unique(labels).tolist()) - {0, IGNORED_LABEL}):
        # what lies beyond the image counts as another label
        own = np.pad((labels == label).astype(np.uint8), 1)
        depth = cv2.distanceTransform(own, cv2.DIST_L2, 3)[1:-1, 1:-1]
        place = np.array(np.unravel_index(depth.argmax(), depth.shape))
        top, left = 100 * (place + 0.5) / labels.shape
        marks.append((label, round(float(left), 1), round(float(top), 1)))
    return marks


def _legend(painter: Painter, labels: set[int]) -> list[tuple[int, str, str]]:
    """Return label, name and swatch, the background first, undecided pixels last."""
    rows = []
    for label in sorted(labels | {0}):
        if label == IGNORED_LABEL:
            rows.append((label, UNDECIDED, '<i class="undecided"></i>'))
        elif label == 0:
            name = f'{painter.classes[0]} (darkened image)'
            rows.append((label, name, '<i class="background"></i>'))
        else:
            colour = 'rgb({}, {}, {})'.format(*painter.palette[label])
            swatch = f'<i style="background: {colour}"></i>'
            rows.append((label, painter.classes[label], swatch))
    return rows


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string(template).render(**values)
