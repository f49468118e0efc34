import json
from pathlib import Path

import pytest

from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from scripts import check_claims
from scripts.check_claims import CheckClaimsSettings, main, with_table
from scripts.claims import Claim

COUNTING = """
import json, sys
from pathlib import Path

runs = Path({runs!r})
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
folder = Path(sys.argv[1])
folder.mkdir()
(folder / "figures.json").write_text(json.dumps({{"splats": 7}}))
sys.stdout.write(f"| splats |\\n| --- |\\n| 7 |\\n\\nall in {{folder}}\\nwrote something\\n")
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckClaimsSettings:
    program = tmp_path / "program.py"
    program.write_text(COUNTING.format(runs=str(tmp_path / "runs")))
    claims = (
        Claim("broken", "A program that fails", (str(tmp_path / "absent.py"),), "figures.json"),
        Claim("counted", "A program that counts", (str(program), "{out}"), "figures.json"),
    )
    monkeypatch.setattr(check_claims, "CLAIMS", claims)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- claim counted -->\nold\n<!-- end of claim -->\nafter\n")
    return CheckClaimsSettings(
        measurements=tmp_path / "measurements", results=tmp_path / "results", readme=readme, assets=tmp_path
    )


def test_what_fails_is_named_and_the_rest_is_measured(settings: CheckClaimsSettings, tmp_path: Path) -> None:
    assert main(settings, SilentProgress()) == 1
    assert not (settings.measurements / "broken.json").exists()
    record = json.loads((settings.measurements / "counted.json").read_text())
    assert record["figures"] == {"splats": 7}
    assert record["command"].endswith("out/claims/counted")
    assert "| 7 |" in settings.readme.read_text()
    assert "wrote something" not in settings.readme.read_text()
    assert "all in out/claims/counted" in settings.readme.read_text()
    assert "old" not in settings.readme.read_text()
    assert settings.readme.read_text().endswith("after\n")


def test_what_has_a_record_is_not_measured_again_unless_asked(settings: CheckClaimsSettings, tmp_path: Path) -> None:
    only = settings.model_copy(update={"only": ("counted",)})
    for expected, run_settings in [("x", only), ("x", only), ("xx", only.model_copy(update={"again": True}))]:
        assert main(run_settings, SilentProgress()) == 0
        assert (tmp_path / "runs").read_text() == expected


def test_an_unknown_claim_is_refused(settings: CheckClaimsSettings) -> None:
    with pytest.raises(UserError, match="there are broken, counted"):
        main(settings.model_copy(update={"only": ("nothing",)}), SilentProgress())


def test_a_page_without_a_place_stays_as_it_is() -> None:
    record = {"table": "| a |", "command": "python x", "machine": {"graphics_card": "a card"}}
    assert with_table("page\n", "counted", record) == "page\n"


def test_every_claim_has_a_name_of_its_own() -> None:
    from scripts.claims import CLAIMS

    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
