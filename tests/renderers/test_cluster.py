"""What the machines of a cluster check before any Blender starts; whole jobs are in tests/blender/test_cluster.py."""

import fcntl
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from renderers.blender.job_folder import Entry, opened_job
from renderers.blender.settings import DatasetSettings
from renderers.cluster import _RayTalk, record_store, render_on_cluster
from renderers.cluster_node import NodeWork, _remove_leftovers, render_on_node
from renderers.settings import ClusterSettings
from renderers.sources.objects import SourceObject
from tests.scripts.processes import run_program


@pytest.fixture
def thing(tmp_path: Path) -> SourceObject:
    (tmp_path / "chair.glb").write_bytes(b"glTF")
    return SourceObject("chair.glb", tmp_path / "chair.glb", "chair.glb")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeWork:
    monkeypatch.chdir(tmp_path)  # where a node goes is undone after the test
    (tmp_path / "proof").touch()
    return NodeWork(DatasetSettings().model_dump_json(), str(tmp_path), tmp_path, tmp_path / "proof", 1)


@pytest.mark.parametrize(
    ("missing", "named"), [("chair.glb", "the models"), ("proof", "the output folder"), (".", "the folder in which")]
)
def test_a_node_that_does_not_see_what_the_job_needs_says_so(
    missing: str, named: str, work: NodeWork, thing: SourceObject, tmp_path: Path
) -> None:
    if missing == ".":
        work = NodeWork(work.settings, work.records, tmp_path / "elsewhere", None, 1)
    else:
        (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=f"Expected every node of the cluster to see {named}"):
        render_on_node(work, thing)


def test_what_is_there_is_not_rendered_again(work: NodeWork, thing: SourceObject, tmp_path: Path) -> None:
    away = NodeWork(work.settings, f"memory://{tmp_path.name}", tmp_path, None, 1)
    store = record_store(ClusterSettings(cluster="auto", records_address=away.records), tmp_path)
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "transforms.json").write_text("{}")
    store.put(tmp_path / "record", thing.name)
    assert render_on_node(away, thing) == Entry("done", None, {})


def test_scratch_of_killed_processes_is_removed_and_that_of_living_ones_is_not(tmp_path: Path) -> None:
    for name in ("killed", "alive", "just-made"):
        (tmp_path / name / ".work").mkdir(parents=True)
        (tmp_path / name / ".lock").touch()
        if name != "just-made":
            os.utime(tmp_path / name, (0, 0))
    with (tmp_path / "alive" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_leftovers(tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == {"alive", "just-made"}


def test_a_cluster_that_is_not_there_is_a_sentence_at_once(thing: SourceObject, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    # Nothing listens on port 1 of the loopback.
    status, _, error = run_program(
        ["scripts/render_dataset.py", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--cluster", "127.0.0.1:1"]
    )
    assert status == 2
    assert "expected a Ray cluster at 127.0.0.1:1, got: [Errno 111] Connection refused" in error
    assert "Traceback" not in error


def test_without_ray_the_sentence_says_how_to_install_it(
    thing: SourceObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        opened_job(tmp_path / "out", {}) as job_folder,
        pytest.raises(UserError, match=r"pip install 'onestep3d\[cluster\]'"),
    ):
        render_on_cluster([thing], DatasetSettings(), ClusterSettings(cluster="auto"), job_folder, SilentProgress())


def test_ray_is_not_imported_on_one_machine() -> None:
    code = (
        "import sys; sys.modules['ray'] = None; import renderers.cluster, renderers.cluster_node, "
        "scripts.render_dataset, renderers.blender.supervisor"
    )
    assert run_program(["-c", code]) == (0, "", "")


def test_an_address_for_records_needs_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Expected --cluster beside --records-address"):
        record_store(ClusterSettings(records_address="memory://x"), tmp_path)


def test_what_ray_prints_becomes_one_sentence_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with redirect_stdout(_RayTalk()):
        sys.stdout.write(
            "\x1b[33m(raylet)\x1b[0m The node 79a0 has been marked dead.\n    [state-dump] NodeManager: 1\n"
        )
    assert caplog.messages == ["Ray: The node 79a0 has been marked dead."]
