"""LargeFOV's head against the layers of its paper, written out."""

import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.decode_heads import LargeFOVHead

LOSS = dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True)


def make_head(**options):
    settings = dict(num_classes=4, loss_decode=LOSS, in_index=0, channels=6)
    return LargeFOVHead(3, **{**settings, **options})


@pytest.mark.parametrize('dilation', [1, 5, 12])
def test_logits_are_fc6_fc7_fc8(dilation):
    torch.manual_seed(0)
    head = make_head(dilation=dilation).double().eval()
    features = torch.randn(2, 3, 15, 13, dtype=torch.float64)
    weights = {name.split('.')[0]: [] for name in head.state_dict()}
    for name, value in head.state_dict().items():
        value.normal_()
        weights[name.split('.')[0]].append(value)
    fc6, bias6, fc7, bias7 = weights['convs']
    assert (fc6.shape, fc7.shape) == ((6, 3, 3, 3), (6, 6, 1, 1))
    hidden = F.conv2d(features, fc6, bias6, padding=dilation, dilation=dilation).relu()
    hidden = F.conv2d(hidden, fc7, bias7).relu()
    expected = F.conv2d(hidden, *weights['conv_seg'])
    torch.testing.assert_close(head((features,)), expected)


def test_sizes_of_the_paper():
    head = LargeFOVHead(512, num_classes=21, loss_decode=LOSS, in_index=0)
    count = sum(weight.numel() for weight in head.parameters())
    assert count == 1024 * (9 * 512 + 1) + 1024 * 1025 + 21 * 1025
    assert head.convs[0].conv.dilation == (12, 12)
    assert [m.p for m in head.modules() if isinstance(m, torch.nn.Dropout2d)] == [
        0.5
    ] * 2


def test_dropout_falls_on_both_layers():
    torch.manual_seed(0)
    head = make_head(dropout_ratio=0.999999).train()
    with torch.no_grad():
        for value in head.state_dict().values():
            value.fill_(1.0)
    # all of fc6 and fc7 dropped: the classifier's bias is left
    found = head((torch.ones(1, 3, 4, 4),))
    assert torch.equal(found, torch.ones(1, 4, 4, 4))


def test_every_weight_gets_a_gradient():
    head = make_head()
    head((torch.randn(2, 3, 8, 8),)).sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())


def test_unknown_argument():
    with pytest.raises(TypeError, match='dilations'):
        make_head(dilations=3)
