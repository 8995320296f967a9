"""What is shown of containers in Docker's words, by commands and by the API alike. Pure: no engine, no terminal."""
