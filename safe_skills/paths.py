"""Where launch files, parameters, robot descriptions and checkpoints lie, as installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def share_dir() -> Path:
    """Folder that holds ``launch/``, ``config/`` and ``urdf/``.

    In a checkout (also after ``pip install -e``) it is the checkout, so that edited files are the
    ones in use; else the package's share folder as listed in the ament index.

    Raises:
        FileNotFoundError: the package is not in the ament index.
    """
    checkout = _PACKAGE.parent
    if (checkout / "package.xml").is_file() and (checkout / "config").is_dir():
        return checkout
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory("safe_skills"))
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            "safe_skills is not in the ament index: install it with pip, or source the workspace "
            "that colcon built"
        ) from error


def config_file(name: str) -> Path:
    """Path of ``config/<name>``, for example ``ls3_cable.yaml`` or ``training/cable.yaml``.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    folder = share_dir() / "config"
    path = folder / name
    if not path.is_file():
        present = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.yaml"))
        raise FileNotFoundError(
            f"no configuration file '{name}' in {folder}; there is: {', '.join(present) or 'none'}"
        )
    return path


def checkpoint_dir(name: str) -> Path:
    """Folder of the pretrained checkpoint ``name`` that ships with the package.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    folder = _PACKAGE / "checkpoints"
    path = folder / name
    if not (path / "config.yaml").is_file():
        present = sorted(p.parent.name for p in folder.glob("*/config.yaml"))
        raise FileNotFoundError(
            f"no pretrained checkpoint '{name}' in {folder}; "
            f"there is: {', '.join(present) or 'none'}"
        )
    return path


def urdf_file(name: str) -> Path:
    """Path of ``urdf/<name>``, for example ``arm5.urdf``.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    folder = share_dir() / "urdf"
    path = folder / name
    if not path.is_file():
        present = sorted(file.name for file in folder.glob("*.urdf"))
        raise FileNotFoundError(
            f"no robot description '{name}' in {folder}; there is: {', '.join(present) or 'none'}"
        )
    return path
