"""Verification: a user's whole history compared with Foursquare, id by id."""
