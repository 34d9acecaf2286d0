"""Engines that compile a transition and loop it."""
