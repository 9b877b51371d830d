"""Pixel features enriched by what is known of the classes."""

from mmwsss.models.aggregators.prototype_aggregator import PrototypeAggregator
from mmwsss.models.aggregators.released_aggregator import ReleasedAggregator

__all__ = ['PrototypeAggregator', 'ReleasedAggregator']
