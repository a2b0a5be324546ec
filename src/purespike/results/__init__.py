"""What was measured, as types: read from and written to JSON, shown by reports; needs no torch."""
