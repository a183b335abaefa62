"""`python -m kebyt5`, for launchers that take a module."""

from kebyt5.cli import main

if __name__ == "__main__":
    main()
