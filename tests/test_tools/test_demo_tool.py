"""The demo's command line: what it loads and hands to the page."""

import runpy
import sys

import pytest
from embedded_network import random_network
from tiny_run import ROOT

from mmwsss.apis import demo_page

TOOL = ROOT / 'tools/demo.py'


@pytest.fixture
def checkpoint(tmp_path):
    random_network(tmp_path, 'acr/hybrid_embedded')
    return tmp_path / 'acr_hybrid_embedded_0.pth'


@pytest.fixture
def run(monkeypatch):
    """Run the tool up to the page; return what the page would get."""
    served = []
    monkeypatch.setattr(demo_page, 'import_gradio', lambda: None)
    monkeypatch.setattr(
        demo_page, 'serve', lambda session, **rest: served.append((session, rest))
    )

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')
        return served.pop()

    return run


def test_defaults_are_of_this_machine_and_of_the_config(run, checkpoint):
    session, rest = run('acr/hybrid_embedded', checkpoint)
    title = f'hybrid_embedded, {checkpoint}'
    assert rest == dict(title=title, host='127.0.0.1', port=7860)
    assert session.threshold == 0.4
    assert session.model.tag_threshold == 0.5
    assert type(session.refiner).__name__ == 'PAMRRefiner'


def test_options_reach_the_network_and_the_page(run, checkpoint):
    session, rest = run(
        *(
            ROOT / 'configs/acr/hybrid_embedded.py',
            checkpoint,
            '--refiner',
            'threshold',
        ),
        *('--host', '0.0.0.0', '--port', 8001, '--device', 'cpu'),
        *('--score-threshold', 0.25, '--background-threshold', 0.125),
        *('--cfg-options', 'model.localization.start_block=0'),
    )
    assert (rest['host'], rest['port']) == ('0.0.0.0', 8001)
    assert (session.threshold, session.model.tag_threshold) == (0.125, 0.25)
    assert type(session.refiner).__name__ == 'ThresholdRefiner'
    assert session.inferencer.cfg.model.localization.start_block == 0


def test_errors_are_a_line(run, checkpoint, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run('acr/hybrid_embedded', checkpoint.with_name('none.pth'))
    assert 'no checkpoint at' in str(stop.value) + capsys.readouterr().err
    monkeypatch.setattr(demo_page, 'import_gradio', absent)
    with pytest.raises(SystemExit) as stop:
        run('acr/hybrid_embedded', checkpoint)
    assert 'mmwsss[demo]' in str(stop.value) + capsys.readouterr().err


def absent():
    raise demo_page.DependencyError("run: pip install 'mmwsss[demo]'")
