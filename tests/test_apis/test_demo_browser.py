"""The demo in a real browser, by keyboard alone, against the inferencer's own results.

Skipped where gradio, playwright or Chromium is absent. Screenshots, also of a report,
go to pytest's folder and to $MMWSSS_SCREENSHOTS.
"""

import io
import os
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from embedded_network import random_network
from PIL import Image
from pipeline_folder import write_pipeline

from mmwsss.apis.demo import DemoSession, example_image
from mmwsss.apis.demo_page import DemoPage, quiet_surroundings
from mmwsss.apis.inferencer_inputs import gather_images
from mmwsss.visualization.examples import Example
from mmwsss.visualization.overlays import data_uri
from mmwsss.visualization.pipeline_figures import read_figures
from mmwsss.visualization.predictions import draw_prediction
from mmwsss.visualization.report_page import ReportContent, report_page

gradio = pytest.importorskip('gradio', reason="no gradio: pip install 'mmwsss[demo]'")
playwright = pytest.importorskip(
    'playwright.sync_api', reason='no playwright: pip install playwright'
)

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
PATIENCE = 30_000
"""Milliseconds that a loaded machine may take for one answer."""
TABS = 40
"""More than the page has stops."""
WIDE, NARROW = dict(width=1280, height=900), dict(width=400, height=800)

# where the keyboard is: what a screen reader names it by, and its rim
FOCUS = """() => {
  const e = document.activeElement, s = getComputedStyle(e);
  const name = e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText;
  return {tag: e.tagName, name: (name || '').trim(), outline: s.outlineStyle,
    width: parseFloat(s.outlineWidth), type: e.type || ''};
}"""
# texts whose contrast with what lies behind them is below 4.5 (WCAG 2, AA)
FAINT = """() => {
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const parse = s => { const m = s.match(/[\\d.]+/g).map(Number);
    return m.length < 4 ? [...m, 1] : m; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode, e = text.parentElement;
    if (!text.textContent.trim() || !e.getClientRects().length) continue;
    if (e.closest('script, style, :disabled')) continue;
    let back = dark ? [0, 0, 0] : [255, 255, 255];
    const layers = [];
    for (let x = e; x; x = x.parentElement)
      layers.unshift(parse(getComputedStyle(x).backgroundColor));
    for (const layer of layers) back = over(layer, back);
    const own = over(parse(getComputedStyle(e).color), back);
    const [low, high] = [light(own), light(back)].sort((a, b) => a - b);
    const ratio = (high + .05) / (low + .05);
    if (ratio < 4.5) found.push(`${text.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
IMAGE = "document.querySelector('#image img')"
HEADINGS = "[...document.querySelectorAll('h1, h2, h3')].map(e => e.tagName)"
WIDTHS = '[document.documentElement.scrollWidth, window.innerWidth]'


@pytest.fixture(scope='module')
def chromium():
    """Chromium of the system, without a window, or a visible skip."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f'no browser: none of {", ".join(BROWSERS)} is on PATH')
    with playwright.sync_playwright() as manager:
        # a container's user is root, whom the sandbox refuses
        arguments = ['--no-sandbox', '--no-proxy-server']
        browser = manager.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('networks')
    names = dict(acr='acr/hybrid_embedded', cam='cam/embedded')
    return {kind: random_network(folder, name) for kind, name in names.items()}


@pytest.fixture(scope='module')
def addresses(networks):
    """Serve the page of each network; map its kind to the address."""
    with quiet_surroundings():
        pages = {
            kind: DemoPage(DemoSession(look), title=kind)
            for kind, look in networks.items()
        }
        yield {kind: page.launch(port=free_port()) for kind, page in pages.items()}
        for page in pages.values():
            page.blocks.close(verbose=False)


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


@pytest.fixture
def visit(chromium, addresses):
    """Visit a network's page; a request to anyone else is an error."""
    contexts, asked = [], []

    def visit(kind='acr', *, size=WIDE, scheme='light'):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.on('request', lambda request: asked.append(request.url))
        # from the start: asked for later, it may come after the key that opens one
        tab.on('filechooser', lambda chooser: None)
        tab.goto(addresses[kind])
        shows(tab, 'Example 1, 96 x 96 pixels.')
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert not {url for url in asked if re.match('https?://(?!127.0.0.1)', url)}


@pytest.fixture
def keep(tmp_path):
    """Take a screenshot of the whole page under a name."""
    folders = [tmp_path, *filter(None, [os.environ.get('MMWSSS_SCREENSHOTS')])]

    def keep(tab, name):
        content = tab.screenshot(full_page=True)
        assert Image.open(io.BytesIO(content)).width == tab.viewport_size['width']
        for folder in map(Path, folders):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f'{name}.png').write_bytes(content)

    return keep


