"""The files of the tree as the rules see them: paths relative to its root, text, includes and CMake targets."""

import os
import re

# Folders that are made by tools; at the root every build*.
TOOL_FOLDERS = {".git", ".venv", ".ccache", ".pytest_cache", "__pycache__", "_proto", "build", "demo-data"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LAYERS = ("server", "storage", "client", "proto", "tests")


class SourceTree:
    """Reads lazily and once. `root` may be a checkout or an unpacked archive: no version control is asked."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.paths = sorted(self._walk())
        self._text = {}

    def _walk(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name not in TOOL_FOLDERS and not name.endswith(".egg-info")
                          and not (name.startswith("build") and folder == self.root)]
            for name in files:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    yield os.path.relpath(path, self.root)

    def with_suffix(self, *suffixes):
        return [path for path in self.paths if path.endswith(suffixes)]

    def text(self, path):
        """The file's text, or None when it is not text."""
        if path not in self._text:
            with open(os.path.join(self.root, path), "rb") as f:
                data = f.read()
            try:
                self._text[path] = None if b"\0" in data else data.decode("utf-8")
            except UnicodeDecodeError:
                self._text[path] = None
        return self._text[path]

    def lines(self, path):
        """(number from 1, line) of a text file; nothing for any other."""
        return enumerate((self.text(path) or "").splitlines(), start=1)

    def includes(self, path):
        """(line number, included) with project headers as paths from the root, others as they are written."""
        for number, line in self.lines(path):
            match = INCLUDE.match(line)
            if match:
                yield number, self._resolve(path, match.group(2))

    def _resolve(self, path, included):
        """Project headers are included from the root, those of an installed library from its include folder, and
        neighbors by their bare name."""
        if included.split("/")[0] in LAYERS:
            return included
        for base in (os.path.dirname(path), "client/cpp"):
            candidate = os.path.normpath(os.path.join(base, included))
            if os.path.isfile(os.path.join(self.root, candidate)):
                return candidate
        return included

    def reached_cmake_folders(self):
        """Folders whose CMakeLists.txt the root's one adds, directly or through others."""
        reached, waiting = [], [""]
        while waiting:
            folder = waiting.pop()
            path = os.path.join(folder, "CMakeLists.txt")
            if folder in reached or not os.path.isfile(os.path.join(self.root, path)):
                continue
            reached.append(folder)
            for _, line in self.lines(path):
                match = re.match(r"\s*add_subdirectory\(\s*([^\s)]+)", line)
                if match:
                    waiting.append(os.path.normpath(os.path.join(folder, match.group(1))))
        return reached
