"""The documentation as a site: what MkDocs is given, and what is checked of it. ``make docs`` builds it."""
