"""Variables in compose files: `expressions.py` replaces them in a text, `values.py` in the values of a tree."""
