"""The trainer against Stable-Baselines3: does it learn the same, and how much faster is it?

`learning.py` compares what both learn, `speed.py` how long both take.  Neither needs the package to be
installed: run them with the repository's root as PYTHONPATH.
"""
