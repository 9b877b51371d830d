"""The demo's page without a browser: its parts, and what serving it touches."""

import os
import signal
import socket
import sys
import urllib.request

import numpy as np
import pytest
from embedded_network import SEGMENTOR, random_network

from mmwsss.apis import demo_page
from mmwsss.apis.demo import DemoSession
from mmwsss.apis.demo_events import Answer
from mmwsss.apis.demo_page import DemoPage, import_gradio, quiet_surroundings, serve
from mmwsss.utils.errors import ConfigError, DependencyError
from mmwsss.visualization.prediction_html import pictures_html, scores_html

CONTROLS = ('tags', 'find', 'threshold', 'column', 'row', 'ask')
ADDRESS = 'http://127.0.0.1'


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('networks')
    names = dict(acr='acr/hybrid_embedded', cam='cam/embedded', segmentor=SEGMENTOR)
    return {kind: random_network(folder, name) for kind, name in names.items()}


@pytest.fixture
def page(networks):
    """Make a network's page."""
    pytest.importorskip('gradio', reason='no gradio: pip install mmwsss[demo]')
    with quiet_surroundings():
        yield lambda kind: DemoPage(DemoSession(networks[kind]), title='<tiny>')


def components(made):
    """Return the properties of the page's parts by their id."""
    listed = made.blocks.get_config_file()['components']
    return {part['props'].get('elem_id'): part['props'] for part in listed}


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def test_controls_of_acr(page):
    parts = components(page('acr'))
    assert all(parts[name]['interactive'] for name in CONTROLS)
    assert [value for _, value in parts['tags']['choices']] == [
        *('torch', 'brush', 'camera', 'radio', 'cactus', 'beetle')
    ]
    slider = parts['threshold']
    assert (slider['minimum'], slider['maximum'], slider['value']) == (0, 1, 0.4)
    for name in ('image', 'tags', 'threshold', 'column', 'row'):
        assert parts[name]['label']
    assert parts['image']['alt_text']
    assert len([name for name in parts if str(name).startswith('example_')]) == 4


@pytest.mark.parametrize(
    ('kind', 'greyed', 'reason'),
    [
        ('cam', CONTROLS[3:], 'CAMClassifier has no attention between patches'),
        ('segmentor', CONTROLS, 'EncoderDecoder is a segmentor: it labels without'),
    ],
)
def test_what_a_network_cannot_do_is_greyed_with_the_reason(page, kind, greyed, reason):
    made = page(kind)
    parts = components(made)
    for name in CONTROLS:
        assert parts[name]['interactive'] is (name not in greyed), name
    assert reason in str(made.blocks.get_config_file())


def test_title_is_no_markup(page):
    assert '&lt;tiny&gt;' in str(page('acr').blocks.get_config_file())


def test_answers_become_what_the_page_shows(page):
    made = page('acr')
    answer = made.events.choose_example(0, 0.4)
    found, picture, tags, status, pictures, scores, *place = made._shown(answer)
    assert found is answer.found
    np.testing.assert_array_equal(picture, answer.picture)
    assert tags == list(found.prediction.tags)
    assert status == answer.status
    painter, rule = made.session.inferencer.painter, made.session.label_rule
    assert pictures == pictures_html(painter, found.prediction, rule=rule)
    assert scores == scores_html(found.prediction)
    assert place == [None, None]

    skip = made.gradio.skip()
    assert made._shown(made.events.click(found, 15, 27))[-2:] == [5, 9]
    # what the reader may be changing at the moment is left to them
    for later in (
        made.events.point(found, 5, 9),
        made.events.move(found, 0.1),
        made.events.tick(found, ['brush'], 0.4),
    ):
        shown = made._shown(later)
        assert [shown[1], shown[2], *shown[-2:]] == [skip] * 4
    assert made._shown(made.events.find_tags(found, 0.4))[2] == tags


def test_errors_stand_out_and_are_escaped(page):
    made = page('acr')
    stays = made._shown(Answer('<b>{{x}}', error=True, stays=True))
    wanted = '<span class="error"><strong>Not possible:</strong> &lt;b&gt;'
    wanted += '&#123;&#123;x}}</span>'
    assert stays[3] == wanted
    assert stays.count(made.gradio.skip()) == 7
    goes = made._shown(Answer('gone', error=True))
    empty = '<div class="found"></div>'
    assert [*goes[:3], *goes[4:]] == [None, None, [], empty, empty, None, None]


def test_page_asks_nobody_and_offers_no_other_way_in(page, monkeypatch):
    asked = []
    connect = socket.socket.connect

    def watched(self, address):
        asked.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, 'connect', watched)
    made = page('acr')
    address = made.launch(port=free_port())
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        with urllib.request.urlopen(f'{address}gradio_api/info', timeout=30) as answer:
            assert b'"named_endpoints":{}' in answer.read()
    finally:
        made.blocks.close(verbose=False)
    assert address.startswith(f'{ADDRESS}:')
    assert {host for host, *_ in asked} == {'127.0.0.1'}
    for remote in ('googleapis', 'gstatic', 'cdn', 'analytics.'):
        assert remote not in text


def test_port_that_is_taken(page):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f'port {port} of 127.0.0.1 cannot be'):
            page('acr').launch(port=port)


def test_surroundings_are_given_back(monkeypatch):
    monkeypatch.setenv('GRADIO_TEMP_DIR', '/somewhere')
    monkeypatch.setenv('NO_PROXY', 'own.example')
    monkeypatch.delenv('GRADIO_ANALYTICS_ENABLED', raising=False)
    before = dict(os.environ)
    with quiet_surroundings('10.0.0.1') as folder:
        assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'
        assert os.environ['GRADIO_TEMP_DIR'] == str(folder)
        assert os.environ['NO_PROXY'] == 'own.example,10.0.0.1,localhost'
        assert folder.is_dir()
    assert not folder.exists()
    assert dict(os.environ) == before


@pytest.fixture
def interruptible():
    """Mind SIGINT, which a shell lets its background processes ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_serving_ends_when_it_is_told_to(page, networks, monkeypatch, capsys, name):
    before = signal.getsignal(signal.SIGTERM)

    def interrupted(self):
        signal.raise_signal(signal.Signals[name])

    monkeypatch.setattr(demo_page.threading.Event, 'wait', interrupted)
    launched = []
    monkeypatch.setattr(
        DemoPage, 'launch', lambda self, **at: launched.append(at) or 'http://here/'
    )
    serve(DemoSession(networks['cam']), title='CAM', host='0.0.0.0', port=9)
    assert launched == [dict(host='0.0.0.0', port=9)]
    assert capsys.readouterr().out == 'http://here/ shows CAM; Ctrl+C ends it\nended\n'
    assert signal.getsignal(signal.SIGTERM) is before


def test_absent_gradio_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(DependencyError, match=r"pip install 'mmwsss\[demo\]'") as error:
        import_gradio()
    assert '\n' not in str(error.value)
