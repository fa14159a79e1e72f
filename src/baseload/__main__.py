"""`python -m baseload` is the command `baseload`."""

from baseload.cli import main

if __name__ == "__main__":
    main()
