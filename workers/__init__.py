"""Celery workers: claim steps, carry them out, and sweep up what was lost."""
