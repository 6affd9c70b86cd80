"""Puts evoked and every library that it needs, but for glibc's, into a copy of the client's wheel.

    server_wheel.py CLIENT_WHEEL EVOKED OUT

The libraries lie beside the program and are found relative to it, before those of the machine and of LD_LIBRARY_PATH:
what is inside a wheel does not depend on what is around it. The tag names the glibc of the newest symbol that any of
them needs. Needs patchelf, strip and objdump, and Debian's packages of the libraries, whose licenses go in as well.
Failure: an exception, and no wheel.
"""

import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile

# What glibc is made of must be the machine's: its parts belong together, and to the kernel and the locale.
GLIBC = re.compile(r"^(ld-linux.*|libc|libm|libpthread|libdl|librt|libresolv|libutil|libanl|libnsl|libmvec)\.so\.\d+$")


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def libraries_of(program):
    """Soname -> path of all that the loader would load for it, glibc's left out."""
    found = {}
    for line in run("ldd", program).splitlines():
        match = re.match(r"\s*(\S+) => (\S+)", line)
        if match and match.group(2) == "not":
            raise SystemExit("%s needs %s, which is not here" % (program, match.group(1)))
        if match and not GLIBC.match(match.group(1)):
            found[match.group(1)] = pathlib.Path(match.group(2)).resolve()
    return found


def newest_glibc(files):
    """(2, 36) for a program that needs a symbol of glibc 2.36 and none that is newer."""
    versions = {(2, 17)}
    for path in files:
        versions.update((int(major), int(minor)) for major, minor in
                        re.findall(r"\(GLIBC_(\d+)\.(\d+)(?:\.\d+)?\)", run("objdump", "-T", path)))
    return max(versions)


def bundle(evoked, package):
    """Program and libraries into package/bin and package/lib; returns all of their paths."""
    for folder in ("bin", "lib"):
        (package / folder).mkdir()
    program = package / "bin" / "evoked"
    files = [program]
    shutil.copyfile(evoked, program)
    for soname, path in sorted(libraries_of(evoked).items()):
        shutil.copyfile(path, package / "lib" / soname)
        files.append(package / "lib" / soname)
    for path in files:
        # The program's own names of functions stay in: a crash prints its stack with them.
        run("strip", "--strip-debug" if path == program else "--strip-unneeded", path)
        # RPATH, not RUNPATH: it is asked before LD_LIBRARY_PATH.
        run("patchelf", "--force-rpath", "--set-rpath", "$ORIGIN/../lib" if path == program else "$ORIGIN", path)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if path == program else 0))
    return files


def licenses(libraries, folder):
    """What Debian says of each library's authors and terms, by package."""
    folder.mkdir()
    for path in libraries:
        # By the end of its path: /lib is /usr/lib nowadays, and packages write either.
        owner = run("dpkg-query", "--search", "*/" + "/".join(path.parts[-2:])).split(":")[0]
        shutil.copyfile("/usr/share/doc/%s/copyright" % owner, folder / (owner + ".txt"))


def main(arguments):
    if len(arguments) != 3:
        raise SystemExit("usage: server_wheel.py CLIENT_WHEEL EVOKED OUT")
    client, evoked, out = (pathlib.Path(argument).resolve() for argument in arguments)
    for tool in ("patchelf", "strip", "objdump"):
        if not shutil.which(tool):
            raise SystemExit("server_wheel: %s is not installed" % tool)
    with tempfile.TemporaryDirectory() as scratch:
        run(sys.executable, "-m", "wheel", "unpack", "--dest", scratch, client)
        (tree,) = pathlib.Path(scratch).iterdir()
        files = bundle(evoked, tree / "evoke")
        tag = "py3-none-manylinux_%d_%d_%s" % (*newest_glibc(files), platform.machine())
        (description,) = tree.glob("*.dist-info/WHEEL")
        licenses(libraries_of(evoked).values(), description.parent / "licenses")
        text = description.read_text()
        text = re.sub(r"^Tag: .*$", "Tag: " + tag, text, flags=re.MULTILINE)
        text = re.sub(r"^Root-Is-Purelib: .*$", "Root-Is-Purelib: false", text, flags=re.MULTILINE)
        description.write_text(text)
        run(sys.executable, "-m", "wheel", "pack", "--dest-dir", out, tree)


if __name__ == "__main__":
    main(sys.argv[1:])
