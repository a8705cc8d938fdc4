"""The table of docs/lm-h.md: where each family of neurons fits, on the chips where they differ."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_is_what_the_compiler_says(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from experiments.families import FAMILIES, table

    found, document = table(["loihi1", "speck"]).splitlines(), (ROOT / "docs" / "lm-h.md").read_text("utf-8")
    assert found[0] == f"| chip | {' | '.join(FAMILIES)} |"
    assert found[2].endswith("| fits |")
    for row in found:
        assert f"\n{row}\n" in document
