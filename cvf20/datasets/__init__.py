"""The data sets, each one a SegmentationDataset."""
# ruff: noqa: F401

from cvf20.datasets.base import SegmentationDataset
from cvf20.datasets.msrc import MSRC
from cvf20.datasets.nuclei import Nuclei
from cvf20.datasets.penn_fudan import PennFudan
from cvf20.datasets.stanford_background import StanfordBackground
from cvf20.datasets.weight_maps import WithWeightMaps
from cvf20.datasets.yeast_colonies import YeastColonies
from cvf20.datasets.yeast_movie import YeastMovie
