"""Template of the report: HTML and CSS, no script, nothing fetched."""

STYLE = """
:root { color-scheme: light dark; --line: #c9ced6; --soft: #f2f4f7; --text: #1b1f24;
  --page: #ffffff; --muted: #4d5661; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --line: #444c56; --soft: #22272e;
  --text: #e6e9ee; --page: #15191e; --muted: #a9b3bf; --accent: #7db7ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; } h2 { margin: 2.5rem 0 .5rem; }
p, li { max-width: 44rem; } .muted, figcaption { color: var(--muted); }
a { color: var(--accent); }
.cards { display: grid; gap: .75rem; padding: 0; margin: 1rem 0; list-style: none;
  grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
.cards li { background: var(--soft); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem 1rem; }
.cards strong { display: block; font-size: 1.7rem; line-height: 1.3; }
.cards span { color: var(--muted); font-size: .9rem; }
figure { margin: 1rem 0 1.5rem; } figcaption { margin-top: .3rem; }
.row { display: grid; gap: .4rem;
  grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
.row div { font-size: .85rem; text-align: center; }
.row img { display: block; width: 100%; border: 1px solid var(--line); }
.curve { max-width: 100%; height: auto; background: #fff; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0;
  list-style: none; font-size: .9rem; }
.legend i { display: inline-block; width: .9em; height: .9em; margin-right: .35em;
  border: 1px solid var(--line); vertical-align: -.1em; }
.legend .heat { width: 6em; background: linear-gradient(90deg, #000004, #420a68,
  #932667, #dd513a, #fca50a, #fcffa4); }
.legend .undecided { background: repeating-linear-gradient(135deg, #ebebeb 0 3px,
  #5a5a5a 3px 6px); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0;
  text-align: right; } th:first-child, .text { text-align: left; }
code { background: var(--soft); padding: 0 .25em; overflow-wrap: anywhere; }
th code { overflow-wrap: normal; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mmwsss: from tags to a segmentor</title>
<style>{{ style|safe }}</style>
</head>
<body>
{%- macro number(value) -%}
{{ '–' if value is none else '%.1f'|format(value) }}
{%- endmacro %}
{%- macro row(example) %}
<figure>
<div class="row">
{%- for picture in example.pictures %}
<div><img src="{{ uri(picture.pixels) }}" alt="{{ picture.description }}">
{{ picture.title }}</div>
{%- endfor %}
</div>
<figcaption>{{ example.name }}, tags: {{ example.tags }}</figcaption>
</figure>
{%- endmacro %}
{%- macro legend(undecided) %}
<ul class="legend">
<li><i class="heat"></i>map: from 0 (dark) to 1 (light)</li>
{%- for name, colour in colours.items() %}
<li><i style="background: {{ colour }}"></i>{{ name }}</li>
{%- endfor %}
<li><i style="background: #555"></i>darkened: background</li>
<li><i class="undecided"></i>{{ undecided }}</li>
</ul>
{%- endmacro %}
<main>
<h1>From image tags to a segmentor</h1>
<p>A classifier learned from tags alone which classes an image holds. Its localization
maps became seeds, these became pseudo labels, and a segmentor learned from those. No
mask was read for training; masks only judge the results below.</p>
<p class="muted">{{ origin }}</p>

<h2>Result</h2>
<ul class="cards">
<li>Tags recognized (mAP)<strong>{{ '%.3f'|format(figures.classifier_map) }}</strong>
<span>Mean over classes of the average precision with which the classifier finds the
tags of held-out images; 1 is perfect.</span></li>
<li>Seeds (mIoU)<strong>{{ number(figures.seed_miou) }} %</strong>
<span>Overlap of maps and masks on held-out images whose tags are given, mean over
classes, at the background threshold that suits these masks best (an oracle).</span>
</li>
<li>Constant answer (mIoU)<strong>{{ number(figures.constant_miou) }} %</strong>
<span>What an answer reaches that looks at no pixel: all background, or the whole image
is its first tag; the better of both. Anything useful lies well above.</span></li>
<li>Segmentor (mIoU)<strong>{{ number(figures.segmentor_miou) }} %</strong>
<span>Overlap of the segmentor's answer and the masks on the same held-out images. It is
given no tags.</span></li>
</ul>
<p>Measured on {{ figures.num_test_images }} images
({{ figures.test_split or 'split not named' }}).</p>
{%- if compare %}

<h2>Comparison</h2>
<p>The same chain on the same data, with other settings, in
<code>{{ compare.work_dir }}</code>:</p>
<ul>
{%- for name, values in compare.settings.items() %}
<li><code>{{ name }}</code>: {{ values[0] }} here, {{ values[1] }} there</li>
{%- else %}
<li>no setting differs</li>
{%- endfor %}
</ul>
<div class="scroll"><table>
<caption>One run each: differences of a few points may be chance.</caption>
<thead><tr><th scope="col">figure</th><th scope="col">here</th>
<th scope="col">there</th><th scope="col">difference</th></tr></thead>
<tbody>
{%- for name, label in compared.items() %}
<tr><th scope="row">{{ label }}</th><td>{{ shown(name, figures[name]) }}</td>
<td>{{ shown(name, compare.figures[name]) }}</td>
<td>{{ shown(name, compare.difference[name], sign='+') }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}

<h2>Held-out images</h2>
<p>Taken at even distances from the list of test images, not chosen by quality. A map
per tag shows what the classifier looks at. The seeds are the maps cut at the
best threshold ({{ figures.thresholds.best }}), the prediction is the segmentor's own,
the mask is the ground truth.</p>
{{ legend('striped: not judged') }}
{%- for example in test_examples %}{{ row(example) }}{% endfor %}

<h2>Training images</h2>
<p>What the segmentor learned from: maps of each tag, refined to a pseudo label by
<code>{{ refiner }}</code>. A pixel that it leaves undecided teaches nothing; here
{{ number(figures.undecided_share) }} % of all pixels are.</p>
{{ legend('striped: undecided') }}
{%- for example in training_examples %}{{ row(example) }}{% endfor %}

<h2>Background threshold</h2>
<figure>
<img class="curve" src="{{ curve }}" alt="Curves over the background threshold: the
seeds' mIoU is highest, {{ number(figures.seed_miou) }} percent, at
{{ figures.thresholds.best }}.">
<figcaption>Quality of the seeds at every background threshold: a pixel whose highest
map is not above it is background. Low thresholds give false positives, high ones false
negatives.</figcaption>
</figure>
<div class="scroll"><table>
<caption>Three ways to choose the threshold.</caption>
<thead><tr><th scope="col">protocol</th><th scope="col">threshold</th>
<th scope="col">mIoU, %</th><th scope="col" class="text">meaning</th></tr></thead>
<tbody>
{%- for name, meaning in protocols.items() %}
<tr><th scope="row"><code>{{ name }}</code></th>
{%- if name in figures.thresholds %}
<td>{{ figures.thresholds[name] }}</td>
<td>{{ number(figures.seed_miou_by_protocol[name]) }}</td>
{%- else %}<td>–</td><td>–</td>{% endif %}
<td class="text">{{ meaning }}</td></tr>
{%- endfor %}
</tbody></table></div>

<h2>Classes</h2>
<div class="scroll"><table>
<caption>IoU in percent on held-out images: pixels that are both answered and true,
divided by pixels that are either.</caption>
<thead><tr><th scope="col">class</th><th scope="col">seeds</th>
<th scope="col">segmentor</th></tr></thead>
<tbody>
{%- for name in figures.classes %}
<tr><th scope="row">{{ name }}</th><td>{{ number(figures.seed_iou[name]) }}</td>
<td>{{ number(figures.segmentor_iou[name]) }}</td></tr>
{%- endfor %}
<tr><th scope="row">mean</th><td>{{ number(figures.seed_miou) }}</td>
<td>{{ number(figures.segmentor_miou) }}</td></tr>
</tbody></table></div>
{%- if none in figures.segmentor_iou.values() %}
<p>A class that occurs nowhere counts 0 in the mean of the seeds and is left out of the
segmentor's, as is usual for each; the two means are then not comparable.</p>
{%- endif %}

<h2>Stages</h2>
<div class="scroll"><table>
<caption>Time of each stage on this machine.</caption>
<thead><tr><th scope="col">stage</th><th scope="col">seconds</th>
<th scope="col" class="text">what it does</th></tr></thead>
<tbody>
{%- for stage in figures.stages %}
<tr><th scope="row">{{ stage.name }}</th><td>{{ number(stage.seconds) }}</td>
<td class="text">{{ stage_meanings[stage.name] }}</td></tr>
{%- endfor %}
<tr><th scope="row">all</th><td>{{ number(figures.seconds) }}</td><td></td></tr>
</tbody></table></div>
<p class="muted">Made by <code>tools/analysis/pipeline_report.py</code> of mmwsss
{{ version }} from <code>{{ work_dir }}</code>. The same figures, for programs:
<code>report.json</code>.</p>
</main>
</body>
</html>
"""
