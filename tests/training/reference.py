"""What an epoch of training meets, computed again without the loop."""

from types import SimpleNamespace

import numpy as np
import torch

from purespike.data import augment
from purespike.models.predict import as_float
from purespike.training import build_classifier
from purespike.training.batches import batches


def soft_labels_after_an_epoch(settings, data, *, seed, world, copies=1):
    """S after the first epoch of a network that does not move, from what each process sees of it.

    TRADES passes two copies at once, of which the first counts.
    """
    model = build_classifier(settings, data, seed=seed).train()
    images, labels = data.train.images, data.train.labels
    right = [[] for _ in range(data.train.num_classes)]
    for rank in range(world):
        processes = SimpleNamespace(num_processes=world, process_index=rank)
        for rows, augmentation in batches(len(images), settings, seed=seed, epoch=1, accelerator=processes):
            with torch.no_grad():
                shown = as_float(augment(images[rows], augmentation))
                logits = model(torch.cat([shown] * copies))[: len(rows)].double().numpy()
            for row, label in zip(logits, labels[rows].tolist(), strict=True):
                if row.argmax() == label:
                    powers = np.exp(row - row.max())
                    right[label].append(powers / powers.sum())
    classes = data.train.num_classes
    return np.array([np.mean(found, axis=0) if found else np.full(classes, 1 / classes) for found in right])
