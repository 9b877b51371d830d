# ACR: how maps are read off the same weights, with and without consistency.
title = 'ACR: map kinds, first block and affinity'
protocol = 'configs/_base_/studies/voc.py'
config = 'configs/acr/hybrid_lite0_voc.py'
baseline = 'without consistency'
cells = [
    dict(
        label='without consistency',
        options={'model.consistency.alpha': 0.0, 'model.consistency.beta': 0.0},
    ),
    dict(label='with consistency'),
]
variants = {
    f'{kind}, from block {block}{", affinity" if affinity else ""}': {
        'model.localization.kind': kind,
        'model.localization.start_block': block,
        'model.localization.affinity': affinity,
    }
    for kind, block in (
        ('grad', 0),
        ('grad', 1),
        ('grad_s', 0),
        ('cam_grad', 0),
        ('cam_grad_s', 0),
    )
    for affinity in (False, True)
}
