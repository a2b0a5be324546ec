"""Event files written byte by byte, as their formats are described."""

import struct


def nmnist(events, *, wraps=()):
    """Events (x, y, t, p); before those at the places ``wraps`` stands a record of 2¹³ µs."""
    content, past = b"", 0
    for place, (x, y, t, p) in enumerate(events):
        if place in wraps:
            content += bytes((0, 240, 0, 0, 0))
            past += 2**13
        content += bytes((x, y)) + ((p << 23) | (t - past)).to_bytes(3, "big")
    return content


def aedat2(events, *, header=b"#!AER-DAT2.0\r\n# made by hand\r\n", special=()):
    """Events in the coordinates of jAER's DVS128: columns from the right, rows from the bottom, 0 for ON."""
    content = header
    for place, (x, y, t, p) in enumerate(events):
        address = ((127 - y) << 8) | ((127 - x) << 1) | (1 - p) | (0x8000 if place in special else 0)
        content += struct.pack(">II", address, t)
    return content


def aedat3_packet(events, *, kind=1, overflow=0, invalid=(), capacity=None):
    content = struct.pack(
        "<hhiiiiii", kind, 1, 8, 4, overflow, capacity or len(events), len(events), len(events) - len(invalid)
    )
    for place, (x, y, t, p) in enumerate(events):
        content += struct.pack("<Ii", x << 17 | y << 2 | p << 1 | (place not in invalid), t)
    return content


def aedat3(*packets):
    return b"#!AER-DAT3.1\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n" + b"".join(packets)
