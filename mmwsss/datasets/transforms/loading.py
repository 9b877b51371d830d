"""Loading of images, masks and tags; a bad file is named with its remedy."""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from numpy.typing import NDArray

from mmwsss.datasets.transforms.decoding import decode_image
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.errors import DataError
from mmwsss.utils.label_codec import check_claim

BACKGROUND_LABEL = 0
IGNORED_LABEL = 255


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with errors that name the file.

    Grey, palette, CMYK, 16-bit and transparent images become three channels of 8 bits
    (``color_type='color'``, see ``decode_image``); the EXIF orientation is applied.
    Pillow decodes to the same values as OpenCV and refuses a truncated file, which
    some OpenCV versions complete with grey.

    Args:
        to_float32: Whether to convert the image to float32.
        color_type: mmcv's decoding flag.
        imdecode_backend: mmcv's decoder.
        backend_args: mmengine's file backend.

    Raises:
        DataError: if the image is missing or cannot be decoded.
    """

    def __init__(
        self,
        *,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'pillow',
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(
            to_float32=to_float32,
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )

    def transform(self, results: dict) -> dict:
        """Add ``img`` (H, W, 3), ``img_shape`` and ``ori_shape`` (H, W)."""
        path = results['img_path']
        try:
            image = decode_image(
                fileio.get(path, backend_args=self.backend_args),
                flag=self.color_type,
                backend=self.imdecode_backend,
            )
            shape = image.shape[:2]
        except FileNotFoundError as error:
            raise DataError(
                f'image not found: {path}; restore it or take it off the split '
                '(dataset.ann_file)'
            ) from error
        # OpenCV returns nothing for what it cannot read; decoders raise at will.
        except Exception as error:
            raise DataError(
                f'image cannot be read: {path} ({type(error).__name__}: {error}); '
                'fetch it again or take it off the split (dataset.ann_file)'
            ) from error
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = shape
        return results


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` that checks the mask against the image.

    Args:
        imdecode_backend: mmcv's decoder.
        backend_args: mmengine's file backend.

    Raises:
        DataError: if the mask is missing, cannot be decoded, has more than one
            channel, values that are no 8-bit labels, or another size than the image
            had when it was loaded.
    """

    def __init__(
        self, *, imdecode_backend: str = 'pillow', backend_args: dict | None = None
    ) -> None:
        super().__init__(imdecode_backend=imdecode_backend, backend_args=backend_args)

    def _load_seg_map(self, results: dict) -> None:
        path = results.get('seg_map_path')
        if path is None:
            raise DataError(
                f'no mask is known for {results["img_path"]}; set '
                'dataset.data_prefix.seg_map_path, or take LoadMask off the pipeline'
            )
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            check_claim(content)
            mask = mmcv.imfrombytes(
                content, flag='unchanged', backend=self.imdecode_backend
            )
            mask = mask[..., 0] if mask.shape[2:] == (1,) else mask
        except FileNotFoundError as error:
            raise DataError(
                f'mask not found: {path}; restore it, or set '
                'dataset.data_prefix.seg_map_path to the folder that has it'
            ) from error
        except Exception as error:
            raise DataError(
                f'mask cannot be read: {path} ({type(error).__name__}: {error}); '
                'fetch it again or take its image off the split'
            ) from error
        _check_mask(mask, results)
        results['gt_seg_map'] = _mapped(mask.astype(np.uint8), results)
        results['seg_fields'].append('gt_seg_map')


def _mapped(mask: NDArray[np.uint8], results: dict) -> NDArray[np.uint8]:
    """Return the labels of a data set that shifts them or has a part of the classes."""
    table = np.arange(IGNORED_LABEL + 1, dtype=np.uint8)
    if results['reduce_zero_label']:
        table[0], table[1:] = IGNORED_LABEL, table[:-1].copy()
        table[IGNORED_LABEL] = IGNORED_LABEL
    mapping = np.arange(IGNORED_LABEL + 1, dtype=np.uint8)
    for old, new in (results.get('label_map') or {}).items():
        mapping[old] = new
    return mapping[table[mask]]


def _check_mask(mask: np.ndarray, results: dict) -> None:
    path = results['seg_map_path']
    if mask.dtype.kind not in 'biu' or mask.max() > IGNORED_LABEL or mask.min() < 0:
        raise DataError(
            f'mask {path} holds {mask.dtype} values {mask.min()}..{mask.max()}; '
            f'expected class indices 0..{IGNORED_LABEL} (palette or grey PNG of 8 bits)'
        )
    if mask.ndim != 2:
        raise DataError(
            f'mask {path} has {mask.shape[-1]} channels; expected class indices in '
            'one channel (palette or grey PNG)'
        )
    if 'ori_shape' in results and mask.shape != tuple(results['ori_shape'][:2]):
        (height, width), (rows, columns) = mask.shape, results['ori_shape'][:2]
        turned = (height, width) == (columns, rows)
        hint = "; the image's EXIF orientation turns it, the mask must be turned too"
        raise DataError(
            f'mask {path} is {width}x{height}, its image {results["img_path"]} is '
            f'{columns}x{rows} (width x height); they must have the same size'
            f'{hint if turned else ""}'
        )


@TRANSFORMS.register_module()
class TagsFromMask(BaseTransform):
    """Derive ``gt_label`` from ``gt_seg_map``: every class with a pixel is a tag.

    Args:
        ignore_index: Mask value that belongs to no class; the background is 0.

    Raises:
        DataError: if the mask shows no class.
    """

    def __init__(self, *, ignore_index: int = IGNORED_LABEL) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict[str, Any]:
        """Add ``gt_label``, ascending foreground class indices from 0."""
        if 'gt_seg_map' not in results:
            raise DataError(
                f'no mask was loaded for {results["img_path"]}; put LoadMask before '
                'TagsFromMask, or set dataset.tag_file and take TagsFromMask off'
            )
        labels = np.unique(results['gt_seg_map']).tolist()
        empty = (BACKGROUND_LABEL, self.ignore_index)
        tags = [label - 1 for label in labels if label not in empty]
        if not tags:
            raise DataError(
                f'mask {results.get("seg_map_path")} shows no class, so its image has '
                'no tags; correct the mask or take the image off the split'
            )
        results['gt_label'] = tags
        return results
