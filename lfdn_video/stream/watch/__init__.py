"""Viewers of a live session: a window and a web page. Both read a board (`stream/board.py`).

preview.py      the window: loop, keys, mouse     overlay.py   what is drawn in it
screen.py       check for a screen; a Qt workaround
web.py          the page: address, token, thread  web_app.py   its routes
web_access.py   the check of every request        guard.py     the rules behind it
web_viewer.py   the WebSocket of one page         page/        HTML, CSS, JavaScript
feed.py         frames for many viewers           stills.py    JPEG, PNG, snapshot names
health.py       live or stalled                   metrics.py   Prometheus
"""
