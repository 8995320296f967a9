"""How Docker presents containers and other objects, for commands and the API. Pure: no engine, no terminal."""
