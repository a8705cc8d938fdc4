"""What the documents state with numbers is what the code does."""

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import numpy as np

from hmdf.sim import reference
from hmdf.sim.contract import HybridFiring, Linear, Message, Population, Port, Synapse
from hmdf.sim.program import Input, Preprocessing, Program, Readout

ROOT = Path(__file__).parents[1]
NUMERICS = (ROOT / "docs" / "numerics.md").read_text()


def rows(section: str) -> list[list[str]]:
    """Cells of every table row below a heading of docs/numerics.md."""
    text = NUMERICS.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_neuron_computed_by_hand():
    """Accumulators, currents, membranes and messages of the example in docs/numerics.md."""
    table = rows("Example: one neuron, three steps")
    value = {name: int(number) for name, number in (r for r in table if len(r) == 2) if number.lstrip("-").isdigit()}
    steps = [[int(cell) for cell in row] for row in table if len(row) == 7 and row[0].isdigit()]
    assert len(steps) == 3
    column = dict(zip(("t", "acc", "I", "leaked", "m", "y", "v"), np.array(steps).T, strict=True))

    def parameter(name: str) -> np.ndarray:
        return np.array([[value[name]]])

    one = np.ones((1, 1), np.int8)
    port = Port("acc", parameter("multiplier"), value["shift"])
    neuron = HybridFiring(parameter("leak"), value["leak_shift"], parameter("threshold"), value["spike_shift"])
    spike = Message(value["message bits"], False, 0.25)
    program = Program(
        time_steps=3,
        state_bits=value["state_bits"],
        accumulator_bits=24,
        input=Input((1,), Message(16, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("acc", "input", Linear(one, 1)),
            Population("neuron", (1,), (port,), parameter("bias"), neuron, spike),
            Synapse("head", "neuron", Linear(one, 1)),
        ),
        readout=Readout("head", np.zeros(1, np.int64), 1.0),
    )
    taps = reference.run(program, column["acc"].reshape(1, 3, 1))
    assert taps.messages["neuron"][0, :, 0].tolist() == column["y"].tolist()
    assert taps.saturations["neuron"].tolist() == [0, 1]
    assert taps.logits.tolist() == [[column["y"].sum()]]

    population = program.by_name["neuron"]
    neurons = reference.neurons_of(population, value["state_bits"], samples=1)
    for t in range(3):
        arrived = {"acc": column["acc"][t].reshape(1, 1)}
        assert reference.current_of(population, t, arrived, neurons).item() == column["I"][t]
        reference.step(population, t, arrived, neurons)
        assert neurons.state["v"].item() == column["v"][t]
        assert column["m"][t] == column["I"][t] + column["leaked"][t]


LM_H = "LM-H eq. 4, 7", "LM-H eq. 10", "LM-H eq. S1, S2"


def test_the_equations_of_the_papers_are_where_the_architecture_says():
    """Every `file.py:name` of the table exists, and its file names the equation."""
    document = (ROOT / "docs" / "architecture.md").read_text()
    section = document.split("\n## The equations of the papers\n")[1].split("\n## ")[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if re.match(r"\| (LM-H )?(eq|fig)\.", line)]
    equations = [row[0].partition(":")[0].strip() for row in table]
    assert equations == ["eq. 3", "eq. 4", "eq. 5", "eq. 6", "eq. 7", "eq. 8, 9", "fig. 2a", *LM_H]
    for equation, row in zip(equations, table, strict=True):
        places = re.findall(r"`([\w/]+)\.py:([\w.]+)`", "|".join(row[1:]))
        assert places, equation
        kind, number = re.fullmatch(r".*(eq|fig)\. (?:.* )?(\w+)", equation).groups()
        for path, name in places:
            assert attrgetter(name)(import_module("hmdf." + path.replace("/", "."))), (path, name)
            text = (ROOT / f"{path}.py").read_text()
            assert re.search(rf"{kind}\..{{0,12}}\b{number}\b", text), f"{path}.py does not name {equation}"


def test_links_between_documents_lead_somewhere():
    for document in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))):
        text = document.read_text()
        headings = {anchor(h) for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, fragment = target.partition("#")
            if file.startswith(("http:", "https:")):
                continue
            assert not file or (document.parent / file).exists(), f"{document.name}: {target}"
            assert file or fragment in headings, f"{document.name}: {target}"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
