"""Show what a finished pipeline has given: report.html and report.json.

python tools/analysis/pipeline_report.py work_dirs/quickstart
With --compare DIR the figures are set against those of another pipeline on the same
data; with --picture FILE some rows of held-out images are drawn as one PNG.
"""

import io
import json
import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope, init_default_scope
from mmseg.registry import DATASETS as SEG_DATASETS
from mmseg.registry import MODELS as SEG_MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import nn

from mmwsss.apis.launch import check_fits, run_tool
from mmwsss.apis.seeds import load_classifier, load_tagged_images
from mmwsss.datasets.transforms import LoadImage
from mmwsss.registry import DATASETS
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_bytes, atomic_write_text
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.errors import ArtefactError
from mmwsss.utils.label_codec import LabelCodec
from mmwsss.visualization.examples import Example, Painter, examples_figure
from mmwsss.visualization.overlays import Pixels
from mmwsss.visualization.pipeline_figures import (
    ConstantAnswers,
    Figures,
    compare_figures,
    read_figures,
    read_json,
)
from mmwsss.visualization.report_page import (
    COMPARED_LABELS,
    ReportContent,
    report_page,
    shown,
)

DEFAULT_EXAMPLES = 6
PICTURE_ROWS = 4
PALETTE_COLOURS = 256
PALETTE_ROUNDS = 8
SUMMARY_LABELS = {'constant_miou': 'constant answer, mIoU in %'}


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='folder of the pipeline')
    parser.add_argument('--compare', type=Path, help='folder of another pipeline')
    parser.add_argument(
        '--examples', type=int, default=DEFAULT_EXAMPLES, help='rows of each kind'
    )
    parser.add_argument('--picture', type=Path, help='PNG file of held-out examples')
    args = parser.parse_args()
    if args.examples < 1:
        parser.error(f'--examples: expected at least 1, got {args.examples}')
    return args


class PipelineReport:
    """Gathers the content of the report from a work directory.

    Args:
        work_dir: Folder of a finished pipeline.
        num_examples: Rows of held-out and of training images.

    Raises:
        ArtefactError: if the pipeline has not come that far.
    """

    def __init__(self, work_dir: Path, num_examples: int) -> None:
        self.work_dir, self.num_examples = work_dir, num_examples
        self.configs = {}
        for name in ('classifier', 'segmentor'):
            path = work_dir / 'configs' / f'{name}.py'
            if not path.is_file():
                raise ArtefactError(
                    f'{path} is missing: {work_dir} is not a folder of '
                    'tools/run_pipeline.py; run that first'
                )
            self.configs[name] = Config.fromfile(path)
        init_default_scope('mmwsss')
        self.dataset = DATASETS.build(
            self.configs['classifier'].test_dataloader.dataset
        )
        metainfo = self.dataset.metainfo
        self.painter = Painter(metainfo['classes'], metainfo['palette'])

    def figures(self) -> Figures:
        """Return the figures of ``report.json``."""
        read_json(self.work_dir / 'stages' / 'test.json')  # before the masks are read
        constants = ConstantAnswers(len(self.painter.classes))
        for index in range(len(self.dataset)):
            sample = self.dataset[index]['data_samples']
            tags = sample.get('gt_label', [])
            mask = sample.gt_sem_seg.data[0].numpy()
            constants.add(mask, int(tags[0]) if len(tags) else None)
        return read_figures(self.work_dir, constants.miou())

    def test_examples(self, threshold: float) -> list[Example]:
        """Run both models on some held-out images."""
        chosen = evenly(len(self.dataset), self.num_examples)
        located = self._localize(chosen)
        with DefaultScope.overwrite_default_scope('mmseg'):
            answers = self._segment([sample.img_path for sample, _ in located])
        rows = []
        for sample, record in located:
            image = read_rgb(sample.img_path)
            mask = sample.gt_sem_seg.data[0].cpu().numpy().astype(np.uint8)
            paint = self.painter
            pictures = [
                paint.image(image, record.classes),
                *paint.maps(image, record),
                paint.seeds(image, record, threshold),
            ]
            if sample.img_path in answers:
                answer = answers[sample.img_path]
                pictures.append(paint.labels('prediction', image, answer))
            pictures.append(paint.labels('mask', image, mask))
            tags = paint.names(record.classes)
            rows.append(Example(Path(sample.img_path).stem, tags, tuple(pictures)))
        return rows

    def _localize(self, chosen: list[int]) -> list[tuple[SegDataSample, SeedRecord]]:
        """Return samples and seed records of test images."""
        config = self.configs['classifier']
        checkpoint = find_checkpoint(self.work_dir / 'classifier')
        model = load_classifier(config, str(checkpoint))
        samples = [predict(model, self.dataset, index) for index in chosen]
        return [(sample, SeedRecord.from_sample(sample)) for sample in samples]

    def _segment(self, paths: list[str]) -> dict[str, Pixels]:
        """Return the segmentor's answers by the path of the image."""
        config = self.configs['segmentor']
        dataset = SEG_DATASETS.build(config.test_dataloader.dataset)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        places = {
            os.path.realpath(info['img_path']): index
            for index, info in enumerate(infos)
        }
        model = SEG_MODELS.build(config.model)
        checkpoint = find_checkpoint(self.work_dir / 'segmentor')
        model.load_state_dict(check_fits(str(checkpoint), model, whole=True))
        model.to(get_device()).eval()
        answers = {}
        for path in paths:
            index = places.get(os.path.realpath(path))
            if index is not None:
                labels = predict(model, dataset, index).pred_sem_seg.data[0]
                answers[path] = labels.cpu().numpy().astype(np.uint8)
        return answers

    def training_examples(self) -> list[Example]:
        """Show stored seeds and labels of some training images."""
        images = load_tagged_images(self.configs['classifier'])
        folder = self.work_dir / 'labels'
        seeds = ArtefactStore.open(folder / 'seeds', SeedCodec())
        labels = ArtefactStore.open(folder / 'labels', LabelCodec(images.palette))
        rows = []
        for index in evenly(len(images.ids), self.num_examples):
            name, record = images.ids[index], seeds.read(images.ids[index])
            image = read_rgb(images.paths[index])
            pictures = (
                self.painter.image(image, record.classes),
                *self.painter.maps(image, record),
                self.painter.labels('pseudo label', image, labels.read(name)),
            )
            rows.append(Example(name, self.painter.names(record.classes), pictures))
        return rows

    def origin(self) -> str:
        """Say what the figures may be taken for."""
        stamp = self.work_dir / 'data' / 'synthetic.json'
        if not stamp.is_file():
            root = self.configs['classifier'].test_dataloader.dataset.data_root
            return f'Data set: {root}.'
        settings = read_json(stamp)['settings']
        return (
            'The images are generated (embedded data set, seed '
            f'{settings["seed"]}, {settings["train"]} for training, {settings["test"]} '
            f'held out, {settings["size"]} pixels wide), and all networks are small '
            'and trained from scratch. The figures show that the chain works; they say '
            'nothing of its quality on photographs such as PASCAL VOC.'
        )

    def content(self, figures: Figures) -> ReportContent:
        """Return all that the report shows."""
        manifest = read_json(self.work_dir / 'labels' / 'labels.json')
        return ReportContent(
            figures=figures,
            painter=self.painter,
            test_examples=self.test_examples(figures['thresholds']['best']),
            training_examples=self.training_examples(),
            curve=(self.work_dir / 'seeds' / 'seed_curve.png').read_bytes(),
            origin=self.origin(),
            refiner=manifest['refiner']['type'],
            work_dir=str(self.work_dir),
        )


