"""The report on a data set as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from mmwsss import __version__
from mmwsss.visualization.page_template import STYLE

LARGEST_TABLE = 30
"""Classes up to which the co-occurrence table is shown."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mmwsss: data set of {{ report.config }}</title>
<style>{{ style|safe }}
.error { color: #b3261e; } .warning { color: #9a6700; }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80; }
  .warning { color: #e3b341; } }
</style>
</head>
<body><main>
<h1>Data set of <code>{{ report.config }}</code></h1>
<ul class="cards">
<li>Errors<strong>{{ report.errors }}</strong>
<span>stop a run or make its figures wrong</span></li>
<li>Warnings<strong>{{ report.warnings }}</strong>
<span>make what is learned worse</span></li>
{%- for split in report.splits %}
<li>{{ split.name }}<strong>{{ split.images }}</strong>
<span>images, {{ split.tagged }} with tags,
{{ 'with' if split.with_masks else 'without' }} masks</span></li>
{%- endfor %}
</ul>

<h2>Problems</h2>
{%- for problem in report.problems %}
<section>
<h3 class="{{ problem.severity }}">{{ problem.severity }}: {{ problem.title }}
({{ problem.count }})</h3>
<p>In {{ problem.where }}. Effect: {{ problem.effect }}.</p>
<ul>
{%- for example in problem.examples %}
<li><code>{{ example }}</code></li>
{%- endfor %}
{%- if problem.count > problem.examples|length %}
<li class="muted">and {{ problem.count - problem.examples|length }} more</li>
{%- endif %}
</ul>
</section>
{%- else %}
<p>None.</p>
{%- endfor %}

<h2>Images of each class</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">class</th>
{%- for split in tagged %}<th scope="col">{{ split.name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for name in names %}
<tr><th scope="row">{{ name }}</th>
{%- for split in tagged %}<td>{{ split.classes.get(name, '–') }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>

<h2>Classes on the same image</h2>
{%- if report.cooccurrence and names|length <= largest %}
<div class="scroll"><table>
<caption>Images of the first tagged split that have both tags.</caption>
<thead><tr><th></th>
{%- for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in report.cooccurrence %}
<tr><th scope="row">{{ names[loop.index0] }}</th>
{%- for count in row %}<td>{{ count }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- else %}
<p>See <code>cooccurrence</code> in the JSON file.</p>
{%- endif %}

<h2>Sizes</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">longer side, pixels</th><th scope="col">images</th></tr>
</thead>
<tbody>
{%- for name, count in report.sizes.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ count }}</td></tr>
{%- endfor %}
</tbody></table></div>
<p class="muted">Made by <code>tools/check_dataset.py</code> of mmwsss
{{ version }}.</p>
</main></body>
</html>
"""


def dataset_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report of ``mmwsss.apis.dataset_check``: HTML, no script."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    tagged = [split for split in report['splits'] if split['tagged']]
    return environment.from_string(PAGE).render(
        style=STYLE,
        report=report,
        tagged=tagged,
        names=list(tagged[0]['classes']) if tagged else [],
        largest=LARGEST_TABLE,
        version=__version__,
    )
