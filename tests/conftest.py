"""What the tests share; each kind of fixture has a file of its own."""

pytest_plugins = ["fixtures_database", "fixtures_house", "fixtures_stories", "fixtures_web"]
