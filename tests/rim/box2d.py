"""Box2D, loaded before any test: its extension warns while it loads, and cannot bear an error."""

import importlib
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    importlib.import_module("Box2D")
