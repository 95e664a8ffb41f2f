"""What all tables and figures of both papers have in common."""

from pathlib import Path

import pytest

from safe_skills.data.settings import ConfigError
from safe_skills.experiments.reproduce import FAMILIES, LS3, SAFER
from safe_skills.experiments.results import SCALES


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", FAMILIES)
def test_stages_need_only_what_other_stages_make(name, scale):
    family = FAMILIES[name]
    stages = family.results[name].stages(family.load(scale, Path("runs")))
    made = [stage.result for stage in stages]
    assert made and len(set(made)) == len(made)
    assert {need for stage in stages for need in stage.after} <= set(made)


@pytest.mark.parametrize("family", [LS3, SAFER], ids=["ls3", "safer"])
def test_a_scale_that_does_not_exist_is_one_line(family):
    with pytest.raises(ConfigError, match="scale: expected one of smoke, cpu, paper, got 'huge'"):
        family.load("huge", Path("runs"))
