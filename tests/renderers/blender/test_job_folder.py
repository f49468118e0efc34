from pathlib import Path

import pytest

from distill_core.errors import UserError
from renderers.blender.job_folder import Entry, opened_job

SETTINGS = {"seed": 0, "views": {"rig": "orbit"}}


def test_the_journal_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    with opened_job(tmp_path / "job", SETTINGS) as job:
        job.note("a.glb", Entry("done", None, {"total": 1.5}))
        job.note("ß – 茶.glb", Entry("left out", "no faces", {"total": 0.1}))
    journal = tmp_path / "job" / "journal.jsonl"
    whole = journal.read_bytes()
    for length in range(whole.index(b"\n") + 1, len(whole)):  # a kill at any byte of the second line
        journal.write_bytes(whole[:length])
        with opened_job(tmp_path / "job", SETTINGS) as job:
            assert job.entries == {"a.glb": Entry("done", None, {"total": 1.5})}
            job.note("c.glb", Entry("done", None, {}))
        with opened_job(tmp_path / "job", SETTINGS) as job:
            assert list(job.entries) == ["a.glb", "c.glb"]


@pytest.mark.parametrize("character", "\v\f\r\n\x1c\x1d\x1e\x85\u2028\u2029")
def test_whatever_a_name_or_a_reason_holds_the_job_goes_on(character: str, tmp_path: Path) -> None:
    entries = {
        f"a{character}b.glb": Entry("done", None, {"total": 1.5}),
        "c.glb": Entry("left out", f"no{character}faces", {"total": 0.1}),
    }
    with opened_job(tmp_path / "job", SETTINGS) as job:
        for uid, entry in entries.items():
            job.note(uid, entry)
    with opened_job(tmp_path / "job", SETTINGS) as job:
        assert job.entries == entries


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    with opened_job(tmp_path / "job", SETTINGS) as job:
        job.note("a\u2028b.glb", Entry("done", None, {}))
    with (tmp_path / "job" / "journal.jsonl").open("a") as stream:
        stream.write("[1]\n")
    with (
        pytest.raises(UserError, match=r"journal.jsonl, line 2: expected an entry of this job, got '\[1\]'\."),
        opened_job(tmp_path / "job", SETTINGS),
    ):
        pass


def test_what_a_killed_job_left_half_written_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    with opened_job(folder, SETTINGS):
        pass
    for left in (".work/raw-0", ".a.glb.0123abcd.tmp/images"):
        (folder / left).mkdir(parents=True)
    (folder / ".report.json.x7").write_text("{")
    (folder / "a.glb").mkdir()
    (folder / "a.glb" / "transforms.json").write_text("{}")
    with opened_job(folder, SETTINGS) as job:
        assert job.is_done("a.glb")
        assert not job.is_done("b.glb")
    assert sorted(entry.name for entry in folder.iterdir()) == [".lock", "a.glb", "job.json"]


def test_two_jobs_never_work_in_one_folder(tmp_path: Path) -> None:
    with opened_job(tmp_path, SETTINGS):
        with pytest.raises(UserError, match="another job is working"), opened_job(tmp_path, SETTINGS):
            pass
        assert (tmp_path / ".work").is_dir()
    with opened_job(tmp_path, SETTINGS):
        pass


def test_a_folder_of_other_things_or_other_settings_is_refused(tmp_path: Path) -> None:
    with opened_job(tmp_path / "job", SETTINGS):
        pass
    with (
        pytest.raises(UserError, match="seed 1 instead of 0; give"),
        opened_job(tmp_path / "job", SETTINGS | {"seed": 1}),
    ):
        pass
    others = {"seed": 0, "views": {"rig": "orbit", "num_views": 3}}
    with pytest.raises(UserError, match="got num_views 3 instead of null; give"), opened_job(tmp_path / "job", others):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"), opened_job(tmp_path / "mine", SETTINGS):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
