"""Data sets whose masks are pseudo labels, refused where nothing could be learned."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import PascalVOCDataset

from mmwsss.datasets.coco import COCOTagDataset
from mmwsss.datasets.tag_dataset import TagDataset
from mmwsss.datasets.tag_list import some_names
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.json_stream import parse_json

LABEL_FOLDER = 'labels'
MANIFEST = 'labels.json'
REMEDY = (
    'make the labels with tools/generate_pseudo_labels.py, or set '
    'train_dataloader.dataset.label_root to the folder that has them'
)


@DATASETS.register_module()
class PseudoLabelDataset(TagDataset):
    """Images with pseudo labels, for training mmseg's segmentors.

    ``label_root`` holds ``labels/<id>.png`` (palette PNG, 0 = background, 255 =
    undecided) and the manifest ``labels.json`` that the tool wrote with them. The
    manifest alone tells, before the first image is read, whether the labels can
    teach every class.

    Args:
        ann_file: List of image ids; ``''`` takes every image that has a label.
        label_root: Folder of the labels, from the working directory or absolute.
        allow_absent: Classes that may lack from the labels.
        data_prefix: Folder ``img_path``.
        kwargs: Arguments of ``TagDataset`` and mmseg's ``BaseSegDataset``, which
            reject unknown ones.

    Raises:
        DataError: if labels or manifest are missing or damaged, are of other classes
            or images, are background only, or lack a class.
        ConfigError: if ``allow_absent`` names no class of the data set, or
            ``data_prefix`` names masks besides the labels.
    """

    mask_title = 'pseudo labels'

    def __init__(
        self,
        ann_file: str = '',
        *,
        label_root: str,
        allow_absent: Sequence[str] = (),
        data_prefix: dict[str, str],
        **kwargs: Any,
    ) -> None:
        if 'seg_map_path' in data_prefix:
            raise ConfigError(
                'data_prefix.seg_map_path: the masks of this data set are the labels '
                f'in label_root ({label_root}); take it off'
            )
        self.manifest_path = Path(label_root) / MANIFEST
        self.allow_absent = tuple(allow_absent)
        labels = osp.abspath(osp.join(label_root, LABEL_FOLDER))
        self.manifest = read_manifest(self.manifest_path)
        if not osp.isdir(labels):
            raise DataError(f'no folder {labels}; {REMEDY}')
        super().__init__(
            ann_file, data_prefix={**data_prefix, 'seg_map_path': labels}, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Return mmseg's records of the images, once the labels are found usable."""
        self._check_classes()
        records = super().load_data_list()
        ids = [self.image_id(record['img_path']) for record in records]
        labelled = self.manifest['images'].keys()
        if self.ann_file:
            self._refuse(
                [i for i in ids if i not in labelled],
                f'{self.ann_file} lists images without a label',
            )
            return records
        self._refuse(
            sorted(labelled - set(ids)),
            f'{self.data_prefix["img_path"]} has no image for labels',
        )
        return [record for i, record in zip(ids, records) if i in labelled]

    def _refuse(self, names: list[str], complaint: str) -> None:
        if names:
            raise DataError(
                f'{self.manifest_path}: {complaint} ({some_names(names)}); {REMEDY}'
            )

    def _check_classes(self) -> None:
        # With a subset of classes configured, files still count the whole set's.
        classes = self.METAINFO.get('classes') or self.metainfo.get('classes') or ()
        found = self.manifest['classes']
        if list(classes) != found:
            raise DataError(
                f'{self.manifest_path} is of the classes {found}, the data set of '
                f'{list(classes)}; {REMEDY}'
            )
        if unknown := [name for name in self.allow_absent if name not in classes]:
            raise ConfigError(
                f'allow_absent: {some_names(unknown)} is no class of the data set; '
                f'expected names among {", ".join(classes)}'
            )
        wanted = list(self.metainfo['classes'])
        check_counts(
            self.manifest_path,
            {name: self.manifest['pixels_per_class'][name] for name in wanted},
            allow_absent=self.allow_absent,
        )


@DATASETS.register_module()
class VOCPseudoLabelDataset(PseudoLabelDataset):
    """``PseudoLabelDataset`` with the classes of PASCAL VOC."""

    METAINFO = PascalVOCDataset.METAINFO


@DATASETS.register_module()
class COCOPseudoLabelDataset(PseudoLabelDataset):
    """``PseudoLabelDataset`` with the classes of COCO-2014."""

    METAINFO = COCOTagDataset.METAINFO


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of pseudo labels.

    Args:
        path: ``labels.json``, with at least ``classes`` (list of names, background
            first), ``pixels_per_class`` (name to count) and ``images`` (id to
            checksum).

    Raises:
        DataError: if it is missing, no JSON, or lacks one of these.
    """
    try:
        manifest = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f'no manifest {path}; {REMEDY}') from error
    except (OSError, ValueError) as error:
        raise DataError(f'{path} cannot be read ({error}); {REMEDY}') from error
    kinds = {'classes': list, 'pixels_per_class': dict, 'images': dict}
    for key, kind in kinds.items():
        if not isinstance(manifest, dict) or not isinstance(manifest.get(key), kind):
            raise DataError(f'{path} has no usable entry {key!r}; {REMEDY}')
    counts = manifest['pixels_per_class'].values()
    if not all(isinstance(name, str) for name in manifest['classes']):
        raise DataError(f'{path} has no usable entry {"classes"!r}; {REMEDY}')
    if not all(type(count) is int and count >= 0 for count in counts):
        raise DataError(f'{path} has no usable entry {"pixels_per_class"!r}; {REMEDY}')
    if set(manifest['pixels_per_class']) != set(manifest['classes']):
        raise DataError(
            f'{path}: pixels_per_class counts {sorted(manifest["pixels_per_class"])}, '
            f'not the classes {manifest["classes"]}; {REMEDY}'
        )
    return manifest


def check_counts(
    path: Path, pixels: dict[str, int], *, allow_absent: Sequence[str] = ()
) -> None:
    """Refuse labels that cannot teach every class.

    Args:
        path: The manifest, for the message.
        pixels: Number of labelled pixels by class name, background first.
        allow_absent: Classes that may have none.

    Raises:
        DataError: if all pixels are background or undecided, or a class has none.
    """
    background, *foreground = pixels
    if not any(pixels[name] for name in foreground):
        raise DataError(
            f'{path}: no pixel is labelled as an object, only as {background} or '
            'undecided, so a segmentor would learn to answer background; lower the '
            "refiner's background threshold, or check the classifier's seeds with "
            'tools/test.py'
        )
    absent = [n for n, count in pixels.items() if not count and n not in allow_absent]
    if absent:
        raise DataError(
            f'{path}: no pixel is labelled {some_names(absent)}, so it could never be '
            'predicted; make labels of more images or with another background '
            'threshold, or name it in train_dataloader.dataset.allow_absent'
        )
