"""Shared network modules of the separators."""
