"""The operator's page: nights and users at a glance, in one file without requests."""