def evenly(count: int, wanted: int) -> list[int]:
    """Return indices at even distances, at most as many as there are."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int).tolist()


def read_rgb(path: str) -> Pixels:
    """Return an image file as (H, W, 3) RGB."""
    return np.ascontiguousarray(LoadImage()(dict(img_path=path))['img'][..., ::-1])


@torch.no_grad()
def predict(model: nn.Module, dataset: BaseDataset, index: int) -> SegDataSample:
    """Return the predicted sample of one image of a data set."""
    return model.test_step(pseudo_collate([dataset[index]]))[0].cpu()


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG with a palette, which takes half of the space."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    image = Image.open(buffer).convert('RGB')
    packed = io.BytesIO()
    palette = image.quantize(PALETTE_COLOURS, kmeans=PALETTE_ROUNDS)
    image.quantize(palette=palette).save(packed, 'PNG', optimize=True)
    atomic_write_bytes(path, packed.getvalue())


def picture_rows(examples: list[Example]) -> list[Example]:
    """Return the first rows of the length that is most frequent."""
    lengths = Counter(len(example.pictures) for example in examples)
    ((length, _),) = lengths.most_common(1)
    return [e for e in examples if len(e.pictures) == length][:PICTURE_ROWS]


def summary(figures: Figures) -> Table:
    """Return the main figures for the terminal."""
    table = Table('figure', 'value', title='Held-out images')
    compare = figures.get('compare')
    if compare:
        table.add_column('compared with')
        table.add_column('difference')
    for name, label in {**SUMMARY_LABELS, **COMPARED_LABELS}.items():
        row = [label, shown(name, figures[name])]
        if compare and name in compare['figures']:
            row += [
                shown(name, compare['figures'][name]),
                shown(name, compare['difference'][name], sign='+'),
            ]
        table.add_row(*row)
    return table


def main() -> None:
    """Write the report and print its main figures."""
    args = parse_arguments()
    report = PipelineReport(args.work_dir, args.examples)
    figures = report.figures()
    if args.compare:
        figures['compare'] = compare_figures(args.work_dir, args.compare, figures)
    content = report.content(figures)
    page, record = args.work_dir / 'report.html', args.work_dir / 'report.json'
    atomic_write_text(page, report_page(content))
    atomic_write_text(record, json.dumps(figures, indent=1) + '\n')
    if args.picture:
        write_picture(
            examples_figure(picture_rows(content.test_examples)), args.picture
        )
    console = Console()
    console.print(summary(figures))
    for text, path in {'report, for a browser': page, 'its figures': record}.items():
        console.print(f'{text}: {path}', soft_wrap=True)


if __name__ == '__main__':
    run_tool(main)
