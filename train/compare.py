"""Compare memories: cores × learning rates × seeds on one environment; the same as ``memagents compare``."""

from memagents.command_line.compare import main

if __name__ == "__main__":
    main()
