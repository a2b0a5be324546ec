"""Labelled images: sources, splits, and the order and augmentation of training."""

from purespike.data.batches import Augmentation, augment, draw_augmentation, epoch_order, shard
from purespike.data.given import given_images
from purespike.data.image_set import Data, ImageSet
from purespike.data.roles import attacker_data, defender_data, labelled_for, overlap, validation_data
from purespike.data.sources import data_source, load_data, load_images

__all__ = [
    "Augmentation",
    "Data",
    "ImageSet",
    "attacker_data",
    "augment",
    "data_source",
    "defender_data",
    "draw_augmentation",
    "epoch_order",
    "given_images",
    "labelled_for",
    "load_data",
    "load_images",
    "overlap",
    "shard",
    "validation_data",
]
