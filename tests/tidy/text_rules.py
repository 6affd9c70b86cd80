"""Rules about files as text: size, words, paths, guards, READMEs, comments of the wire contract, CMake lists."""

import os
import re

CODE = (".h", ".cc", ".cu", ".cuh", ".hpp", ".py", ".sh", ".proto", ".cmake", "CMakeLists.txt", ".md")
SOURCES = (".h", ".cc", ".cu", ".cuh", ".py", ".proto")
MAX_LINES = 600

# Spelled in two parts, so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "XX" "X"]) + r")\b")
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.$}{-])/(?:work|farm|root|home)/")


def size(tree):
    """No file over 600 lines: it is the one that people will complain about."""
    for path in tree.with_suffix(*CODE):
        count = len((tree.text(path) or "").splitlines())
        if count > MAX_LINES:
            yield f"{path}:{MAX_LINES + 1}: {count} lines, the limit is {MAX_LINES}"


def finished(tree):
    """Nothing in the tree says that it is unfinished."""
    yield from _grep(tree, UNFINISHED, "unfinished: finish it, or file an issue")


def no_machine_path(tree):
    """No absolute path of one machine."""
    yield from _grep(tree, MACHINE_PATH, "a path of one machine")


def _grep(tree, pattern, message):
    for path in tree.paths:
        for number, line in tree.lines(path):
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: '{match.group(0).strip()}' is {message}"


def guards(tree):
    """The first line of code of every header is `#pragma once`."""
    for path in tree.with_suffix(".h", ".cuh", ".hpp"):
        for number, line in _code_lines(tree, path):
            if line.strip() != "#pragma once":
                yield f"{path}:{number}: a header begins with #pragma once"
            break
        else:
            yield f"{path}:1: a header begins with #pragma once"


def _code_lines(tree, path):
    """Lines that are neither blank nor inside a comment that begins its line."""
    in_block = False
    for number, line in tree.lines(path):
        stripped = line.strip()
        if in_block or stripped.startswith("/*"):
            in_block = "*/" not in stripped
        elif stripped and not stripped.startswith("//"):
            yield number, line


def readmes(tree):
    """Every folder with sources says what it is for, in its own README.md or in its parent's.

    Under tests/ one README speaks for all kinds; the folders of a package (`client/cpp/evoke`, `proto/evoke/v1`)
    belong to the README above them.
    """
    for folder in sorted({os.path.dirname(path) for path in tree.with_suffix(*SOURCES)}):
        if folder and not any(os.path.join(room, "README.md") in tree.paths for room in _rooms(folder)):
            yield f"{folder}:1: neither {folder}/README.md nor one above it says what this folder is for"


def _rooms(folder):
    """The folders whose README may speak for `folder`."""
    parts = folder.split("/")
    if parts[0] in ("tests", "proto"):
        return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    rooms = [folder, os.path.dirname(folder)] if len(parts) > 1 else [folder]
    if "evoke" in parts:
        rooms.append("/".join(parts[:parts.index("evoke")]))
    return rooms


def proto_comments(tree):
    """Every message, enum, rpc, field and enum value of our protos says what it means.

    A comment stands above or at the end of the line. A field may leave it to its type's comment, a request and a
    response to their rpc's, and no enum needs to say what an _UNSPECIFIED is. The protos of others (google, grpc) are
    described where they come from.
    """
    ours = [path for path in tree.with_suffix(".proto") if path.startswith("proto/evoke/")]
    described = {name for path in ours for name in _described_types(tree, path)}
    for path in ours:
        previous, depth, in_enum = "", 0, False
        for number, line in tree.lines(path):
            code = line.split("//")[0].strip()
            commented = "//" in line or previous.startswith("//")
            name = _declared(code, depth, in_enum)
            if name and not commented and not _described_elsewhere(code, name, described):
                yield f"{path}:{number}: {name} has no comment"
            if re.match(r"enum\s", code):
                in_enum = True
            depth += code.count("{") - code.count("}")
            in_enum = in_enum and depth > 0
            previous = line.strip() if code == "" else ""


FIELD = re.compile(r"(?:optional |repeated )?(?P<type>map<[^>]*>|[\w.]+) (?P<name>\w+) = \d+\s*(?:\[.*\])?;")


def _declared(code, depth, in_enum):
    match = re.match(r"(?:message|enum) (\w+)", code)
    if match:
        # A request or response is described by its rpc.
        return None if match.group(1).endswith(("Request", "Response")) else match.group(1)
    match = re.match(r"rpc (\w+)", code)
    if match:
        return match.group(1)
    if depth == 0:
        return None
    match = re.match(r"(\w+(?<!_UNSPECIFIED)) = -?\d+;", code) if in_enum else None
    match = match or FIELD.match(code)
    return None if match is None else match.groupdict().get("name") or match.group(1)


def _described_types(tree, path):
    previous = ""
    for _, line in tree.lines(path):
        match = re.match(r"\s*(?:message|enum) (\w+)", line)
        if match and previous.startswith("//"):
            yield match.group(1)
        previous = line.strip()


def _described_elsewhere(code, name, described):
    match = FIELD.match(code)
    return bool(match) and match.group("type").split(".")[-1] in described


def targets(tree):
    """Every C++ source is named in a CMakeLists.txt that the root one reaches, in its folder or above it."""
    reached = tree.reached_cmake_folders()
    for path in tree.with_suffix(".cc", ".cu"):
        folder = os.path.dirname(path)
        if not any(_names(tree, room, path) for room in reached if _is_above(room, folder)):
            yield f"{path}:1: no target that the build reaches has it"


def _is_above(room, folder):
    return room == "" or folder == room or folder.startswith(room + "/")


def _names(tree, room, path):
    wanted = os.path.relpath(path, room or ".")
    text = re.sub(r"#.*", "", tree.text(os.path.join(room, "CMakeLists.txt")))
    return re.search(r"(?<![\w./-])(?:\$\{CMAKE_CURRENT_SOURCE_DIR\}/)?" + re.escape(wanted) + r"(?![\w./-])", text)
