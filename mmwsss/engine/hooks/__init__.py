"""Hooks: they decide when, a method of the model or loop does it."""

from mmwsss.engine.hooks.counted_randomness_hook import CountedRandomnessHook
from mmwsss.engine.hooks.finite_loss_hook import FiniteLossHook
from mmwsss.engine.hooks.map_accumulation_hook import MapAccumulationHook
from mmwsss.engine.hooks.prototype_refresh_hook import PrototypeRefreshHook
from mmwsss.engine.hooks.region_memory_hook import RegionMemoryHook
from mmwsss.engine.hooks.training_pictures_hook import TrainingPicturesHook

__all__ = [
    'CountedRandomnessHook',
    'FiniteLossHook',
    'MapAccumulationHook',
    'PrototypeRefreshHook',
    'RegionMemoryHook',
    'TrainingPicturesHook',
]
