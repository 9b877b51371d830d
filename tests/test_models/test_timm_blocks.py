"""A block cut open against timm's own: results, gradients, and what is kept."""

import pytest
import torch
from model_builders import redraw
from timm.models.vision_transformer import Block

from mmwsss.models.backbones.timm_blocks import run_block

WIDTH, HEADS, TOKENS = 12, 3, 7
OPTIONS = [
    {},
    dict(qk_norm=True, init_values=0.5),
    dict(proj_drop=0.0, qkv_bias=True, scale_mlp_norm=True),
]


def block_of(**options):
    return redraw(Block(WIDTH, HEADS, **options), seed=3).double()


def tokens():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    return drawn.requires_grad_()


@pytest.mark.parametrize('options', OPTIONS)
def test_output_and_gradients_equal_timm(options):
    block, entering = block_of(**options).train(), tokens()
    leaves = [entering, *block.parameters()]
    weight = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
    outputs = run_block(block, entering)[0], block(entering)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-13)
    gradients = [torch.autograd.grad(output, leaves, weight) for output in outputs]
    for got, want in zip(*gradients):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_dropout_of_the_mlp_draws_once_for_both_passes():
    block, entering = block_of(proj_drop=0.5).train(), tokens()
    torch.manual_seed(5)
    output, _ = run_block(block, entering)
    got = torch.autograd.grad(output.square().sum(), entering)[0]
    torch.manual_seed(5)
    want = torch.autograd.grad(block(entering).square().sum(), entering)[0]
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def kept_values(block, run):
    """Count the values that the backward pass of a block keeps, weights aside."""
    own = {p.untyped_storage().data_ptr() for p in block.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run(tokens())
    assert result is not None
    return sum(t.untyped_storage().nbytes() for t in kept.values()) // 8


def test_norms_activations_and_matrices_are_not_kept():
    block = block_of().train()
    kept = kept_values(block, lambda x: run_block(block, x))
    token = 2 * TOKENS * WIDTH
    # what enters, query, key, value, context, both residual sums, the MLP's hidden
    # layer before its activation: 1 + 3 + 1 + 1 + 4, and less than one for the rest
    assert 10 * token <= kept < 11 * token
    block.attn.fused_attn = False
    assert kept_values(block, block) > 16 * token
