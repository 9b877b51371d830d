"""Write the archive of labels that the evaluation server of PASCAL VOC takes.

python tools/analysis/voc_submission.py \\
    configs/segmentation/deeplabv2_r101_voc_acr_crf.py work_dirs/segmentor \\
    --list ImageSets/Segmentation/test.txt --tta --out voc_test.tgz
It holds results/VOC2012/Segmentation/comp6_test_cls/<id>.png for each image of the
list: palette PNG of the image's size. Masks are neither needed nor read. Labels are
those that the config's test_evaluator judges, so those of a dense CRF where it is
CRFIoUMetric. The same labels give the same bytes.
"""

import gzip
import io
import os.path as osp
import tarfile
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from PIL import Image

from mmwsss.apis.launch import (
    add_common_arguments,
    check_fits,
    read_config,
    run_tool,
)
from mmwsss.datasets.tag_list import some_names
from mmwsss.datasets.voc import read_voc_list
from mmwsss.utils.atomic import atomic_writer, write_error
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.label_codec import LabelCodec
from mmwsss.utils.progress import track

VOC = PascalVOCDataset.METAINFO
COMPETITIONS = ('comp5', 'comp6')
SPLITS = ('val', 'test')
MASK_STEPS = ('LoadMask', 'LoadAnnotations', 'TagsFromMask')


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint', help='checkpoint file, or the work directory of a training'
    )
    parser.add_argument('--out', required=True, help='the archive, *.tgz')
    parser.add_argument(
        '--list', help='val.txt or test.txt from data_root, in place of ann_file'
    )
    parser.add_argument(
        '--competition',
        choices=COMPETITIONS,
        default='comp6',
        help="comp5: trained on VOC's own data alone; comp6: on any",
    )
    parser.add_argument(
        '--tta', action='store_true', help="scales and flips of the config's pipeline"
    )
    return parser.parse_args()


def submission_config(args: Namespace, labels: str) -> Config:
    """Return the config of a test that writes labels to a folder and judges none.

    Raises:
        ConfigError: if there is no such config or list, or nothing in it can do so.
    """
    if args.launcher != 'none':
        raise ConfigError('voc_submission.py is one process; leave --launcher out')
    config = read_config(args)
    if not isinstance(config.get('test_evaluator'), dict):
        raise ConfigError(
            f'{args.config} has no single test_evaluator; name a config of a segmentor '
            'on VOC, see configs/segmentation'
        )
    config.test_evaluator.update(format_only=True, output_dir=labels)
    dataset = config.test_dataloader.dataset
    if args.list:
        dataset.ann_file = args.list
    if args.tta:
        for key in ('tta_pipeline', 'tta_model'):
            if key not in config:
                raise ConfigError(f'--tta: {args.config} has no {key}')
        dataset.pipeline = config.tta_pipeline
        config.model = ConfigDict(**config.tta_model, module=config.model)
    dataset.pipeline = without_masks(dataset.pipeline)
    config.load_from = str(find_checkpoint(args.checkpoint))
    return config


def without_masks(steps: Sequence[Any]) -> list[Any]:
    """Return a pipeline without the steps that read masks, at any depth."""
    kept: list[Any] = []
    for step in steps:
        if not isinstance(step, Mapping):
            # an empty branch would leave TestTimeAug no way through
            if branch := without_masks(step):
                kept.append(branch)
        elif step['type'].split('.')[-1] not in MASK_STEPS:
            inner = step.get('transforms')
            changes = {} if inner is None else dict(transforms=without_masks(inner))
            kept.append(dict(step, **changes))
    return kept


