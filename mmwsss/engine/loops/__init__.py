"""Training loops."""

from mmwsss.engine.loops.resumable_epoch_loop import ResumableEpochLoop

__all__ = ['ResumableEpochLoop']
