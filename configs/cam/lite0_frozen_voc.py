# A linear CAM on frozen EfficientNet-Lite0; its features can be cached, see
# tools/cache_features.py and lite0_cached_voc.py.
_base_ = [
    '../_base_/models/cam_lite0_frozen.py',
    '../_base_/datasets/voc_train_288.py',
    '../_base_/schedules/lite0_8e.py',
    '../_base_/default_runtime.py',
]
seed_dataloader = dict(batch_size=16)
