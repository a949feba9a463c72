"""Run the command ``tuner`` as ``python -m tuner.cli``, when its script is not on the path."""

from tuner.cli import main

if __name__ == "__main__":
    main()
