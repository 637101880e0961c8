"""How setuptools builds the kernel: every build carries the digest of the C sources it was made of."""

import runpy
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

# By its path: an import of the package would need torch, which is not there while setuptools builds.
_sources = runpy.run_path(str(Path(__file__).with_name("sources.py")))


class BuildKernel(build_ext):  # type: ignore[misc]  # setuptools has no types
    """``build_ext`` with the macro that ``sources.c`` needs."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension; also where a build of other sources has a later date than these."""
        built = Path(self.get_ext_fullpath(ext.name))
        self.force = not (built.exists() and _sources["is_current"](built))
        ext.define_macros.append(("QSWEEP_SOURCES", f'"{_sources["sources_digest"]()}"'))
        super().build_extension(ext)
