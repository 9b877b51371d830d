"""A config of ACR that trains in milliseconds, for tests that need a real run."""

from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).parents[1]
SIDE = 32

TEXT = """
_base_ = {base!r}
splits = 'ImageSets/Segmentation'
train_pipeline = [
    dict(type='CountedRandomness'),
    dict(type='LoadImage'),
    dict(type='RandomResize', scale=({side}, {side}), ratio_range=(1.0, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=({side}, {side})),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=({side}, {side}), keep_ratio=False),
    dict(type='LoadMask'),
    dict(type='TagsFromMask'),
    dict(type='PackWSSSInputs'),
]
test_dataset = dict(
    data_root={root!r}, ann_file=f'{{splits}}/train.txt', pipeline=test_pipeline
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='AttentionViT',
        arch=dict(
            embed_dim=24,
            depth=2,
            num_heads=2,
            patch_size=8,
            pos_drop_rate=0.1,
            proj_drop_rate=0.1,
            drop_path_rate=0.2,
        ),
        img_size={side},
    ),
    view=[
        dict(type='DihedralView', elements=('rot90', 'rot180', 'rot270')),
        dict(type='PatchHidingView', probability=0.3),
    ],
)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    **loader,
    batch_size=2,
    dataset=dict(
        data_root={root!r},
        ann_file=f'{{splits}}/train.txt',
        tag_file=f'{{splits}}/train_tags.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = None
val_evaluator = None
val_cfg = None
test_dataloader = dict(**loader, dataset=test_dataset)
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=1))
"""


def write_tiny_config(folder, voc_root, *, extra=''):
    """Write the config; ``extra`` is Python text behind it."""
    path = Path(folder) / 'tiny.py'
    base = str(ROOT / 'configs/acr/small_hybrid_voc.py')
    path.write_text(TEXT.format(base=base, root=str(voc_root), side=SIDE) + extra)
    return path


def tiny_config(folder, voc_root, **options):
    """Read the tiny config with options, by dotted key with ``__`` for dots."""
    config = Config.fromfile(write_tiny_config(folder, voc_root))
    config.work_dir = str(Path(folder) / 'work')
    config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    return config


def without_slow_logging(monkeypatch):
    """Leave out what mmengine spends most of a tiny run on."""
    # It asks compilers for their versions.
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    # It lays out the config's text for every checkpoint.
    as_it_is = lambda code, **_: (code, True)
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', as_it_is)
