from benchmarks.addon_versions import complaints, problems, table

OFF = {"handlers": [0, 0], "entries": [1, 1], "classes": [], "properties": [False, False]}
CLEAN = {
    "installed": True,
    "version": "4.2.0",
    "states": [OFF, OFF, OFF],
    "on": {**OFF, "classes": ["ONESTEP3D_PT_texture"]},
    "timer": False,
    "timer after": False,
    "slow": [],
}


def test_each_thing_that_is_left_is_a_problem() -> None:
    assert problems(CLEAN) == []
    handler_left = {**CLEAN, "states": [OFF, OFF, {**OFF, "handlers": [1, 0]}]}
    for broken in (
        {**CLEAN, "installed": False},
        {**CLEAN, "timer": True},
        {**CLEAN, "timer after": True},
        {**CLEAN, "slow": ["torch"]},
        {**CLEAN, "on": OFF},
        handler_left,
    ):
        assert len(problems(broken)) == 1


def test_what_blender_says_by_itself_is_no_complaint() -> None:
    assert complaints("CUEW initialization failed: Error opening the library\nRead prefs\n") == []
    line = "x.py:3: DeprecationWarning: old"
    assert complaints(f"Blender quit\n{line}\n") == [line]


def test_the_table_has_a_row_for_each_version() -> None:
    row = {"classes": 60, "classes_left": 0, "timers_left": 0, "slow_modules": [], "complaints": []}
    page = table({"versions": [{"version": "4.2.0", **row}, {"version": "5.0.1", **row, "slow_modules": ["torch"]}]})
    assert page.splitlines()[2:] == ["| 4.2.0 | 60 | 0 | 0 | 0 | none |", "| 5.0.1 | 60 | 0 | 0 | 0 | torch |"]
