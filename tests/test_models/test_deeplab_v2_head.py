"""DeepLabV2's head against a sum over taps, written out."""

import pytest
import torch
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import nn

from mmwsss.models.decode_heads import DeepLabV2Head
from mmwsss.utils.errors import ConfigError

LOSS = dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True)


def make_head(**options):
    settings = dict(num_classes=3, loss_decode=LOSS, in_index=0)
    return DeepLabV2Head(2, **{**settings, **options})


def sum_over_taps(features, branches):
    """Add, for each branch, nine shifted maps times their weights, and the bias."""
    batch, _, height, width = features.shape
    logits = None
    for weight, bias, dilation in branches:
        found = bias.view(1, -1, 1, 1).repeat(batch, 1, height, width)
        for row in range(height):
            for column in range(width):
                for i in range(3):
                    for j in range(3):
                        y, x = row + (i - 1) * dilation, column + (j - 1) * dilation
                        if 0 <= y < height and 0 <= x < width:
                            taps = weight[:, :, i, j]
                            found[:, :, row, column] += features[:, :, y, x] @ taps.T
        logits = found if logits is None else logits + found
    return logits


@pytest.mark.parametrize('dilations', [(6, 12, 18, 24), (1, 2, 3), (2,)])
def test_logits_are_the_sum_of_dilated_convolutions(dilations):
    torch.manual_seed(0)
    head = make_head(dilations=dilations).double().eval()
    # taps of all dilations lie inside this map
    features = torch.randn(2, 2, 26, 9, dtype=torch.float64)
    for branch in head.branches:
        nn.init.normal_(branch.bias)
    branches = [
        (branch.weight.detach(), branch.bias.detach(), dilation)
        for branch, dilation in zip(head.branches, dilations)
    ]
    logits = head((features,)).detach()
    assert logits.shape == (2, 3, 26, 9)
    assert len(head.branches) == len(dilations)
    torch.testing.assert_close(logits, sum_over_taps(features, branches))


def test_default_dilations_are_the_papers():
    assert [b.dilation for b in make_head().branches] == [
        (6, 6),
        (12, 12),
        (18, 18),
        (24, 24),
    ]


def test_gradient_against_differences():
    head = make_head(dilations=(1, 2)).double()
    features = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: head((x,)), features)


def test_every_weight_gets_a_gradient():
    head = make_head()
    head((torch.randn(1, 2, 8, 8),)).sum().backward()
    names = {name for name, weight in head.named_parameters() if weight.grad is None}
    assert names == set()
    assert not hasattr(head, 'conv_seg')


def test_initialization():
    torch.manual_seed(0)
    head = DeepLabV2Head(512, num_classes=21, loss_decode=LOSS, in_index=0)
    head.init_weights()
    for branch in head.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert branch.bias.abs().max() == 0


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    head = make_head(dropout_ratio=0.5)
    features = torch.randn(2, 2, 8, 8)
    assert not torch.equal(head((features,)), head((features,)))
    head.eval()
    assert torch.equal(head((features,)), head((features,)))


def test_maps_are_selected_or_joined():
    small, large = torch.randn(1, 2, 4, 4), torch.randn(1, 5, 8, 8)
    picked = DeepLabV2Head(5, num_classes=3, loss_decode=LOSS, in_index=1)
    assert picked((small, large)).shape == (1, 3, 8, 8)
    joined = DeepLabV2Head(
        [2, 5],
        num_classes=3,
        loss_decode=LOSS,
        in_index=[0, 1],
        input_transform='resize_concat',
    )
    assert joined.branches[0].in_channels == 7
    assert joined((small, large)).shape == (1, 3, 4, 4)


def test_undecided_pixels_take_no_part():
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    head = make_head()
    logits = torch.randn(1, 3, 4, 4)
    labels = torch.full((1, 4, 4), 255)
    labels[0, 0, :2] = torch.tensor([1, 2])
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    loss = head.loss_by_feat(logits, [sample])['loss_ce']
    log_p = logits.log_softmax(1)[0]
    expected = -(log_p[1, 0, 0] + log_p[2, 0, 1]) / 2
    torch.testing.assert_close(loss, expected)


def test_head_is_built_in_the_scope_of_mmseg():
    head = MMSEG_MODELS.build(
        dict(
            type='mmwsss.DeepLabV2Head', in_channels=4, num_classes=3, loss_decode=LOSS
        )
    )
    assert isinstance(head, DeepLabV2Head)


@pytest.mark.parametrize('dilations', [(), (0, 6)])
def test_dilations_are_checked(dilations):
    with pytest.raises(ConfigError, match='dilations: expected one or more'):
        make_head(dilations=dilations)


@pytest.mark.parametrize('name', ['channels', 'norm_cfg', 'act_cfg', 'conv_cfg'])
def test_settings_without_effect_are_refused(name):
    with pytest.raises(ConfigError, match=f'nothing that {name} would change'):
        make_head(**{name: None})


def test_several_maps_are_refused():
    with pytest.raises(ConfigError, match='reads one feature map'):
        make_head(input_transform='multiple_select')


def test_mistyped_setting_is_refused():
    with pytest.raises(TypeError, match='dropout_rato'):
        make_head(dropout_rato=0.1)
