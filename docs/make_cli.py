"""Write `docs/cli.md`, the reference of all commands and options, from what `--help` says.

python docs/make_cli.py            # rewrite docs/cli.md
python docs/make_cli.py --check    # exit with 1 if it differs from the commands
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import lfdn.cli
import lfdn_video.cli

PROGRAMS: dict[str, click.Group] = {"lfdn-video": lfdn_video.cli.main, "lfdn": lfdn.cli.main}
INTRODUCTION = """Written by `python docs/make_cli.py` from what `--help` says; edit that instead.
[guide.md](guide.md) explains the commands one by one, [json.md](json.md) the exit codes,
[install.md](install.md) man pages and shell completion."""
PAGE = Path(__file__).with_name("cli.md")


def main() -> None:
    page = render_page()
    if "--check" in sys.argv[1:]:
        sys.exit(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page)
    PAGE.write_text(page, encoding="utf-8")


def render_page() -> str:
    """Return the whole page as Markdown."""
    blocks = ["# Command line reference", INTRODUCTION]
    blocks.append("\n".join(line for program in PROGRAMS for line in _contents(program)))
    for program, group in PROGRAMS.items():
        context = click.Context(group, info_name=program, **group.context_settings)
        blocks += [f"## {program}", *render_command(context)]
        for name, command in list_commands(group):
            nested = click.Context(command, info_name=name, parent=context)
            blocks += [f"### {nested.command_path}", *render_command(nested)]
    return "\n\n".join(blocks) + "\n"


def list_commands(group: click.Group) -> list[tuple[str, click.Command]]:
    """List the commands of a group that `--help` shows, in its order."""
    return [(name, each) for name, each in sorted(group.commands.items()) if not each.hidden]


def _contents(program: str) -> Iterator[str]:
    yield f"- [{program}](#{program})"
    for name, command in list_commands(PROGRAMS[program]):
        summary = escape(command.get_short_help_str(limit=100))
        yield f"  - [{name}](#{program}-{name}): {summary}"


def render_command(context: click.Context) -> Iterator[str]:
    """Yield the blocks that describe one command: its usage, its help, its options."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    for paragraph in (command.help or "").split("\n\n"):
        yield escape(" ".join(paragraph.split()))
    options = (each for each in command.get_params(context) if isinstance(each, click.Option))
    records = (each.get_help_record(context) for each in options)
    yield "\n".join(f"- `{names}`: {escape(text)}" for names, text in filter(None, records))


def escape(text: str) -> str:
    """Return the text of a help page as Markdown, its pages of docs/ as links."""
    text = re.sub(r"([*<])", r"\\\1", " ".join(text.split()))
    return re.sub(r"\bdocs/(\w+\.md)", r"[docs/\1](\1)", text)


if __name__ == "__main__":
    main()