def listed_images(config: Config) -> tuple[str, list[str]]:
    """Return the split and the ids of a config's list.

    Raises:
        ConfigError: if the list is of neither split.
        DataError: if the list or the folder of images is absent.
    """
    dataset = config.test_dataloader.dataset
    path = osp.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    images = dataset.get('data_prefix', {}).get('img_path') or ''
    split = Path(path).stem
    if split not in SPLITS:
        raise ConfigError(
            f'{path or "no list"}: the server takes labels of val.txt or test.txt; '
            'name the list with --list'
        )
    folder = osp.join(dataset.get('data_root') or '', images)
    for needed, key in ((path, '--list'), (folder, 'data_prefix.img_path')):
        if not osp.exists(needed):
            raise DataError(
                f'{needed} does not exist; set {key}, or '
                'test_dataloader.dataset.data_root with --cfg-options'
            )
    return split, read_voc_list(path)


def check_classes(dataset: BaseSegDataset) -> None:
    """Check that predictions are indices of VOC's classes.

    Raises:
        ConfigError: if not.
    """
    classes = tuple(dataset.metainfo['classes'])
    if classes != VOC['classes'] or dataset.reduce_zero_label:
        raise ConfigError(
            f'{type(dataset).__name__} has {len(classes)} classes '
            f'({some_names(list(classes))}), reduce_zero_label='
            f"{dataset.reduce_zero_label}; the server takes VOC's "
            f'{len(VOC["classes"])}, background first, of a config on VOC'
        )


def encoded_labels(
    ids: Sequence[str], images: Mapping[str, str], folder: Path
) -> dict[str, bytes]:
    """Return palette PNG files by image id.

    Args:
        ids: Images of the list.
        images: Their files, by id.
        folder: Grey PNG files of labels, as mmseg writes them.

    Raises:
        DataError: if a label is missing, of another size than its image, or no class.
    """
    absent = [name for name in ids if not (folder / f'{name}.png').is_file()]
    if absent:
        raise DataError(
            f'no prediction for {len(absent)} of {len(ids)} images of the list '
            f'({some_names(absent)}), and the server wants all: test the whole list, '
            'without test_dataloader.dataset.indices'
        )
    codec, files = LabelCodec(VOC['palette']), {}
    for name in track(ids, 'Labels'):
        label = np.array(Image.open(folder / f'{name}.png'))
        with Image.open(images[name]) as image:
            width, height = image.size
        if label.shape != (height, width):
            raise DataError(
                f'the prediction for {images[name]} has {label.shape} rows and '
                f'columns, the image {(height, width)}; the model must predict at the '
                'size of the image file'
            )
        try:
            files[name] = codec.encode(label)
        except ValueError as error:
            raise DataError(f'the prediction for {images[name]}: {error}') from error
    return files


def check_place(out: Path) -> None:
    """Check, before the long part, that a file can be written.

    Raises:
        ArtefactError: if not.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise write_error(out, error) from error


def write_archive(out: str | Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a .tgz of files by their names in it; its bytes depend on these alone."""
    with (
        atomic_writer(out) as stream,
        gzip.GzipFile('', 'wb', fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode='w') as archive,
    ):
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def predict(config: Config) -> BaseSegDataset:
    """Test a config's checkpoint; return the data set of its images."""
    runner = Runner.from_cfg(config)
    model = getattr(runner.model, 'module', runner.model)
    check_fits(config.load_from, model, whole=True)
    dataset = runner.test_loop.dataloader.dataset
    check_classes(dataset)
    runner.test()
    return dataset


def main() -> None:
    """Predict and pack."""
    args = parse_arguments()
    check_place(Path(args.out))
    with tempfile.TemporaryDirectory(prefix='voc_submission_') as labels:
        config = submission_config(args, labels)
        split, ids = listed_images(config)
        dataset = predict(config)
        paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
        images = {Path(path).stem: path for path in paths}
        files = encoded_labels(ids, images, Path(labels))
    folder = f'results/VOC2012/Segmentation/{args.competition}_{split}_cls'
    write_archive(args.out, ((f'{folder}/{n}.png', f) for n, f in files.items()))
    print(f'{args.out}: labels of {len(files)} images in {folder}')


if __name__ == '__main__':
    run_tool(main)
