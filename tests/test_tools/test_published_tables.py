"""Published tables: their means, their printing, and own results beside them."""

import csv
import importlib.util
import json
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from mmwsss.datasets.coco import COCOTagDataset
from mmwsss.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'docs/published'
NAMES = sorted(path.stem for path in FOLDER.glob('*.csv'))


def load_tool():
    path = ROOT / 'tools/analysis/published_tables.py'
    spec = importlib.util.spec_from_file_location('published_tables', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = load_tool()


def printed_means(name):
    """Yield method, exact mean of a row's classes and its printed mean."""
    with open(FOLDER / f'{name}.csv', newline='') as file:
        for row in csv.DictReader(file):
            method, mean = row.pop('method'), row.pop('mIoU')
            values = [Fraction(value) for value in row.values() if value]
            if values:
                yield method, sum(values) / len(values), Fraction(mean)


@pytest.mark.parametrize('name', [name for name in NAMES if '_voc_' in name])
def test_rows_average_to_their_printed_mean(name):
    # one decimal each: half a unit of the mean and at most half of its terms
    found = list(printed_means(name))
    beyond = [method for method, mean, printed in found if abs(mean - printed) > 0.06]
    assert len(found) > 2
    table = tool.read_table(name)
    assert beyond == list(tool.deviations(table))
    # each is told, with its reason, beside the table's source
    assert beyond == list(table.facts.get('deviations', {}))


def test_means_of_coco_are_those_of_80_classes():
    table = tool.read_table('acr_table5_coco_val')
    assert len(table.rows) == 80
    means = {c.name: sum(c.figures.values()) / 80 for c in table.columns}
    rounded = {name: round(mean, 1) for name, mean in means.items()}
    assert rounded == {'MCTformer': 42.2, 'RIB': 43.9, 'ACR': 45.1}
    assert list(tool.deviations(table)) == ['ACR']


def test_each_table_names_its_source():
    sources = json.loads((FOLDER / 'sources.json').read_text())
    assert sorted(sources) == NAMES
    for facts in sources.values():
        assert {'title', 'source', 'figures'} <= set(facts)


def test_rows_without_classes_keep_their_mean():
    table = tool.read_table('rca_tableS1_voc_val')
    (column,) = [c for c in table.columns if c.name == 'GroupWSSS']
    assert column.mean == 68.7 and set(column.figures.values()) == {None}
    assert '| 68.7 |' in tool.markdown(tool.chosen(table, ['GroupWSSS']))


def test_tables_without_classes_are_shown_as_they_are():
    table = tool.read_table('acr_table3_efficiency')
    text = tool.markdown(table)
    assert '| ACR | ViT-hybrid-B | 384 | 5260 | 2.33 |' in text.splitlines()
    views = tool.beside(tool.read_table('acr_table1_views'), [])
    assert '| hflip | 67.3 |' in tool.markdown(views).splitlines()


def segmentor_figures(path, names, value=50.0):
    figures = dict(mIoU=value, IoU_classwise=dict.fromkeys(names, value))
    path.write_text(json.dumps(figures))
    return path


def test_own_results_stand_beside(tmp_path):
    table = tool.chosen(tool.read_table('acr_table4_voc_val'), ['ACR'])
    path = segmentor_figures(tmp_path / 'metrics.json', table.rows)
    ours = tool.read_result(f'mine={path}', 'best')
    lines = tool.markdown(tool.beside(table, [ours])).splitlines()
    assert '| class | ACR (published) | mine (measured) |' in lines
    assert '| aeroplane | 85.2 | 50.0 |' in lines
    assert lines[-1] == '| mIoU | 71.2 | 50.0 |'


def test_coco_names_are_brought_together(tmp_path):
    names = COCOTagDataset.METAINFO['classes']
    path = segmentor_figures(tmp_path / 'metrics.json', names)
    ours = tool.read_result(f'mine={path}', 'best')
    text = tool.markdown(tool.beside(tool.read_table('acr_table5_coco_val'), [ours]))
    assert '| cellphone | 54.1 | 54.1 | 53.2 | 50.0 |' in text.splitlines()


def test_seed_curve_gives_the_protocol_asked_for(tmp_path):
    curve = dict(
        classes=['background', 'cat'],
        protocols=dict(
            best=dict(mIoU=40.0, classes=dict(IoU=[60.0, 20.0])),
            gt_free=dict(mIoU=30.0, classes=dict(IoU=[50.0, None])),
        ),
    )
    path = tmp_path / 'seed_curve.json'
    path.write_text(json.dumps(curve))
    column = tool.read_result(f'mine={path}', 'gt_free')
    assert column.figures == {'background': 50.0, 'cat': None}
    assert (column.mean, column.head) == (30.0, 'mine (measured)')
    with pytest.raises(ConfigError, match='best, gt_free, asked for fixed'):
        tool.read_result(f'mine={path}', 'fixed')


def test_latex_escapes_and_rules():
    column = tool.Column('A & B_1', {'x': 1.0}, 1.0)
    facts = dict(title='t', figures='IoU', source='s')
    text = tool.latex(tool.Table('n', facts, ['x'], [column], True))
    assert r'  class & A \& B\_1 (published) \\' in text.splitlines()
    assert text.count(r'\midrule') == 2 and r'\begin{tabular}{lr}' in text


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match='no table none'):
        tool.read_table('none')
    with pytest.raises(ConfigError, match='come with the repository'):
        tool.read_table('acr_table4_voc_val', tmp_path)
    with pytest.raises(ConfigError, match='expected LABEL=FILE'):
        tool.read_result('metrics.json', 'best')
    with pytest.raises(DataError, match='name a JSON file'):
        tool.read_result(f'mine={tmp_path / "absent.json"}', 'best')
    (tmp_path / 'other.json').write_text('{"mIoU": 1}')
    with pytest.raises(DataError, match='has no IoU_classwise'):
        tool.read_result(f'mine={tmp_path / "other.json"}', 'best')
    table = tool.read_table('acr_table4_voc_val')
    ours = tool.Column('mine', {'background': 1.0, 'fox': 2.0}, 1.5, printed=False)
    with pytest.raises(ConfigError, match='mine does not fit acr_table4_voc_val'):
        tool.beside(table, [ours])
    with pytest.raises(ConfigError, match='not SEAM'):
        tool.chosen(table, ['SEAM'])


def test_ragged_row_is_refused(tmp_path):
    (tmp_path / 'sources.json').write_text('{"t": {}}')
    (tmp_path / 't.csv').write_text('method,background,mIoU\nA,1.0\n')
    with pytest.raises(DataError, match='A has 1 of 2 fields'):
        tool.read_table('t', tmp_path)
