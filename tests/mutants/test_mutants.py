from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, plant
from tests.mutants.catalogue import MUTANTS, Edit, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_every_bug_can_be_planted_and_leaves_a_source_that_can_be_read(mutant: Mutant, tmp_path: Path) -> None:
    for file in {edit.file for edit in mutant.edits}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    plant(mutant, tmp_path)
    for file in {edit.file for edit in mutant.edits}:
        planted = (tmp_path / file).read_text()
        assert planted != (ROOT / file).read_text()
        ast.parse(planted)
    assert all((ROOT / test).exists() for test in mutant.tests)


def test_a_bug_whose_place_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("a = 1\n")
    gone = Mutant(name="gone", harm="", edits=(Edit(file="x.py", old="b = 2", new="b = 3"),), tests=())
    with pytest.raises(ValueError, match="occurs 0 times"):
        plant(gone, tmp_path)
