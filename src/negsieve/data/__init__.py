"""Strict ingest, cleaning, splitting: from somebody's log to a ``Dataset``."""
