"""A page to play with: an attack on an image, step by step, on a classifier bare and behind purifiers.

:class:`Session` is the work behind the page and needs no gradio; ``purespike.demo.serving`` shows it.
"""

from purespike.demo.attacker import Attacker
from purespike.demo.lineup import Lineup, line_up
from purespike.demo.moments import Climb, Moment
from purespike.demo.session import Session
from purespike.demo.views import View

__all__ = ["Attacker", "Climb", "Lineup", "Moment", "Session", "View", "line_up"]
