"""Foursquare's API: the only rooms that know its addresses, errors and JSON."""
