"""Fails when Cargo.toml names a dependency that no source file names."""
import sys
import tomllib
from pathlib import Path

manifest = tomllib.loads(Path("Cargo.toml").read_text())


def text(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in Path(folder).rglob("*.rs"))


places = {"dependencies": ("src",), "dev-dependencies": ("src", "tests", "benches")}
unused = [
    f"{name} ({kind})"
    for kind, folders in places.items()
    for name in manifest.get(kind, {})
    if name.replace("-", "_") not in text(*folders)
]
if unused:
    sys.exit(f"Cargo.toml names what no code uses: {', '.join(unused)}")
print("every dependency is used")
