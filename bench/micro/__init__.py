"""The micro level, by pytest-benchmark: ``python -m pytest bench/micro``."""
