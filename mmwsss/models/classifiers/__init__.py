"""Classifiers that localize what they recognize."""

from mmwsss.models.classifiers.acr import ACRClassifier
from mmwsss.models.classifiers.base import Localization, WSSSClassifier

__all__ = ['ACRClassifier', 'Localization', 'WSSSClassifier']
