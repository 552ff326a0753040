"""`python -m riemann`, the same as the command `riemann`."""

import sys

from riemann._cli import main

if __name__ == "__main__":
    sys.exit(main())
