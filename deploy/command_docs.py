"""Man pages and shell completion of our programs, made from what they say themselves with --help.

    command_docs.py OUT man PROGRAM PAGE.in       the page, with @OPTIONS@ and @COMMANDS@ filled in
    command_docs.py OUT bash|zsh PROGRAM          the completion

So no flag is written down twice. Understands CLI11's help and evoked's, which look alike: lines of two spaces, a flag or
a command, its placeholder, and its text behind two spaces or on lines of their own.
"""

import os
import re
import subprocess
import sys
from typing import Dict, List, NamedTuple

ENTRY = re.compile(r"^  (?P<head>\S(?:.*?\S)?)(?:  +(?P<text>\S.*)|)$")
MORE = re.compile(r"^ {12,}(?P<text>\S.*)$")


class Option(NamedTuple):
    names: List[str]  # "-h", "--help"
    value: str        # "FILE", "TEXT=127.0.0.1:7380 (Env:EVOKE_ADDRESS)"; empty: a switch
    text: str

    @property
    def choices(self) -> List[str]:
        """The words that its text lists ("how: poisson (bursts) or constant; default poisson"), if it lists any."""
        if not re.match(r"(NAME|LEVEL|FORMAT)\b", self.value):
            return []
        for part in reversed(re.sub(r" \([^)]*\)", "", re.split(r"[;.]", self.text)[0]).split(":")):
            words = re.split(r",? or |, ", part.strip())
            if len(words) > 1 and all(re.fullmatch(r"[a-z][a-z0-9_]*", word) for word in words):
                return words
        return []

    @property
    def takes_folder(self) -> bool:
        return self.value.startswith("DIR")


class Command(NamedTuple):
    path: List[str]        # ["evokectl", "memory", "create"]
    text: str
    positionals: List[Option]
    groups: Dict[str, List[Option]]
    commands: List["Command"]

    @property
    def options(self) -> List[Option]:
        return [option for group in self.groups.values() for option in group]

    def all(self):
        yield self
        for command in self.commands:
            yield from command.all()


