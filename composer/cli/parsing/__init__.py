"""The command line as text: which commands there are, their flags, their help."""
