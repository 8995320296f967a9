"""One group's containers, opened for changes: implements composer's port together with engine.api.

    create ─▶ start ─▶ (exits) ─▶ stop ─▶ remove
Each operation is a file; `session.py` holds what they share and is the object the caller gets.
"""
