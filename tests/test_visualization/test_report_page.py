"""The page: whole in itself, with a text for each picture, and escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest
from pipeline_folder import write_pipeline

from mmwsss.visualization.examples import Example, Painter, Picture
from mmwsss.visualization.pipeline_figures import compare_figures, read_figures
from mmwsss.visualization.report_page import ReportContent, report_page, shown

VOID = {'meta', 'img'}


class Page(HTMLParser):
    """Collects tags and their attributes; checks that they nest."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ''
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def render(tmp_path):
    own = write_pipeline(tmp_path / 'own')
    other = write_pipeline(tmp_path / 'other', alpha=0.0)

    def render(*, compare=False, name='an image'):
        figures = read_figures(own, dict(background=20.0, first_tag=25.0))
        if compare:
            figures['compare'] = compare_figures(own, other, figures)
        picture = Picture('map', 'What it shows.', np.zeros((4, 4, 3), np.uint8))
        content = ReportContent(
            figures=figures,
            painter=Painter(('background', 'cat'), [(0, 0, 0), (1, 2, 3)]),
            test_examples=[Example(name, 'cat', (picture, picture))],
            training_examples=[Example('other', 'cat', (picture,))],
            curve=b'a picture',
            origin='Generated.',
            refiner='pamr',
            work_dir=str(own),
        )
        return report_page(content)

    return render


def test_page_needs_nothing_else(render):
    page = Page(render())
    assert page.open == []
    assert not page.all('script') + page.all('link')
    assert len(page.all('img')) == 4
    for image in page.all('img'):
        assert image['src'].startswith('data:image/')
        assert image['alt']


def test_page_shows_figures(render):
    text = Page(render()).text
    for text_shown in ('0.932', '50.1 %', '25.0 %', '40.0 %', '12.5 %', '7 images'):
        assert text_shown in text
    assert 'Comparison' not in text


def test_page_shows_the_comparison(render):
    text = Page(render(compare=True)).text
    assert 'Comparison' in text
    assert 'classifier: model.alpha: 10.0 here, 0.0 there' in text


def test_names_are_escaped(render):
    assert '<b>' not in render(name='<b>')


def test_figures_have_decimals_of_their_kind():
    assert shown('classifier_map', -0.0019, sign='+') == '-0.002'
    assert shown('seed_miou', 50.126) == '50.13'
