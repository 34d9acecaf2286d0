"""Engines: they compile a potential and a dynamics, and run chains of them."""
