"""The pages: what people look at, made on the server from the same functions as the REST answers.

`door.py` finds out who asks, `render.py` puts a page together, `charts.py` draws, and each further file
is one page.  Everything works without a script but the live feed and charts that can be zoomed.
"""

from api.pages.site import router

__all__ = ["router"]
