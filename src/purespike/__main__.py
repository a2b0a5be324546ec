"""``python -m purespike``, and with it ``accelerate launch -m purespike``."""

from purespike.cli import main

main()
