"""Where pages and numbers lie, and what blocks of pages are made of: code, tables, paragraphs."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rescore.ledger.tables import markdown

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = ROOT / "results" / "reference"


def code(text: str, language: str = "") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def table(rows: list[Mapping[str, object]]) -> str:
    return markdown(pd.DataFrame(rows))


def listed(pairs: Mapping[str, object]) -> str:
    return code("\n".join(f"{name:<12} {value}" for name, value in pairs.items()), "text")


def paragraph(*sentences: str) -> str:
    return textwrap.fill(" ".join(sentences), 128, break_long_words=False, break_on_hyphens=False)
