"""A simulated Foursquare for demo, tests and benchmarks; it shares nothing with the house but HTTP."""
