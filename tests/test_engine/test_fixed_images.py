"""The same images at every look, whatever was done to them at the one before."""

import pytest
import torch

from mmwsss.engine.fixed_images import FixedImages
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import ConfigError


class Images:
    """A data set that counts how often an image is read."""

    def __init__(self, *names):
        self.names, self.read = names, []

    def __len__(self):
        return len(self.names)

    def get_data_info(self, index):
        return dict(img_path=f'/images/{self.names[index]}.jpg')

    def __getitem__(self, index):
        self.read.append(index)
        sample = WSSSDataSample(metainfo=self.get_data_info(index))
        return dict(inputs=torch.full((3, 2, 2), index), data_samples=sample)


def values(images):
    return [int(batch['inputs'][0].max()) for batch in images.batches()]


@pytest.mark.parametrize(
    ('asked', 'indices'),
    [(2, [0, 1]), (9, [0, 1, 2]), (['c', 'a'], [2, 0]), (('b',), [1])],
)
def test_first_images_or_names_in_their_order(asked, indices):
    assert values(FixedImages(Images('a', 'b', 'c'), asked)) == indices


def test_ids_are_the_data_sets_own():
    dataset = Images('deep/a', 'deep/b')
    dataset.image_id = lambda path: path.removeprefix('/images/').removesuffix('.jpg')
    assert values(FixedImages(dataset, ['deep/b'])) == [1]
    with pytest.raises(ConfigError, match=r"images='b' is not in .* \(deep/a, deep/b"):
        FixedImages(dataset, ['deep/a', 'b'])


def test_images_are_read_once_and_stay_as_they_were():
    dataset = Images('a', 'b')
    images = FixedImages(dataset, 2)
    assert dataset.read == []
    for batch in images.batches():
        batch['inputs'][0].fill_(7)
        batch['data_samples'][0].set_gt_label([1])
    for index, batch in enumerate(images.batches()):
        (image,), (sample,) = batch['inputs'], batch['data_samples']
        assert int(image.max()) == index
        assert 'gt_label' not in sample
    assert dataset.read == [0, 1]


def test_an_empty_data_set_is_refused():
    with pytest.raises(ConfigError, match='the data set has no image; name another'):
        FixedImages(Images(), 4)