def describe(program: str, path=None) -> Command:
    """Reads --help of the program and of all its commands."""
    path = path or [os.path.basename(program)]
    text = subprocess.run([program, *path[1:], "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    about = re.split(r"^Usage:", text, flags=re.MULTILINE)[0].strip()
    sections, section, last = {}, "Options", None
    for line in text.splitlines():
        entry, more = ENTRY.match(line), MORE.match(line)
        if re.fullmatch(r"[A-Z][A-Za-z ]*:", line):
            section, last = line[:-1], None
        elif more and last is not None:
            last[1] = (last[1] + " " + more["text"]).strip()
        elif entry and (section in ("Positionals", "Subcommands") or entry["head"].startswith("-")):
            last = [entry["head"], entry["text"] or ""]
            # A placeholder that leaves only one space before the text: "--deadline TEXT:DURATION of every call".
            squeezed = re.match(r"(-\S+ \S+) (.+)$", last[0]) if not last[1] else None
            if squeezed and not re.search(r" \(Env:\S+\)$| REQUIRED$", last[0]):
                last = [squeezed[1], squeezed[2]]
            sections.setdefault(section, []).append(last)
        elif line.strip():
            last = None
    commands = [describe(program, path + [head]) for head, _ in sections.pop("Subcommands", [])]
    positionals = [Option([head.split()[0]], head.partition(" ")[2], text)
                   for head, text in sections.pop("Positionals", [])]
    groups = {name: [option(head, text) for head, text in entries] for name, entries in sections.items()}
    return Command(path, about, positionals, groups, commands)


def option(head: str, text: str) -> Option:
    names, _, value = head.partition(" ")
    return Option(names.split(","), value, text)


# --- man ------------------------------------------------------------------------------------------------------------


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in ".'" else text


def man_options(options: List[Option]) -> str:
    lines = []
    for one in options:
        value = " \\fI%s\\fR" % roff(one.value) if one.value else ""
        lines += [".TP", ", ".join("\\fB%s\\fR" % roff(name) for name in one.names) + value, roff(one.text)]
    return "\n".join(lines)


def man_groups(command: Command) -> str:
    blocks = []
    for name, options in command.groups.items():
        if name != "Options":
            blocks.append(".SS %s" % roff(name))
        blocks.append(man_options(options))
    return "\n".join(blocks)


def man_commands(command: Command) -> str:
    blocks = []
    for one in command.all():
        if one is command or one.commands:
            continue
        names = " ".join(positional.names[0] if "REQUIRED" in positional.value else "[%s]" % positional.names[0]
                         for positional in one.positionals)
        blocks += [".SS %s %s" % (roff(" ".join(one.path[1:])), roff(names)), roff(" ".join(one.text.split())),
                   man_options(one.positionals + [o for o in one.options if "--help" not in o.names])]
    return "\n".join(block for block in blocks if block)


def man(command: Command, template: str) -> str:
    with open(template, encoding="utf-8") as f:
        page = f.read()
    for marker, make in (("@OPTIONS@", man_groups), ("@COMMANDS@", man_commands)):
        if marker in page:
            page = page.replace(marker, make(command))
    return page


# --- completion -----------------------------------------------------------------------------------------------------


def words(command: Command) -> str:
    return " ".join(c.path[-1] for c in command.commands)


def bash(command: Command) -> str:
    """A function that walks the words typed so far down the commands, then offers what is possible there."""
    name = command.path[0]
    function = "_" + name.replace("-", "_")
    every = list(command.all())
    lines = ["# bash completion of %s, made by command_docs.py from its --help." % name, function + "() {",
             "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} path=%s word" % name,
             "  COMPREPLY=()", "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do", "    case \"$path $word\" in"]
    if len(every) > 1:
        lines.append("      %s) path=\"$path $word\" ;;" % " | ".join('"%s"' % " ".join(c.path) for c in every[1:]))
    lines += ["      *) ;;", "    esac", "  done", "  case \"$previous\" in"]
    seen = set()
    for one in every:
        for choice in one.options:
            keys = [key for key in choice.names if key not in seen]
            seen.update(keys)
            if keys and choice.choices:
                lines.append('    %s) COMPREPLY=($(compgen -W "%s" -- "$current")); return ;;' %
                             (" | ".join(keys), " ".join(choice.choices)))
            elif keys and choice.value:
                lines.append('    %s) COMPREPLY=($(compgen -%s -- "$current")); return ;;' %
                             (" | ".join(keys), "d" if choice.takes_folder else "f"))
    lines += ["  esac", "  case \"$path\" in"]
    for one in every:
        # Options of the program may stand behind every command of it.
        flags = {n: None for c in (one, command) for o in c.options for n in o.names if n.startswith("--")}
        lines.append('    "%s")' % " ".join(one.path))
        lines.append('      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "%s" -- "$current"))' % " ".join(flags))
        if one.commands:
            lines.append('      else COMPREPLY=($(compgen -W "%s" -- "$current")); fi ;;' % words(one))
        elif any(p.text.startswith("of the memory") for p in one.positionals) and name == "evokectl":
            lines.append('      else COMPREPLY=($(compgen -W "$(_evokectl_memories)" -- "$current")); fi ;;')
        else:
            lines.append('      else COMPREPLY=($(compgen -f -- "$current")); fi ;;')
    lines += ["  esac", "}"]
    if name == "evokectl":
        lines += ["# Asks the server that the environment names, for a second at most; nothing when it does not answer.",
                  "_evokectl_memories() { evokectl --deadline 1s memory list -o json 2>/dev/null |",
                  "  sed -n 's/^ *\"name\": \"\\([^\"]*\\)\".*/\\1/p'; }"]
    lines.append("complete -o filenames -F %s %s" % (function, name))
    return "\n".join(lines) + "\n"


def zsh(command: Command) -> str:
    """zsh runs the bash one: it brings what that needs."""
    name = command.path[0]
    return "#compdef %s\nautoload -U +X bashcompinit && bashcompinit\n%s" % (name, bash(command).replace(
        "complete -o filenames -F", "complete -F"))


def make(kind: str, program: str, *template: str) -> str:
    makers = {"man": man, "bash": bash, "zsh": zsh}
    if kind not in makers or (kind == "man") != (len(template) == 1):
        raise SystemExit(__doc__)
    return makers[kind](describe(program), *template)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        raise SystemExit(__doc__)
    made = make(*sys.argv[2:])
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(made)
