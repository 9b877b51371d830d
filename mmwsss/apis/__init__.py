"""Entry points for tools and for use from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmwsss.apis.inferencer import WSSSInferencer

__all__ = ['WSSSInferencer']


def __getattr__(name: str) -> Any:
    """Load the inferencer, and mmseg with it, when it is first asked for."""
    if name == 'WSSSInferencer':
        from mmwsss.apis.inferencer import WSSSInferencer

        return WSSSInferencer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
