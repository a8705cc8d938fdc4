"""Blocks of samples become the same whole in any order, in any number of processes, whatever is killed meanwhile."""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmdf.sim import storage
from hmdf.sim.simulator import Simulator
from hmdf.tools import cluster as dask_cluster
from hmdf.tools.simulation import blocks, remote
from hmdf.tools.simulation.blocks import Block, Totals, blocks_of, pack, run_block, unpack
from hmdf.tools.simulation.executors import Checks, Verifier
from hmdf.tools.simulation.feed import Feed
from hmdf.train.data import load

TIMING = ("timing", "run")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "FEWEST", 4)


@pytest.fixture(scope="module")
def cluster():
    """The address of two workers, one thread each, as `local:2` starts them."""
    pytest.importorskip("distributed")
    with remote.address_of("local:2") as address:
        yield address


def sim(call, program: Path, data: Path, *options: str) -> dict:
    """out.json of a run that succeeds, without what may differ."""
    outcome = call("sim", program, "--data", data, "--json", "out.json", *options)
    assert outcome.code == 0, outcome.err
    return {key: value for key, value in json.loads(Path("out.json").read_text()).items() if key not in TIMING}


def write_images(folder: Path, count: int) -> Path:
    pixels = load("digits", "test").inputs[:count, 0]
    for index, image in enumerate(pixels):
        path = folder / str(index % 2) / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(path)
    return folder


# ------------------------------------------------------------------------- blocks alone


def test_the_order_and_size_of_blocks_change_nothing(demo):
    program, data = storage.load(demo.program), load("digits", "test")
    feed, simulator = Feed.of(program, data), Simulator(1)
    verifier = Verifier(Checks(["reference"], 30), simulator)
    whole = simulator.simulate(program, feed.x(0, 50), labels=data.labels[:50])
    for size in (50, 7):
        parts = blocks_of(50, size)
        random.Random(0).shuffle(parts)
        totals = Totals(program, 50)
        for block in parts:
            packed = pack("key", block, run_block(feed, block, simulator, verifier))
            totals.add(*unpack(packed, "key"))
        np.testing.assert_array_equal(totals.predictions, whole.predictions)
        np.testing.assert_array_equal(totals.largest, np.sort(whole.logits, axis=1)[:, :-3:-1].T)
        counters = totals.counters()
        for name, one in whole.counters.synapses.items():
            np.testing.assert_array_equal(counters.synapses[name].sops_per_sample, one.sops_per_sample)
            assert counters.synapses[name].conventional_sops == one.conventional_sops
        assert totals.accuracy(data.labels[:50]) == whole.accuracy
        assert totals.compared["reference"].samples == 30
        assert totals.compared["reference"].bit_exact


def test_a_damaged_block_is_none(demo):
    program = storage.load(demo.program)
    simulator = Simulator(1)
    packed = pack("key", Block(0, 4), run_block(Feed.of(program, load("digits", "test")), Block(0, 4), simulator,
                                                Verifier(Checks([], 0), simulator)))  # fmt: skip
    assert unpack(packed, "key") is not None
    assert unpack(packed, "another") is None
    for place in range(0, len(packed), 41):
        assert unpack(packed[:place] + bytes([packed[place] ^ 4]) + packed[place + 1 :], "key") is None, place
        assert unpack(packed[:place], "key") is None


def test_a_run_goes_on_from_its_blocks(call, demo, tmp_path):
    expected = sim(call, demo.program, demo.data)
    assert sim(call, demo.program, demo.data, "--resume", "kept") == expected
    kept = sorted(Path("kept").glob("*.block"))
    assert len(kept) == 15
    kept[3].unlink()
    kept[5].write_bytes(kept[5].read_bytes()[:-9])
    outcome = call("sim", demo.program, "--data", demo.data, "--json", "out.json", "--resume", "kept")
    assert "13 of 15 blocks were finished before" in outcome.err
    assert sim(call, demo.program, demo.data, "--resume", "kept") == expected


def test_blocks_of_another_run_are_refused(call, demo):
    sim(call, demo.program, demo.data, "--resume", "kept", "--samples", "20")
    outcome = call("sim", demo.program, "--data", demo.data, "--samples", "20", "--resume", "kept",
                   "--verify", "reference")  # fmt: skip
    assert outcome.code == 3
    assert outcome.err == (
        "error: --resume kept: holds blocks of another run (verify was nothing, is reference on 20 samples); give the "
        "same program, data and options, or another folder\n"
    )


