"""The compose specification's JSON schema, and a compiler from JSON schema to functions that check a tree."""
