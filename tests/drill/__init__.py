"""The drill: nights against a simulated Foursquare, by seed, with faults at every seam.

A world is a few users whose histories change, a database of its own, and nights 24 hours apart:
first stormy ones, then calm ones for everything to settle, then two through the real command line.
After each night the drill checks that nothing was lost, doubled, wrongly deleted, blocked or
leaked. It sees the program from outside: its commands, its tables and its requests.
"""
