"""The accumulator: its rule against the reference, any number of processes."""

import numpy as np
import pytest
import torch
from accumulation_run import COUNT, IDS, accumulator, config_maker
from PIL import Image
from pseudo_label_run import ROOT, files_of, keep_images, one_thread, write_checkpoint
from tiny_run import without_slow_logging
from torch import multiprocessing, nn

from mmwsss.apis.accumulated_store import open_accumulated, read_growth
from mmwsss.apis.seeds import load_classifier
from mmwsss.datasets import VOCTagDataset
from mmwsss.utils.errors import CheckpointError, DataError


@pytest.fixture
def make(tmp_path, voc_root, monkeypatch):
    without_slow_logging(monkeypatch)
    with one_thread(monkeypatch):
        yield config_maker(tmp_path, voc_root)


class StoredMaps(nn.Module):
    """A classifier whose maps and scores are given: (B, C, h, w) and (B, C)."""

    def __init__(self, maps, scores):
        super().__init__()
        peaks = maps.clamp_min(0).amax((2, 3), keepdim=True)
        self.register_buffer('maps', maps.clamp_min(0) / peaks.clamp_min(1e-8))
        self.register_buffer('scores', scores)

    def test_step(self, batch):
        assert not self.training
        for sample in batch['data_samples']:
            image = int(sample.img_path[-5]) - 1
            tags = sample.gt_label.tolist()
            sample.set_pred_score(self.scores[image])
            sample.set_localization(
                self.maps[image, tags], tags, input_shape=(32, 32), align_corners=True
            )
        return batch['data_samples']


@pytest.fixture
def reference(make, voc_root):
    """Arrays of the reference, and a config of images with its tags."""
    arrays = dict(np.load(ROOT / 'tests/data/rca_ops.npz'))
    keep_images(voc_root, 3)
    config = make('reference')
    classes = VOCTagDataset.METAINFO['classes'][1:]
    lines = [
        f'{name} {" ".join(classes[i] for i in np.flatnonzero(row))}\n'
        for name, row in zip(IDS, arrays['input/label'])
    ]
    path = voc_root / 'ImageSets/Segmentation/train_tags.txt'
    path.write_text(''.join(lines))
    return arrays, config


def test_gate_maximum_and_last_epoch_equal_the_reference(reference, tmp_path):
    arrays, config = reference
    keeper = accumulator(config, tmp_path / 'maps')
    total = int(arrays['oaa/total_epochs'])
    for visit, epoch in enumerate(arrays['oaa/epoch'].tolist()):
        model = StoredMaps(
            torch.from_numpy(arrays['oaa/map'][visit]),
            torch.from_numpy(arrays['oaa/score'][visit]),
        )
        keeper.accumulate(model, epoch=epoch + 1, last=epoch + 1 == total)
        store = open_accumulated(tmp_path / 'maps', ended=False)
        for image in range(3):
            record = store.read(IDS[image])
            exists = arrays['official/oaa/exists'][visit, image]
            assert record.classes == tuple(np.flatnonzero(exists))
            expected = arrays['official/oaa/accumulated'][visit, image]
            np.testing.assert_array_equal(record.maps, expected[exists > 0])
            assert record.maps.dtype == np.uint8
    missing = arrays['official/oaa/exists'][2] < arrays['official/oaa/exists'][3]
    assert missing.any() and (arrays['oaa/score'][3][missing] < 0.1).any()


def test_growth_counts_maps_and_what_they_cover(reference, tmp_path):
    arrays, config = reference
    keeper = accumulator(config, tmp_path / 'maps')
    maps, scores = (torch.from_numpy(arrays[f'oaa/{n}'][0]) for n in ('map', 'score'))
    keeper.accumulate(StoredMaps(maps, scores), epoch=2, last=False)
    (line,) = read_growth(tmp_path / 'maps')
    planes = arrays['official/oaa/accumulated'][0][arrays['official/oaa/exists'][0] > 0]
    store = open_accumulated(tmp_path / 'maps', ended=False)
    assert line == dict(
        epoch=2,
        last=False,
        store=store.digest(),
        images=int(arrays['official/oaa/exists'][0].any(1).sum()),
        maps=len(planes),
        tags=6,
        covered=pytest.approx(np.mean(planes.astype(float) / 255 > 0.5), abs=1e-6),
    )


def test_maps_that_are_not_finite(reference, tmp_path):
    _, config = reference
    keeper = accumulator(config, tmp_path / 'maps')
    model = StoredMaps(torch.full((3, 20, 2, 2), torch.nan), torch.ones(3, 20))
    with pytest.raises(CheckpointError, match='the model behind epoch 2 gives maps of'):
        keeper.accumulate(model, epoch=2, last=False)
    assert read_growth(tmp_path / 'maps') == []


def test_image_that_has_changed(reference, tmp_path, voc_root):
    _, config = reference
    keeper = accumulator(config, tmp_path / 'maps')
    model = StoredMaps(torch.rand(3, 20, 2, 2), torch.ones(3, 20))
    keeper.accumulate(model, epoch=2, last=False)
    Image.new('RGB', (33, 44)).save(voc_root / f'JPEGImages/{IDS[1]}.jpg')
    message = rf'{IDS[1]} was \(60, 40\) pixels .* is \(44, 33\): restore the image'
    with pytest.raises(DataError, match=message):
        keeper.accumulate(model, epoch=3, last=False)


def accumulate_twice(rank, size, folder, config, checkpoints):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f'{folder}/rendezvous', size)
    torch.distributed.init_process_group(
        'gloo', store=store, rank=rank, world_size=size
    )
    keeper = accumulator(config, f'{folder}/maps')
    for epoch, checkpoint in enumerate(checkpoints, start=2):
        model = load_classifier(config, checkpoint)
        # a running statistic that processes do not share
        model.register_buffer('seen', torch.tensor([rank == 0, True]))
        keeper.accumulate(model, epoch=epoch, last=False)
        assert model.seen.tolist() == [True, True]
    torch.distributed.destroy_process_group()


def test_two_processes_make_the_bytes_of_one(make, tmp_path):
    config = make('work')
    path = tmp_path / 'tiny.py'
    checkpoints = [
        str(write_checkpoint(tmp_path / f'{seed}.pth', path, seed=seed))
        for seed in range(2)
    ]
    for processes in (1, 2):
        folder = tmp_path / f'by_{processes}'
        folder.mkdir()
        multiprocessing.start_processes(
            accumulate_twice,
            (processes, str(folder), config, checkpoints),
            nprocs=processes,
            start_method='fork',
        )
    alone = files_of(tmp_path / 'by_1/maps')
    assert files_of(tmp_path / 'by_2/maps') == alone
    assert len(alone) == 1 + COUNT + 2
