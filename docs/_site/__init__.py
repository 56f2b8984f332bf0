"""What Sphinx does not bring: see ``docs/conf.py``."""
