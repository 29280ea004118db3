"""Settings: read from the environment and a file, validated, and reported all at once."""
