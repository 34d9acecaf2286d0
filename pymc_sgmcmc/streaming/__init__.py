"""Rows that stay on disk: what may hold them, and how they are read."""
