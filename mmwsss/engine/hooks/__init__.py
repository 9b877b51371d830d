"""Hooks: they decide when, a method of the model or loop does it."""

from mmwsss.engine.hooks.counted_randomness_hook import CountedRandomnessHook

__all__ = ['CountedRandomnessHook']
