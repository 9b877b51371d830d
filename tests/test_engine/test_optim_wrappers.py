import pytest
import torch
from torch import nn

from mmwsss.registry import OPTIM_WRAPPERS

CASES = [('Bf16OptimWrapper', torch.bfloat16), ('OptimWrapper', torch.float32)]


@pytest.mark.parametrize(('kind', 'dtype'), CASES)
def test_forward_is_autocast_and_weights_are_not(kind, dtype):
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build(dict(type=kind, optimizer=optimizer))
    start, inputs = model.weight.detach().clone(), torch.randn(3, 8)
    with wrapper.optim_context(model):
        output = model(inputs)
    assert output.dtype == dtype
    assert model(inputs).dtype == torch.float32
    wrapper.update_params(output.float().sum())
    # The gradient of the sum is the sum of the inputs, for each output.
    expected = start - 0.5 * inputs.sum(0)
    torch.testing.assert_close(
        model.weight.detach(), expected.expand(4, 8), rtol=2e-2, atol=2e-2
    )


def test_mistyped_key():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1)
    with pytest.raises(TypeError, match='accumulate'):
        OPTIM_WRAPPERS.build(
            dict(type='Bf16OptimWrapper', optimizer=optimizer, accumulate=2)
        )
