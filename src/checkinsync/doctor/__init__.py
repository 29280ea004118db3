"""Checks everything that a night depends on, and says what to do about what it finds."""
