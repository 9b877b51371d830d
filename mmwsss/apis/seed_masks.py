"""Masks of stored seeds: what measures them, and never what makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmwsss.apis.seeds import LOADER
from mmwsss.datasets.transforms import LoadMask
from mmwsss.registry import DATASETS
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.errors import DataError

METRIC = 'SeedIoUMetric'


def mask_paths(config: Config, prefix: str) -> dict[str, str]:
    """Return the files of masks by image id, as far as they exist.

    Args:
        config: With a ``seed_dataloader``, whose images they are of.
        prefix: Their folder; relative to ``data_root`` unless it is absolute.

    Raises:
        DataError: if there is no such folder, or no image has a mask.
    """
    settings = Config(dict(config[LOADER].dataset.to_dict()))
    settings.data_prefix.seg_map_path = prefix
    dataset = DATASETS.build(settings._cfg_dict)
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    found = {
        dataset.image_id(record['img_path']): record['seg_map_path']
        for record in records
        if Path(record['seg_map_path']).is_file()
    }
    if not found:
        raise DataError(
            f'none of the {len(records)} images has a mask, as '
            f'{records[0]["seg_map_path"]} would be one; name their folder with --masks'
        )
    return found


def read_mask(path: str, image: str, record: SeedRecord) -> Tensor:
    """Return the mask (H, W) int64 of a stored image.

    Raises:
        DataError: if it cannot be read or has another size than the image.
    """
    results = dict(
        img_path=image,
        seg_map_path=path,
        ori_shape=record.ori_shape,
        seg_fields=[],
        reduce_zero_label=False,
        label_map=None,
    )
    return torch.from_numpy(LoadMask()(results)['gt_seg_map']).long()


def metric_settings(config: Config, store: Path) -> dict[str, Any]:
    """Return the config's settings of the metric; the split is named by the store."""
    metrics = config.get('test_evaluator') or []
    metrics = metrics if isinstance(metrics, list) else [metrics]
    own = [dict(metric) for metric in metrics if metric.type == METRIC]
    settings = own[0] if own else dict(type=METRIC)
    return settings | dict(split=str(store), out_dir=None)
