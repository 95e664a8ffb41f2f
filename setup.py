"""Builds the ROS messages with CMakeLists.txt and packs what it installs (see setup.cfg)."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path(__file__).resolve().parent
PACKAGE = "safe_skills"


class AmentDistribution(Distribution):
    """Editable installs ask for ``has_data`` where other installs ask for ``has_data_files``."""

    has_data = Distribution.has_data_files


class BuildMessages(build_ext):
    """Runs CMake in a temporary folder and hands on its Python files, libraries and share files."""

    def run(self) -> None:
        """Builds, installs and collects."""
        with tempfile.TemporaryDirectory(prefix="safe_skills_build_") as folder:
            prefix = Path(folder) / "install"
            self._cmake(Path(folder) / "build", prefix)
            self._collect(prefix)

    def get_outputs(self) -> list[str]:
        """Nothing that setuptools should look for."""
        return []

    def get_output_mapping(self) -> dict[str, str]:
        """Nothing that setuptools should link to."""
        return {}

    def _cmake(self, build: Path, prefix: Path) -> None:
        import ament_package

        # The build requirements, which pip may have put in a folder of their own.
        ament_prefix = str(Path(ament_package.__file__).resolve().parents[4])
        environment = dict(os.environ)
        for variable in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
            known = environment.get(variable)
            environment[variable] = f"{ament_prefix}:{known}" if known else ament_prefix
        configure = [
            "cmake", "-S", str(SOURCE), "-B", str(build),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
            "-DPYTHON_INSTALL_DIR=python",
            f"-DPython3_EXECUTABLE={sys.executable}",
            "-DSAFE_SKILLS_RELOCATABLE=ON",
        ]  # fmt: skip
        jobs = str(os.cpu_count() or 1)
        for command in (
            configure,
            ["cmake", "--build", str(build), "--parallel", jobs],
            ["cmake", "--install", str(build)],
        ):
            try:
                subprocess.run(command, check=True, env=environment)
            except FileNotFoundError:
                sys.exit("error: cmake is missing: install the Debian package cmake")
            except subprocess.CalledProcessError as error:
                sys.exit(
                    f"error: '{' '.join(command[:2])}' failed with {error.returncode}; see above"
                )

    def _collect(self, prefix: Path) -> None:
        if self.editable_mode:
            install = self.get_finalized_command("install")
            target = Path(install.install_lib) / PACKAGE
        else:
            target = Path(self.build_lib) / PACKAGE
        shutil.rmtree(target / "msg", ignore_errors=True)
        generated = prefix / "python" / PACKAGE
        for file in [*(generated / "msg").rglob("*"), *generated.glob("*.so")]:
            if file.suffix in {".py", ".so"}:
                copy = target / file.relative_to(generated)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)

        # Files outside of Python packages: kept in build_temp until install_data has packed them.
        staged = Path(self.build_temp).resolve() / "prefix"
        shutil.rmtree(staged, ignore_errors=True)
        keep = [*(prefix / "lib").glob("*.so"), *(prefix / "lib" / PACKAGE).iterdir()]
        keep += [
            file
            for file in (prefix / "share").rglob("*")
            if file.is_file()
            and file.suffix not in {".cmake", ".sh", ".bash", ".zsh", ".dsv"}
            and file.parent.name != "parent_prefix_path"  # where the build requirements were
        ]
        folders: dict[str, list[str]] = {}
        for file in keep:
            relative = file.relative_to(prefix)
            copy = staged / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
            folders.setdefault(str(relative.parent), []).append(os.path.relpath(copy, SOURCE))
        data_files = self.distribution.data_files or []
        self.distribution.data_files = data_files + sorted(folders.items())


setup(
    distclass=AmentDistribution,
    cmdclass={"build_ext": BuildMessages},
    # No source of its own: it makes the wheel one for this platform and Python.
    ext_modules=[Extension(f"{PACKAGE}.msg", sources=[])],
    setup_requires=[] if shutil.which("cmake") else ["cmake>=3.20"],
)
