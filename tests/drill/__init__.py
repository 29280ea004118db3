"""The drill: nights against a made-up Foursquare, by seed, with faults at every seam.

A world is a few users whose histories change, a database of its own, and nights 24 hours apart:
first stormy ones, then calm ones for everything to settle, then two through the real command line.
After each night it is looked at whether anything was lost, doubled, wrongly gone, blocked or told.
It sees the program from outside: its commands, its tables, and what Foursquare was asked.
"""
