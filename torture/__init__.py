"""What must not happen, tried many times: ``python -m torture --help``, from the root of a checkout.

Processes are killed, files damaged, disks filled up, and names chosen to do harm; docs/reliability.md says
which promises are tried, and holds the figures. Every random choice comes from the seed and the name of its
case, so that ``--case NAME`` repeats one.
"""
