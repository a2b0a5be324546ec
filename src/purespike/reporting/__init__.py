"""What a run found, shown to people: tables, figures and one self-contained page.

Reads result files, never a model: ``tables`` (console, Markdown), ``figures`` (matplotlib), ``page`` (HTML).
Import these modules themselves; this one stays empty because matplotlib is slow to import.
"""
