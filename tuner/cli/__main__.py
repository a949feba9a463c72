"""The command ``tuner`` where its script is not on the path: ``python -m tuner.cli``."""

from tuner.cli import main

if __name__ == "__main__":
    main()