def shows(tab, *texts):
    """Wait until the status line has these texts, and nothing is under way."""
    tab.wait_for_function(
        """texts => { const line = document.querySelector('#status p');
        return line && texts.every(text => line.innerText.includes(text)); }""",
        arg=list(texts),
        timeout=PATIENCE,
    )
    return tab.locator('#status p').inner_text()


def tab_to(tab, name, kind=''):
    """Press Tab until a control has the focus, seen by its rim."""
    for _ in range(TABS):
        tab.keyboard.press('Tab')
        focus = tab.evaluate(FOCUS)
        if focus['name'].startswith(name) and kind in focus['type']:
            return focus
    raise AssertionError(f'no Tab leads to {name!r}')


def assert_shown(tab, wanted, look):
    """Whether the page shows a prediction of the inferencer's own, to the bit."""
    pictures = draw_prediction(look.painter, wanted).pictures[1:]
    images = tab.locator('#pictures img')
    tab.wait_for_function(
        "count => document.querySelectorAll('#pictures img').length === count",
        arg=len(pictures),
    )
    for index, picture in enumerate(pictures):
        image = images.nth(index)
        assert image.get_attribute('alt') == picture.description
        uri = data_uri(picture.pixels, max_side=512)
        assert image.get_attribute('src') == uri, picture.title
    rows = tab.locator('#scores tbody tr').all_inner_texts()
    scores = sorted(wanted.scores.items(), key=lambda item: -item[1])
    assert [row.split() for row in rows] == [
        [name, f'{score:.3f}', 'yes' if name in wanted.tags else 'no']
        for name, score in scores
    ]
    ticked = tab.locator('#tags input:checked + span').all_inner_texts()
    assert tuple(ticked) == wanted.tags


def prediction(look, image, **settings):
    """Return what the inferencer makes of an image of one call."""
    refiner = settings.pop('refiner', None)
    (found,) = look.predict(gather_images(image, **settings), refiner=refiner)
    return found


def choose(tab, path):
    """Choose a file by keyboard; the system's own dialogue is answered for it."""
    tab_to(tab, 'Choose an image file')
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press('Enter')
    chooser.value.set_files(path)


