"""Read files and the environment, and replace the variables."""
