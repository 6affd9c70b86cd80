"""Builds the package: generates the gRPC stubs first, then lets setuptools collect the files."""

import os
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import build_stubs  # noqa: E402  (a neighbor of this file)


class BuildPy(build_py):
    """Writes evoke/_proto into the source tree, where setuptools then finds it as an ordinary package."""

    def run(self):
        build_stubs.generate()
        super().run()


build_stubs.make_package_folder()  # setuptools checks that listed packages exist before any command runs
setup(cmdclass={"build_py": BuildPy})
