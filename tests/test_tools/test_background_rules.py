"""The tool for pseudo labels with a background score that it chooses itself."""

import json

import pytest
from pseudo_label_run import (
    files_of,
    keep_images,
    one_thread,
    run_tool,
    write_checkpoint,
    write_config,
)

COUNT = 3


@pytest.fixture
def tool(tmp_path, voc_root, monkeypatch, capsys):
    """Run the tool into a folder; return status, output and error."""
    keep_images(voc_root, COUNT)
    config = write_config(tmp_path, voc_root)
    checkpoint = write_checkpoint(tmp_path / 'tiny.pth', config)

    def run(out, *arguments):
        status = 0
        try:
            run_tool(monkeypatch, config, checkpoint, '--out', out, *arguments)
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    with one_thread(monkeypatch):
        yield run


def manifest_of(folder):
    return json.loads((folder / 'labels.json').read_text())


def test_labels_by_a_chosen_score_are_those_of_the_number(tool, tmp_path):
    for rule, more in (('gt_free', []), ('searched', ['--masks', 'SegmentationClass'])):
        out = tmp_path / rule
        chosen = ('--refiner', 'threshold', '--background-threshold', rule, *more)
        status, text, error = tool(out, *chosen)
        assert (status, error) == (0, '')
        manifest = manifest_of(out)
        number = manifest['background_score']['threshold']
        assert manifest['background_score']['rule'] == rule
        assert manifest['refiner']['background_threshold'] == number
        assert f'background score {number:g} ({rule})' in text
        supervision = 'masks (threshold searched)' if more else None
        assert manifest['extra_supervision'] == supervision
        before = files_of(out)
        assert tool(out, *chosen)[0] == 0
        assert files_of(out) == before
        tool(out, '--refiner', 'threshold', '--background-threshold', number)
        del manifest['background_score']
        assert manifest_of(out) == manifest | dict(extra_supervision=None)


def test_rule_of_the_config(tool, tmp_path, voc_root):
    settings = ['refiner.type=pamr', 'refiner.background_threshold=searched']
    masks = ('--masks', voc_root / 'SegmentationClass')
    assert tool(tmp_path / 'out', '--cfg-options', *settings, *masks)[0] == 0
    manifest = manifest_of(tmp_path / 'out')
    assert manifest['refiner']['type'] == 'PAMRRefiner'
    assert manifest['background_score']['rule'] == 'searched'
    assert manifest['background_score']['num_images'] == COUNT


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['otsu'],
            'ConfigError: refiner.background_threshold: expected a number in [0',
        ),
        (['searched'], "ConfigError: refiner.background_threshold='searched' compares"),
        (['0.3', '--masks', 'm'], 'ConfigError: --masks m would not be read'),
        (['searched', '--masks', 'nowhere'], 'nowhere does not exist'),
        (
            ['gt_free', '--cfg-options', 'refiner.type=pamr', 'refiner.iterations=0'],
            'ConfigError: refiner.iterations: expected >= 1, got 0',
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_seed(tool, tmp_path, arguments, message):
    status, _, error = tool(tmp_path / 'out', '--background-threshold', *arguments)
    assert status == 1 and message in error
    assert files_of(tmp_path / 'out') == {}
