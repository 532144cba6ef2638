"""`python -m migrator`: the command line as a module."""

import sys

from migrator.quick import main

if __name__ == "__main__":
    sys.exit(main())
