"""`python -m msgrun`: the same as the command `msgrun`."""

from msgrun.cli.app import main

if __name__ == "__main__":
    main()
