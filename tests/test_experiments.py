"""The page of the experiments says what their results say."""

import re

import pytest

from tests.experiments.report import PAGE, ROOT, TABLES, page, results_of, runs
from tests.experiments.run import EXPERIMENTS

TEXT = (ROOT / "docs/experiments.md").read_text()
RUN = {
    "quick": False, "processor": "a processor", "torch": "2", "revision": "1234567", "date": "2000-01-01",
    "arguments": ["--seeds", "5"], "processor seconds": 60.4,
}  # fmt: skip


def test_every_table_is_written_and_every_experiment_is_a_script():
    names = re.findall("<!-- table: (.*) -->", TEXT)
    assert sorted(names) == sorted([*TABLES, "runs"]) and TEXT.count("<!-- end -->") == len(names)
    for name, (_, pictures, script) in EXPERIMENTS.items():
        assert (ROOT / f"examples/{script or name}.py").exists()
        assert all((PAGE / f"{picture}.png").exists() for picture in pictures)
    assert {experiment for experiment, _ in TABLES.values()} <= set(EXPERIMENTS)
    assert {path.stem for path in PAGE.glob("*.json")} <= set(EXPERIMENTS)


def test_the_page_is_of_its_results():
    """Nothing on it is older than the results beside it; without results nothing changes."""
    assert page(TEXT, {}) == TEXT
    assert page(TEXT, results_of(PAGE)) == TEXT


def test_a_table_takes_its_figures_from_results_and_leaves_the_rest():
    row = {"strength": 0.3, "energy_distance": {"mean": 0.1234, "std": 0.01}}
    table = {"none": row | {"strength": 0.0}, "Ricci": row | {"minus_none": {"mean": -0.01, "half_width": 0.02}}}
    found = {"claims": {"run": RUN, "results": {"matching Ricci": {"table": table}}}}
    new = page(TEXT, found)
    assert "| nothing | 0 | 0.123 ± 0.010 |  |\n| Ricci | 0.3 | 0.123 ± 0.010 | -0.010 ± 0.020 |" in new
    assert "| `claims.py --seeds 5` | 60 | 1234567 | 2000-01-01 |" in new and runs(found) in new
    strip = lambda text: re.sub("<!-- table: (claims.*|runs) -->.*?<!-- end -->", "", text, flags=re.DOTALL)
    assert strip(new) == strip(TEXT)
    with pytest.raises(ValueError, match="has a table 'tides', which nothing writes"):
        page(TEXT + "\n<!-- table: tides -->\n\nx\n\n<!-- end -->\n", {})