@pytest.mark.parametrize("options", [("--cluster", "local:0"), ("--cluster", "here"), ("--cluster", "local:two")])
def test_what_is_no_cluster(call, demo, options):
    outcome = call("sim", demo.program, "--data", demo.data, *options)
    assert outcome.code == 2
    assert "give local:N, or the address of a Dask scheduler" in outcome.err


# --------------------------------------------------------------------------- on a cluster


def test_two_workers_give_what_one_process_gives(call, demo, cluster):
    options = ("--verify", "reference", "--verify-samples", "9")
    expected = sim(call, demo.program, demo.data, *options)
    assert sim(call, demo.program, demo.data, *options, "--cluster", cluster) == expected


def test_a_killed_worker_and_a_cut_connection(call, demo, cluster, monkeypatch):
    """A worker is killed, then the connection to the scheduler is cut: both are said, and every sample counts once."""
    from distributed import Client

    expected = sim(call, demo.program, demo.data)
    clients, gone = [], []
    run, before = remote._Session.run, []

    def disturbed(self, client: Client, work):
        clients.append(client)
        before.append(len(work))
        for number, found in enumerate(run(self, client, work)):
            yield found
            if number == 2 and len(clients) == 1:
                worker, pid = next(iter(client.run(os.getpid).items()))
                gone.append(worker)
                os.kill(pid, signal.SIGKILL)
                while worker in client.scheduler_info(n_workers=-1)["workers"]:
                    time.sleep(0.02)
            if number == 10 and len(clients) == 1:
                client.loop.add_callback(client.scheduler_comm.comm.abort)

    monkeypatch.setattr(remote._Session, "run", disturbed)
    outcome = call("sim", demo.program, "--data", demo.data, "--json", "out.json", "--cluster", cluster,
                   "--resume", "kept")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"worker {gone[0]} is gone" in outcome.err
    assert "the connection to tcp://127.0.0.1" in outcome.err
    assert before == [15, 4]
    found = {key: value for key, value in json.loads(Path("out.json").read_text()).items() if key not in TIMING}
    assert found == expected


def test_a_corrupt_image_is_named_and_the_run_goes_on_without_it(call, demo, cluster, tmp_path):
    folder = write_images(tmp_path / "photos", 24)
    expected = sim(call, demo.program, folder)
    bad = folder / "1" / "003.png"
    good = bad.read_bytes()
    about = bad.stat()
    bad.write_bytes(good[:60] + bytes(len(good) - 60))
    os.utime(bad, ns=(about.st_atime_ns, about.st_mtime_ns))
    here = call("sim", demo.program, "--data", folder)
    there = call("sim", demo.program, "--data", folder, "--cluster", cluster, "--resume", "kept")
    for outcome in (here, there):
        assert outcome.code == 3
        assert f"error: sample 13: {bad}: not a readable image" in outcome.err
    assert len(list(Path("kept").glob("*.block"))) == 5
    bad.write_bytes(good)
    os.utime(bad, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert sim(call, demo.program, folder, "--cluster", cluster, "--resume", "kept") == expected


def test_another_hmdf_is_refused(call, demo, cluster, monkeypatch):
    def other() -> str:
        return "0.0.9 (sources 0)"

    other.__module__, other.__qualname__ = dask_cluster.__name__, "identity"  # so that a worker calls its own
    monkeypatch.setattr(dask_cluster, "identity", other)
    outcome = call("sim", demo.program, "--data", demo.data, "--cluster", cluster)
    assert outcome.code == 3
    assert f"has hmdf {remote.identity()}, this is 0.0.9 (sources 0): install the same" in outcome.err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identity": "0.0.9"}, "the command has 0.0.9: install the same"),
        ({"program": "0" * 64}, "instead of 000000000000"),
        ({"content": "0" * 64}, "is not the data set that the command has"),
    ],
)
def test_a_worker_that_differs_refuses(demo, change, why):
    shipment = remote.Shipment(
        **{
            "identity": dask_cluster.identity(),
            "run": str(change),
            "file": demo.program.read_bytes(),
            "program": storage.load(demo.program).sha256,
            "time_steps": storage.load(demo.program).time_steps,
            "data": remote.DataReference(str(demo.data), "test", None, None),
            "content": "",
            "name": "digits",
            "pictures": False,
            "checks": Checks([], 0),
        }
        | change
    )
    refusal = remote.remote_block(shipment, 0, 4, None, [])
    assert isinstance(refusal, remote.Refusal)
    assert refusal.cause == "worker"
    assert why in refusal.text
