"""What a caller may ask of the engine, as frozen msgspec structures that travel as JSON.

Leaves: these modules import nothing of ours. Sizes are bytes, durations seconds, unless a docstring says otherwise.
"""
