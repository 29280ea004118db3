"""Other ways of bringing the same check-ins home; each file runs in an environment of its own."""
