"""Networks that tell which near pixels belong together."""

from mmwsss.models.affinity.base import AffinityNetwork

__all__ = ['AffinityNetwork']
