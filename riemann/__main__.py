"""`python -m riemann`, the same as the command `riemann`."""

from riemann._cli import run

if __name__ == "__main__":
    run()
