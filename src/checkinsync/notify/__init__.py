"""Tells an operator and their monitoring how a run went; never changes how it went."""
