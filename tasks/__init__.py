"""Celery's door: one Celery task per verb, each a few lines over a Coordinator."""
