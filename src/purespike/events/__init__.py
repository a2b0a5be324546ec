"""Event cameras: files of events, frames of their counts, a simulated camera, and a noise filter."""

from purespike.events.binning import Binning
from purespike.events.filter import BackgroundActivityFilter
from purespike.events.formats import EVENT, as_events
from purespike.events.gestures import Gesture, read_gesture_labels, read_gestures
from purespike.events.readers import read_aedat2, read_aedat3, read_events, read_nmnist, read_numpy
from purespike.events.simulator import Camera, Path, saccades

__all__ = [
    "EVENT",
    "BackgroundActivityFilter",
    "Binning",
    "Camera",
    "Gesture",
    "Path",
    "as_events",
    "read_aedat2",
    "read_aedat3",
    "read_events",
    "read_gesture_labels",
    "read_gestures",
    "read_nmnist",
    "read_numpy",
    "saccades",
]
