"""Speed and memory against peers: ``python -m benchmarks --help``, from the root of a checkout.

Every figure is a ratio of two things measured in the same run, one after the other, many times over; absolute
times are noise on a shared machine. Every row first checks that both sides compute the same thing.
"""
