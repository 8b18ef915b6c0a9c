"""The HTTP front door: uploads that are never lost, their validation, events, features by key.

May import sources, lake, online, schemas, settings and errors; the rest of the platform does not
import it, and it needs the extra ``service``. Begin with ``uploads.py`` (the protocol that makes an
upload accepted once) and ``app.py`` (what is served); ``docs/service.md`` tells it in prose.
"""
