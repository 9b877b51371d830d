# A small hybrid from scratch (ResNet-18 stem, two blocks) for CPU runs on few images.
_base_ = 'vit_hybrid_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='AttentionViT',
        arch=dict(embed_dim=192, depth=2, num_heads=4),
        img_size=384,
        stem=dict(model_name='resnet18', out_index=3),
    ),
    localization=dict(start_block=0),
)
