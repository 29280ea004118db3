"""A simulated Foursquare for demo, tests and benchmarks; it shares nothing but HTTP with us."""
