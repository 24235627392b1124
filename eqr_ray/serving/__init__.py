"""An endpoint that thinks as long as a puzzle needs, and a page that shows it thinking.

Ray is imported in `app.py` alone: the FastAPI app of `http.py` runs under any ASGI server, with or without Ray.
"""
