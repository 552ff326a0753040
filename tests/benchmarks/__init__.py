"""What curvature costs, beside the peers and against targets: `make bench` writes `docs/benchmarks.md`.

A *side* is a package that is measured: one file of `sides/`, whose functions are problems. A problem takes arrays and
returns a function of no arguments that does the work. Lines `# pip install …` of the file make the side's own virtual
environment, `.peers/NAME`. The cases are in `test_costs.py`.
"""
