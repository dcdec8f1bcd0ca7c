"""`modelkeep policy`, as a person types it: each command, and each kind of mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.unit.test_policy_bundle import SMALL
from typer.testing import CliRunner, Result

from modelkeep.errors import AlreadyExists, Invalid
from modelkeep.policy import document
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import baseline, text
from modelkeep.policy.schema import json_schema
from modelkeep_services.__main__ import app

PUBLISHED = Path(__file__).parents[2] / "docs" / "policy-bundle.schema.json"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    to = tmp_path / "mine.yaml"
    assert run("init", to).exit_code == 0
    return to


def changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    to = file.with_name("changed.yaml")
    to.write_text(text.replace(old, new))
    return to


class TestInit:
    def test_it_writes_what_a_new_ledger_starts_with(self, file: Path) -> None:
        assert file.read_text() == baseline()

    def test_it_writes_any_bundle_of_the_library(self, tmp_path: Path) -> None:
        to = tmp_path / "ward.yaml"
        assert run("init", to, "--from", "clinical").exit_code == 0
        assert to.read_text() == text("clinical")
        assert isinstance(run("init", to, "--from", "nope").exception, Invalid)

    def test_it_writes_over_nothing_unasked(self, file: Path) -> None:
        file.write_text("mine")
        assert isinstance(run("init", file).exception, AlreadyExists)
        assert file.read_text() == "mine"
        assert run("init", file, "--force").exit_code == 0
        assert file.read_text() == baseline()


class TestLint:
    def test_a_bundle_without_fault_passes(self, file: Path) -> None:
        assert run("lint", file).exit_code == 0
        assert run("lint", file, "--strict").exit_code == 0

    def test_a_mistake_is_shown_where_it_is(self, file: Path) -> None:
        found = run("lint", changed(file, "version.card_present,", "version.crd,"))
        assert found.exit_code == 1
        line = file.read_text().partition("version.card_present,")[0].count("\n") + 1
        assert f"line {line}: 1:8: undefined field 'crd'" in found.output
        assert "| version.crd" in found.output
        assert "| .......^" in found.output

    def test_advice_is_no_error_unless_asked(self, file: Path) -> None:
        spare = changed(
            file, "params:\n", "params:\n  spare: {type: int, default: 1}\n"
        )
        assert run("lint", spare).exit_code == 0
        found = run("lint", spare, "--strict", "--json")
        assert found.exit_code == 1
        [problem] = json.loads(found.output)["problems"]
        assert problem["path"] == "params.spare"

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b"a: !!x 1"])
    def test_what_is_no_bundle_is_said_so(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        found = run("lint", file)
        assert found.exit_code == 1 or isinstance(found.exception, Invalid)

    def test_a_file_that_is_not_there_is_said_so(self, tmp_path: Path) -> None:
        assert "No such file" in str(run("lint", tmp_path / "none").exception)


class TestTest:
    def test_the_bundles_own_tests_run(self, file: Path) -> None:
        count = len(load_bundle(baseline()).document.tests)
        assert f"{count} of {count} tests pass" in run("test", file).output

    def test_one_that_fails_fails_the_command(self, file: Path) -> None:
        found = run(
            "test", changed(file, "tier: {1: 0.10, 2: 0.20}", "tier: {1: 0.30}")
        )
        assert found.exit_code == 1
        assert "expected DENY, got ALLOW" in found.output

    def test_what_they_would_not_notice_is_named(self, tmp_path: Path) -> None:
        small = tmp_path / "small.yaml"
        small.write_text(SMALL)
        found = run("test", small, "--mutate")
        assert found.exit_code == 0
        assert "no test notices promote/drift" in " ".join(found.output.split())
        said = json.loads(run("test", small, "--mutate", "--json").output)["mutants"]
        assert said["tried"] > len(said["survivors"]) > 0

    def test_none_have_not_passed(self, file: Path) -> None:
        text = file.read_text()
        file.write_text(text[: text.index("\ntests:")] + "\n")
        assert run("test", file).exit_code == 1


class TestExplain:
    def test_an_allow_says_what_it_looked_at(self, file: Path) -> None:
        found = run("explain", file, "--fixture", "promote-tier-1")
        assert found.exit_code == 0
        assert "evidence.psi_max = 0.05, limit < params.psi_max = 0.1" in found.output
        assert "has no model card" not in found.output  # it has one

    def test_a_deny_says_why(self, file: Path) -> None:
        found = run(
            "explain", file, "--fixture", "promote-tier-1",
            "--set", "evidence.psi_max=0.15", "--unset", "evidence.performance",
        )  # fmt: skip
        assert found.exit_code == 1
        assert "drift/worst does not hold: evidence.psi_max = 0.15" in found.output
        assert "evidence.performance is missing" in found.output
        assert "drift/worst serves SR 11-7 V; SS1/23 principle 4" in found.output

    def test_facts_may_come_from_a_file(self, file: Path) -> None:
        facts = file.with_name("facts.json")
        said = document.read(file.read_text()).data["fixtures"]
        assert isinstance(said, dict)
        facts.write_text(json.dumps(said["promote-tier-3"]))
        found = run("explain", file, "--facts", facts, "--json")
        assert json.loads(found.output)["decision"] == "ALLOW"

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--fixture", "nobody"),
            ("--fixture", "retire", "--set", "nothing"),
            ("--fixture", "retire", "--unset", "model.nothing"),
            ("--fixture", "retire", "--set", "model.tier=one"),
        ],
    )
    def test_a_question_that_is_none_is_refused(
        self, file: Path, arguments: tuple[str, ...]
    ) -> None:
        assert isinstance(run("explain", file, *arguments).exception, Invalid)


class TestDiff:
    def test_each_change_is_a_line(self, file: Path) -> None:
        other = changed(
            file,
            "psi_max: {type: double, default: 0.25, tier: {1: 0.10",
            ("psi_max: {type: double, default: 0.25, tier: {1: 0.15"),
        )
        found = run("diff", file, other)
        assert "params.psi_max.tier.1: 0.1 -> 0.15" in found.output
        assert "1 change" in found.output

    def test_a_rule_that_is_gone_is_named(self, file: Path) -> None:
        retired = (
            "  - {id: retired, when: model.retired, message: the model is retired}"
        )
        found = run("diff", file, changed(file, f"{retired}\n", ""))
        assert "policies.standing.rules.retired: gone" in found.output

    def test_layout_is_no_change(self, file: Path) -> None:
        other = changed(file, "environments:", "# where\nenvironments:")
        assert "nothing differs" in run("diff", file, other).output


class TestSchema:
    def test_what_is_published_is_what_is_read(self) -> None:
        assert json.loads(PUBLISHED.read_text()) == json_schema()

    def test_it_takes_the_packaged_bundle_and_not_a_slip(self) -> None:
        check = Draft202012Validator(json_schema())
        data = document.read(baseline()).data
        assert not [*check.iter_errors(data)]
        assert [*check.iter_errors({**data, "polices": []})]
