"""The values that the other packages hand to each other: frozen and pure."""
