"""Every link in the documents leads somewhere: files exist, headings exist, symbols that are named exist in the source."""

import re
import subprocess
import sys
from pathlib import Path

from aegis.model import conventions

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
SYMBOL = re.compile(r"`(aegis(?:\.[A-Za-z_][A-Za-z0-9_]*)+)`")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


TELEMETRY = {*conventions.OURS, *(each.otlp for each in conventions.METRICS)}


def anchors(text: str) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in HEADING.findall(CODE.sub("", text))}


def symbol_exists(name: str) -> bool:
    if (
        name in ("aegis.toml", "aegis.tenants") or name in TELEMETRY
    ):  # a file, a setting of PostgreSQL, names of metrics: no symbols
        return True
    parts = name.split(".")[1:]
    here = ROOT / "src" / "aegis"
    for index, part in enumerate(parts):
        if (here / part).is_dir():
            here /= part
        elif (here / f"{part}.py").is_file():
            rest, source = parts[index + 1 :], (here / f"{part}.py").read_text("utf-8")
            return all(re.search(rf"\b{re.escape(word)}\b", source) for word in rest)
        else:
            return bool(re.search(rf"\b{re.escape(part)}\b", (here / "__init__.py").read_text("utf-8")))
    return True


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    pages = [ROOT / name for name in listed] or sorted(p for p in ROOT.rglob("*.md") if ".venv" not in p.parts)
    wrong = []
    for page in pages:
        if not page.is_file():
            continue
        text = page.read_text("utf-8")
        prose = CODE.sub("", text)
        for target in LINK.findall(prose):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists():
                wrong.append(f"{page.relative_to(ROOT)}: link to `{target}`: no such file")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8")):
                wrong.append(f"{page.relative_to(ROOT)}: link to `{target}`: no such heading")
        wrong += [
            f"{page.relative_to(ROOT)}: symbol `{name}` does not exist"
            for name in set(SYMBOL.findall(prose))
            if not symbol_exists(name)
        ]
    print("\n".join(wrong) or f"docs: {len(pages)} pages, every link and symbol leads somewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
