"""The chains of one run."""
