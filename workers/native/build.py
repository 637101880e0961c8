"""How setuptools builds a kernel: every build carries the digest of the C sources it was made of."""

import runpy
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

# By its path: an import of the package would need what is not there while setuptools builds.
_sources = runpy.run_path(str(Path(__file__).with_name("sources.py")))


class BuildKernel(build_ext):  # type: ignore[misc]  # setuptools has no types
    """``build_ext`` with the macro that the ``sources.c`` of each kernel needs."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension; also where a build of other sources has a later date than these."""
        built, folder = Path(self.get_ext_fullpath(ext.name)), Path(ext.sources[0]).parent
        self.force = not (built.exists() and _sources["is_current"](built, folder))
        ext.define_macros.append(("QSWEEP_SOURCES", f'"{_sources["sources_digest"](folder)}"'))
        super().build_extension(ext)
