"""Imports every active user's new Foursquare check-ins into PostgreSQL, and loses none."""

__version__ = "0.1.0"
