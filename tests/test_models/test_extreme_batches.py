"""Batches at the edge of what a training meets: finite losses, or a clear error."""

import pytest
import torch
from mmengine.logging import MessageHub
from model_builders import CLASSES, SIDE, images, sample, tiny_acr, tiny_cam, tiny_rca
from PIL import Image

from mmwsss.datasets import VOCTagDataset
from mmwsss.utils.errors import DataError
from mmwsss.utils.finiteness import first_not_finite

BUILDERS = [tiny_cam, tiny_acr, tiny_rca]
builders = pytest.mark.parametrize('build', BUILDERS, ids=lambda build: build.__name__)
VIEW = dict(view=dict(type='DihedralView'))


@pytest.fixture(autouse=True)
def running():
    """A training in its third epoch."""
    hub = MessageHub.get_instance('extreme')
    hub.update_info_dict(dict(seed=0, iter=7, epoch=2))
    yield hub
    MessageHub._instance_dict.pop('extreme')


def settings_of(build):
    return VIEW if build is tiny_acr else {}


def tagged(tags):
    return [sample(t, sample_idx=i, img_path=f'{i}.jpg') for i, t in enumerate(tags)]


def step(model, batch, tags, *, half=None):
    """Return losses and gradients of a batch, also of the memory's write."""
    enabled = half is not None
    with torch.autocast('cpu', half or torch.bfloat16, enabled=enabled):
        losses = model(batch, tagged(tags), mode='loss')
    sum(losses.values()).backward()
    if hasattr(model, 'update_memory'):
        model.update_memory()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


def all_finite(parts):
    return [name for name, part in parts.items() if not part.isfinite().all()] == []


@builders
@pytest.mark.parametrize('half', [None, torch.bfloat16])
@pytest.mark.parametrize('value', [0.0, 1.0, 1e3])
def test_images_of_one_colour(build, half, value):
    """Constant maps: no region, and nothing for min-max to spread."""
    model = build(**settings_of(build)).train()
    batch = torch.full((2, 3, SIDE, SIDE), value)
    losses, gradients = step(model, batch, [[0], [1, 2]], half=half)
    assert all_finite(losses) and all_finite(gradients)
    assert first_not_finite(model.state_dict()) is None
    model.eval()
    with torch.no_grad():
        (found, _) = model(batch, tagged([[0], [1]]), mode='predict')
    assert found.localization.data.isfinite().all()
    assert found.seg_logits.data.isfinite().all()


def test_memory_of_one_slot_and_classes_never_seen():
    """One class, one valid slot, no negative; then one of two classes."""
    memory = dict(type='RegionMemory', num_slots=1, score_gate=0.0)
    aggregation = dict(type='PrototypeAggregator', num_prototypes=1)
    model = tiny_rca(memory=memory, aggregation=aggregation)
    for tags in ([[3], [3]], [[3], [3]], [[3], [1]], [[0], [1]]):
        model.zero_grad()
        losses, gradients = step(model, images(), tags, half=torch.bfloat16)
        assert all_finite(losses) and all_finite(gradients)
        model.refresh_prototypes()
    assert model.memory.count.tolist() == [1, 1, 0, 1, 0]
    assert model.aggregation.ready.tolist() == [True, True, False, True, False]
    assert model.aggregation.prototypes.isfinite().all()


def test_no_region_in_the_whole_batch():
    model = tiny_rca(memory=dict(type='RegionMemory', num_slots=4, score_gate=0.0))
    batch = torch.zeros(2, 3, SIDE, SIDE)
    # one score for every pixel, so that no pixel exceeds the mean
    for part in model.coarse_head.parameters():
        torch.nn.init.zeros_(part)
    losses, gradients = step(model, batch, [[0], [1]])
    assert losses['loss_contrast'] == 0
    assert all_finite(gradients)
    assert not model.memory.count.any()


def test_scores_of_many_classes_in_half_precision():
    """The sum of 80 terms of 60,000 does not fit half precision; their mean does."""
    model = tiny_cam(num_classes=80)
    logits = torch.full((2, 80), 6e4, dtype=torch.float16, requires_grad=True)
    loss = model.classification_loss(logits, tagged([[0], [1, 2]]))
    loss.backward()
    assert loss.item() == pytest.approx(6e4 * (79 + 78) / 160, rel=1e-3)
    assert logits.grad.isfinite().all()


@builders
def test_a_batch_without_tags_names_the_image(build):
    model = build(**settings_of(build))
    batch = [sample([1]), sample(img_path='photos/7.jpg')]
    with pytest.raises(DataError, match='photos/7.jpg: an image without tags cannot'):
        model(images(), batch, mode='loss')
    empty = [sample([], img_path='photos/8.jpg'), sample([1])]
    with pytest.raises(DataError, match='photos/8.jpg: an image without tags cannot'):
        model(images(), empty, mode='loss')


@builders
def test_a_batch_without_samples_is_told_how_to_have_some(build):
    model = build(**settings_of(build))
    with pytest.raises(DataError, match='2 images with 0 samples: a classifier learns'):
        model(images(), None, mode='loss')


def test_an_image_that_is_scaled_to_nothing_is_named(voc_root):
    path = voc_root / 'JPEGImages/2007_000001.jpg'
    Image.new('RGB', (5000, 1)).save(path)
    dataset = VOCTagDataset(
        data_root=str(voc_root),
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='Resize', scale=(96, 96), keep_ratio=True),
            dict(type='mmwsss.PackWSSSInputs'),
        ],
    )
    with pytest.raises(DataError) as caught:
        dataset[0]
    message = str(caught.value)
    assert message.startswith(f'a transform cannot be done on {path} (OpenCV')
    assert 'has nothing left when it is scaled down: cut it, or take it off' in message
    assert dataset[1]['inputs'].shape == (3, 96, 64)


def test_tags_beyond_the_classes_are_named():
    with pytest.raises(DataError, match=f'tag {CLASSES} of a model with {CLASSES}'):
        tiny_cam()(images(), tagged([[0], [CLASSES]]), mode='loss')