def write_photograph(path, seed=1):
    """Write an image that is none of the examples."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(noise).resize((128, 96), Image.Resampling.BICUBIC).save(path)
    return path


def test_keyboard_alone_does_all_there_is_to_do(visit, networks, tmp_path, keep):
    look, tab = networks['acr'], visit()
    assert_shown(tab, prediction(look, example_image(0)[0].array), look)

    path = write_photograph(tmp_path / 'own.png')
    choose(tab, path)
    shows(tab, 'own, 128 x 96 pixels.', 'Background threshold 0.40.')
    own = prediction(look, path)
    assert_shown(tab, own, look)

    other = next(name for name in look.painter.classes[1:] if name not in own.tags)
    tab_to(tab, other, 'checkbox')
    tab.keyboard.press('Space')
    shows(tab, 'Tags ticked', other)
    tags = sorted([*own.tags, other], key=look.painter.classes.index)
    assert_shown(tab, prediction(look, path, tags=tags), look)

    calls = []
    handle = look.model.register_forward_hook(lambda *_: calls.append(1))
    tab_to(tab, 'range slider for Background threshold')
    for _ in range(7):
        tab.keyboard.press('ArrowRight')
    shows(tab, 'Background threshold 0.47.')
    assert not calls
    handle.remove()
    raised = dict(type='pamr', background_threshold=0.47)
    seen = dict(tags=tags, refiner=raised)
    before, look.model.background_threshold = look.model.background_threshold, 0.47
    try:
        assert_shown(tab, prediction(look, path, **seen), look)
        tab_to(tab, 'Column')
        tab.keyboard.type('100')
        tab_to(tab, 'Row')
        tab.keyboard.type('7')
        tab.keyboard.press('Enter')
        shows(tab, 'Affinity of column 100, row 7.')
        assert_shown(tab, prediction(look, path, point=(100, 7), **seen), look)
    finally:
        look.model.background_threshold = before
    assert tab.evaluate(FAINT) == []
    keep(tab, 'demo_wide')


def test_every_stop_has_a_name_and_a_rim(visit):
    tab, stops = visit(), []
    for _ in range(TABS):
        tab.keyboard.press('Tab')
        focus = tab.evaluate(FOCUS)
        if focus['tag'] == 'BODY':
            break
        stops.append(focus)
    assert len(stops) < TABS
    for stop in stops:
        assert stop['name'], stop
        assert stop['outline'] == 'solid' and stop['width'] >= 2, stop
    names = [stop['name'] for stop in stops]
    wanted = ['Choose an image file', *(f'Example {i}' for i in (1, 2, 3, 4))]
    wanted += ['torch', 'brush', 'camera', 'radio', 'cactus', 'beetle']
    wanted += ['Let the network find the tags', 'range slider for Background threshold']
    wanted += ['Column', 'Row', 'Show the affinity']
    assert [name for name in names if name in wanted] == wanted
    assert tab.get_by_role('status').count() >= 1
    assert tab.get_by_role('group', name='Tags').count() == 1
    assert tab.locator('img:not([alt])').count() == 0
    levels = [int(tag[1]) for tag in tab.evaluate(HEADINGS)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:]))


def test_click_asks_for_the_point_below_it(visit, networks):
    tab, look = visit(), networks['acr']
    tab.wait_for_function(f'{IMAGE}?.naturalWidth === 288')
    box = tab.locator('#image img').bounding_box()
    # three pixels of the window are one of the image, which is shown amid its box
    left, top = ((box[side] - 288) / 2 for side in ('width', 'height'))
    place = dict(x=left + 3 * 20.5, y=top + 3 * 70.5)
    tab.locator('#image img').click(position=place)
    shows(tab, 'Affinity of column 20, row 70.')
    image = example_image(0)[0].array
    assert_shown(tab, prediction(look, image, point=(20, 70)), look)
    assert tab.locator('#column input').input_value() == '20'


def test_errors_are_told_and_the_page_goes_on(visit, tmp_path, keep):
    tab = visit()
    for name in tab.locator('#tags input:checked + span').all_inner_texts():
        tab.get_by_role('checkbox', name=name).press('Space')
    shows(tab, 'Not possible: no tag is ticked: tick one')
    assert tab.locator('#pictures img').count()
    torn = tmp_path / 'torn.jpg'
    torn.write_bytes(b'\xff\xd8\xff\xe0')
    choose(tab, torn)
    shows(tab, 'Not possible: torn.jpg cannot be read')
    assert tab.locator('#pictures img').count() == 0
    keep(tab, 'demo_error')
    tab.get_by_role('button', name='Example 2').press('Enter')
    shows(tab, 'Example 2, 96 x 96 pixels.')
    tab.get_by_role('button', name='Remove Image').press('Enter')
    shows(tab, 'Choose an image first')
    # the empty drop zone takes a file
    tab.locator('#image input[type=file]').set_input_files(
        write_photograph(tmp_path / 'dropped.png')
    )
    shows(tab, 'dropped, 128 x 96 pixels.')


@pytest.mark.parametrize(
    ('kind', 'size', 'scheme'),
    [('acr', NARROW, 'light'), ('cam', WIDE, 'dark')],
)
def test_all_is_readable_in_any_window(visit, keep, kind, size, scheme):
    tab = visit(kind, size=size, scheme=scheme)
    assert tab.evaluate(FAINT) == []
    width, window = tab.evaluate(WIDTHS)
    assert width <= window
    if kind == 'cam':
        assert tab.get_by_role('button', name='Show the affinity').is_disabled()
        assert tab.get_by_text('has no attention between patches').is_visible()
    keep(tab, f'demo_{kind}_{size["width"]}_{scheme}')


def test_report_is_readable_in_any_window(chromium, networks, tmp_path, keep):
    look = networks['acr']
    rows = [example(look, index) for index in range(3)]
    folder = write_pipeline(tmp_path / 'run', classes=list(look.painter.classes))
    curve = io.BytesIO()
    Image.fromarray(np.full((300, 500, 3), 240, np.uint8)).save(curve, 'PNG')
    content = ReportContent(
        figures=read_figures(folder, dict(background=20.0, first_tag=25.0)),
        painter=look.painter,
        test_examples=rows,
        training_examples=rows[:1],
        curve=curve.getvalue(),
        origin='Generated images, random weights.',
        refiner='pamr',
        work_dir=str(folder),
    )
    path = tmp_path / 'report.html'
    path.write_text(report_page(content))
    for size, scheme in ((WIDE, 'light'), (NARROW, 'dark')):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        tab = context.new_page()
        tab.goto(path.as_uri())
        assert tab.evaluate(FAINT) == []
        width, window = tab.evaluate(WIDTHS)
        assert width <= window
        keep(tab, f'report_{size["width"]}_{scheme}')
        context.close()


def example(look, index):
    """Return a row of pictures of a generated image, two tags each."""
    image, _ = example_image(index)
    found = prediction(look, image.array, tags=['torch', 'radio'])
    row = draw_prediction(look.painter, found)
    return Example(image.name, row.tags, row.pictures)
