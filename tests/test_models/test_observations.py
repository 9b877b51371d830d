"""What classifiers show of themselves is what they predict, compare and remember."""

import pytest
import torch
from mmengine.logging import MessageHub
from model_builders import SIDE, sample, tiny_acr, tiny_cam, tiny_rca

from mmwsss.visualization.training_figures import consistency_scalars

PREPROCESSOR = dict(
    type='mmengine.ImgDataPreprocessor',
    mean=[100.0, 110.0, 120.0],
    std=[50.0, 60.0, 70.0],
    bgr_to_rgb=True,
    pad_size_divisor=SIDE,
)
TAGS = [1, 3]


@pytest.fixture(autouse=True)
def iteration():
    """Draws of the running step must not matter to what is shown."""
    hub = MessageHub.get_instance('observations')
    hub.update_info_dict(dict(seed=4, iter=0))
    return hub


def batch(height=SIDE, width=SIDE - 4):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, height, width), generator=generator).byte()
    made = sample(
        TAGS, sample_idx=2, img_shape=(height, width), ori_shape=(2 * height, width)
    )
    return dict(inputs=[image], data_samples=[made])


@pytest.mark.parametrize('build', [tiny_acr, tiny_cam, tiny_rca])
def test_prediction_is_the_models_own(build):
    model = build(data_preprocessor=PREPROCESSOR)
    seen, (expected,) = model.observe(batch()), model.test_step(batch())
    assert torch.equal(seen.sample.localization.data, expected.localization.data)
    assert torch.equal(seen.sample.pred_score, expected.pred_score)
    assert seen.sample.localization.classes == tuple(TAGS)
    (image,) = batch()['inputs']
    # RGB of mmcv's BGR, and normalized in that order, padded to the patches
    assert torch.equal(seen.image, image[[2, 1, 0]])
    mean, std = (
        torch.tensor(PREPROCESSOR[name]).view(3, 1, 1) for name in ('mean', 'std')
    )
    assert seen.inputs.shape == (3, SIDE, SIDE)
    torch.testing.assert_close(
        seen.inputs[..., : SIDE - 4], (image[[2, 1, 0]] - mean) / std
    )


def test_padding_of_the_pipeline_is_left_out():
    model = tiny_cam(data_preprocessor=PREPROCESSOR)
    data = batch(width=SIDE)
    data['data_samples'][0].set_metainfo(dict(img_shape=(40, 50)))
    assert model.observe(data).image.shape == (3, 40, 50)


@pytest.mark.parametrize(
    'view',
    [
        dict(type='DihedralView', elements=('rot90',)),
        [
            dict(type='DihedralView', elements=('hflip', 'rot270')),
            dict(type='PatchHidingView', probability=0.4),
        ],
    ],
    ids=['turned', 'composed'],
)
def test_views_are_those_of_the_loss(view, iteration):
    model = tiny_acr(
        data_preprocessor=PREPROCESSOR,
        view=view,
        consistency=dict(type='AttentionConsistencyLoss', alpha=3.0, beta=7.0),
    )
    data = model.data_preprocessor(batch(), False)
    losses = model.loss(data['inputs'], data['data_samples'])
    iteration.update_info('iter', 55)
    seen = model.observe(batch())
    assert seen.views.grid == (4, 4)
    assert len(seen.views.first) == len(seen.views.restored) == model.backbone.depth
    found = consistency_scalars([seen])
    assert found['views/activation_l1'] > 0
    expected = dict(
        loss_activation=3 * found['views/activation_l1'],
        loss_affinity=7 * found['views/affinity_l1'],
    )
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-5)


def test_a_view_that_is_turned_back_has_the_images_rows():
    """Of a flip alone, patches go where the index of the flip says."""
    view = dict(type='DihedralView', elements=('hflip',))
    shown = tiny_acr(data_preprocessor=PREPROCESSOR, view=view).observe(batch())
    seen = shown.views
    order = torch.arange(16).view(4, 4).flip(1).flatten()
    for second, restored in zip(seen.second, seen.restored):
        assert torch.equal(restored[1:, 1:], second[1:, 1:][order][:, order])
        assert torch.equal(restored[0, 1:], second[0, 1:][order])
    assert torch.equal(seen.view, shown.inputs.flip(2))


def test_models_without_show_none():
    seen = tiny_acr(data_preprocessor=PREPROCESSOR).observe(batch())
    assert seen.views is None
    assert tiny_cam().memory_state() is None
    plain = tiny_rca(memory=None, contrast=None, aggregation=None)
    assert plain.memory_state() is None


def test_memory_is_bank_and_prototypes():
    model = tiny_rca()
    model.memory.count[1] = 3
    state = model.memory_state()
    assert state.features is model.memory.features
    assert state.valid.sum(1).tolist() == [0, 3, 0, 0, 0]
    assert state.prototypes is model.aggregation.prototypes
    assert state.ready is model.aggregation.ready
    bank = tiny_rca(aggregation=None).memory_state()
    assert bank.prototypes is None and bank.ready is None


def test_observing_keeps_no_graph():
    seen = tiny_acr(
        data_preprocessor=PREPROCESSOR,
        view=dict(type='DihedralView', elements=('hflip',)),
    ).observe(batch())
    tensors = [*seen.views.first, *seen.views.restored, seen.sample.localization.data]
    assert not any(tensor.requires_grad for tensor in tensors)
