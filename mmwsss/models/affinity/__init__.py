"""Networks that tell which near pixels belong together."""

from mmwsss.models.affinity.base import AffinityNetwork
from mmwsss.models.affinity.irn import IRNetwork
from mmwsss.models.affinity.psa import PSANetwork

__all__ = ['AffinityNetwork', 'IRNetwork', 'PSANetwork']
