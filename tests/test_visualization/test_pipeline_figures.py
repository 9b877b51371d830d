"""Figures of a pipeline's folder against those written there, and hand-worked mIoU."""

import numpy as np
import pytest
from pipeline_folder import write_pipeline

from mmwsss.utils.errors import ArtefactError, DataError
from mmwsss.visualization.pipeline_figures import (
    ConstantAnswers,
    compare_figures,
    read_figures,
)

CONSTANTS = dict(background=20.0, first_tag=25.0)


def test_constant_answers_by_hand():
    answers = ConstantAnswers(3)
    answers.add(np.array([[0, 0], [1, 255]]), 0)
    answers.add(np.array([[2, 0], [0, 0]]), 1)
    found = answers.miou()
    # background: 5 of 7 pixels, the other classes 0
    assert found['background'] == round(100 * (5 / 7) / 3, 2)
    # class 1 hits 1 of 3, class 2 hits 1 of 4, background is never answered
    assert found['first_tag'] == round(100 * (1 / 3 + 1 / 4) / 3, 2)


def test_image_without_tags_is_background():
    answers = ConstantAnswers(2)
    answers.add(np.array([[0, 0, 0, 1]]), None)
    assert answers.miou() == dict(background=37.5, first_tag=37.5)


def test_mask_of_an_unknown_class_is_refused():
    with pytest.raises(DataError, match=r'a mask holds 9, the classes are 0\.\.2'):
        ConstantAnswers(3).add(np.array([[0, 9]]), 0)


def test_figures_are_those_of_the_stages(tmp_path):
    figures = read_figures(write_pipeline(tmp_path), CONSTANTS)
    assert figures['classifier_map'] == 0.9321
    assert figures['seed_miou'] == 50.12
    assert figures['constant_miou'] == 25.0
    assert figures['segmentor_miou'] == 40.0
    assert figures['undecided_share'] == 12.5
    assert figures['thresholds'] == dict(best=0.4, gt_free=0.3)
    assert figures['seed_iou'] == dict(background=70.0, cat=None)
    assert figures['segmentor_iou'] == dict(background=60.0, cat=None)
    assert figures['stages'][0] == dict(name='data', seconds=1.0)
    assert [stage['name'] for stage in figures['stages']][-1] == 'test'
    assert figures['seconds'] == 21.0


def test_unfinished_pipeline_is_refused(tmp_path):
    write_pipeline(tmp_path)
    (tmp_path / 'stages/test.json').unlink()
    with pytest.raises(ArtefactError, match=r'test\.json is missing; finish the chain'):
        read_figures(tmp_path, CONSTANTS)


@pytest.mark.parametrize('content', ['{', '[1]'])
def test_damaged_file_is_refused(tmp_path, content):
    write_pipeline(tmp_path)
    (tmp_path / 'seeds/metrics.json').write_text(content)
    with pytest.raises(ArtefactError, match=r'metrics\.json cannot be read'):
        read_figures(tmp_path, CONSTANTS)


def test_classifier_without_map_is_refused(tmp_path):
    write_pipeline(tmp_path)
    (tmp_path / 'seeds/metrics.json').write_text('{}')
    with pytest.raises(ArtefactError, match='add dict.*AveragePrecision'):
        read_figures(tmp_path, CONSTANTS)


def test_comparison_states_differences_and_settings(tmp_path):
    own = write_pipeline(tmp_path / 'own')
    other = write_pipeline(tmp_path / 'other', miou=42.5, alpha=0.0)
    found = compare_figures(own, other, read_figures(own, CONSTANTS))
    assert found['figures']['segmentor_miou'] == 42.5
    assert found['difference'] == dict(
        classifier_map=0, seed_miou=0, segmentor_miou=-2.5, undecided_share=0
    )
    # data_root differs as well, and is a place
    assert found['settings'] == {'classifier: model.alpha': [10.0, 0.0]}


def test_comparison_of_other_data_is_refused(tmp_path):
    own = write_pipeline(tmp_path / 'own')
    other = write_pipeline(tmp_path / 'other', data='b')
    with pytest.raises(DataError, match='made from other images or tags'):
        compare_figures(own, other, read_figures(own, CONSTANTS))
