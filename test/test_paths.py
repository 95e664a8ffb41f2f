"""Share files and checkpoints are found, or the error says what there is."""

import pytest

from safe_skills import paths


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package folder apart from any checkout, and an ament prefix with its share folder."""
    package = tmp_path / "site-packages" / "safe_skills"
    (package / "checkpoints" / "cable").mkdir(parents=True)
    (package / "checkpoints" / "cable" / "config.yaml").write_text("layout: open\n")
    share = tmp_path / "share" / "safe_skills"
    (share / "config" / "training").mkdir(parents=True)
    (share / "config" / "training" / "cable.yaml").write_text("")
    (share / "urdf").mkdir()
    (share / "urdf" / "arm.urdf").write_text("<robot/>")
    marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "safe_skills"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return tmp_path


def test_a_checkout_comes_before_installed_copies(installed, monkeypatch):
    checkout = installed / "checkout"
    (checkout / "config").mkdir(parents=True)
    (checkout / "package.xml").touch()
    monkeypatch.setattr(paths, "_PACKAGE", checkout / "safe_skills")
    assert paths.share_dir() == checkout


def test_installed_files_are_found(installed):
    share = installed / "share" / "safe_skills"
    assert paths.share_dir() == share
    assert paths.config_file("training/cable.yaml") == share / "config" / "training" / "cable.yaml"
    assert paths.urdf_file("arm.urdf") == share / "urdf" / "arm.urdf"
    assert paths.checkpoint_dir("cable").name == "cable"


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (paths.config_file, "no configuration file 'other' .*; there is: training/cable.yaml$"),
        (paths.urdf_file, "no robot description 'other' .*; there is: arm.urdf$"),
        (paths.checkpoint_dir, "no pretrained checkpoint 'other' .*; there is: cable$"),
    ],
)
def test_an_unknown_name_says_what_there_is(installed, find, message):
    with pytest.raises(FileNotFoundError, match=message) as error:
        find("other")
    assert "\n" not in str(error.value)


def test_not_installed_says_what_to_do(installed, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(installed / "nowhere"))
    with pytest.raises(FileNotFoundError, match="not in the ament index: install it with pip"):
        paths.share_dir()
