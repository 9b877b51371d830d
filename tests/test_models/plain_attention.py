"""The transformer and ACR's maps once more, whole matrices and plain autograd."""

import torch
import torch.nn.functional as F

RULES = {
    'grad': lambda g, a: g.relu().mean(0),
    'grad_s': lambda g, a: g.relu().mean(0) ** 2,
    'cam_grad': lambda g, a: (g * a).relu().mean(0),
    'cam_grad_s': lambda g, a: (g * a).relu().mean(0) * g.relu().mean(0),
}

# how a map (rows, columns) of a view is turned back, with torch's other functions
TURN_BACK = {
    'identity': lambda m: m,
    'hflip': torch.fliplr,
    'vflip': torch.flipud,
    'rot180': lambda m: torch.rot90(m, 2),
    'transpose': lambda m: m.T,
    'antitranspose': lambda m: torch.rot90(m, 2).T,
    'rot90': lambda m: torch.rot90(m, -1),
    'rot270': lambda m: torch.rot90(m, 1),
}
TURN = TURN_BACK | {
    'rot90': TURN_BACK['rot270'],
    'rot270': TURN_BACK['rot90'],
}


def plain_forward(vit, head, images):
    """Logits (B, C) and attention (B, H, N, N) of every block, all with graph."""
    tokens, attentions = vit.embed(images), []
    for block in vit.vit.blocks:
        batch, count, width = tokens.shape
        heads = block.attn.num_heads
        packed = block.attn.qkv(block.norm1(tokens))
        query, key, value = packed.view(batch, count, 3, heads, width // heads).permute(
            2, 0, 3, 1, 4
        )
        scores = query @ key.mT / (width // heads) ** 0.5
        attention = scores.exp() / scores.exp().sum(-1, keepdim=True)
        attentions.append(attention)
        context = (attention @ value).transpose(1, 2).reshape(batch, count, width)
        tokens = tokens + block.attn.proj(context)
        tokens = tokens + block.mlp(block.norm2(tokens))
    return head(tokens[:, 0]), attentions


def plain_gradients(vit, head, image, index):
    """d y_c / d A_t of one image (3, H, W): per block (H, N, N), and attention."""
    with torch.enable_grad():
        logits, attentions = plain_forward(vit, head, image[None])
        gradients = torch.autograd.grad(logits[0, index], attentions)
    return [g[0] for g in gradients], [a[0].detach() for a in attentions]


def plain_view_map(vit, head, image, index, *, kind, start_block, affinity):
    """One class's map (gh, gw) of one image, on its own grid."""
    gradients, attentions = plain_gradients(vit, head, image, index)
    blocks = [RULES[kind](g, a)[0, 1:] for g, a in zip(gradients, attentions)]
    values = sum(blocks[start_block:])
    if affinity:
        values = sum(a.mean(0)[1:, 1:] for a in attentions) @ values
    rows, columns = (side // vit.stride for side in image.shape[1:])
    return values.view(rows, columns)


def plain_maps(vit, head, image, classes, *, views, scales=(1.0,), **rule):
    """Sum over views and scales, (k, gh, gw)."""
    grid = tuple(side // vit.stride for side in image.shape[1:])
    total = torch.zeros(len(classes), *grid, dtype=image.dtype)
    for scale in scales:
        size = [max(1, round(g * scale)) * vit.stride for g in grid]
        scaled = image
        if scale != 1:
            scaled = F.interpolate(
                image[None], size, mode='bilinear', antialias=True, align_corners=False
            )[0]
        for name in views:
            view = torch.stack([TURN[name](channel) for channel in scaled])
            for k, index in enumerate(classes):
                found = plain_view_map(vit, head, view, index, **rule)
                back = TURN_BACK[name](found)[None, None]
                if back.shape[2:] != grid:
                    back = F.interpolate(back, grid, mode='bilinear')
                total[k] += back[0, 0]
    return total
