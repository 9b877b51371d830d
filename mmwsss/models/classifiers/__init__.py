"""Classifiers that localize what they recognize."""

from mmwsss.models.classifiers.acr import ACRClassifier
from mmwsss.models.classifiers.base import Localization, WSSSClassifier
from mmwsss.models.classifiers.cam import CAMClassifier
from mmwsss.models.classifiers.composed import ComposedClassifier
from mmwsss.models.classifiers.rca import RCAClassifier
from mmwsss.models.classifiers.seam import SEAMClassifier

__all__ = [
    'ACRClassifier',
    'CAMClassifier',
    'ComposedClassifier',
    'Localization',
    'RCAClassifier',
    'SEAMClassifier',
    'WSSSClassifier',
]
