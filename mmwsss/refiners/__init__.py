"""From localization maps, image and tags to a pseudo label."""

from mmwsss.refiners.base import Refiner
from mmwsss.refiners.build import build_refiner, refiner_names, refiner_type
from mmwsss.refiners.dense_crf_refiner import DenseCRFRefiner
from mmwsss.refiners.irn_refiner import IRNRefiner
from mmwsss.refiners.network_refiner import NetworkRefiner
from mmwsss.refiners.pamr import PAMRRefiner
from mmwsss.refiners.psa_refiner import PSARefiner
from mmwsss.refiners.saliency_refiner import SaliencyRefiner
from mmwsss.refiners.threshold import ThresholdRefiner

__all__ = [
    'DenseCRFRefiner',
    'IRNRefiner',
    'NetworkRefiner',
    'PAMRRefiner',
    'PSARefiner',
    'Refiner',
    'SaliencyRefiner',
    'ThresholdRefiner',
    'build_refiner',
    'refiner_names',
    'refiner_type',
]
