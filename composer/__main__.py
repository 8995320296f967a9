"""`python -m composer`."""

from composer.cli.main import script

if __name__ == "__main__":
    script()
