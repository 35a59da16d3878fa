"""The mutants of a source file, made with mutmut's operators."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the `index`-th of the file, in the statement from `line` to `last_line`."""

    path: str
    line: int
    last_line: int
    index: int

    def source(self, root: Path) -> str:
        """The whole changed file."""
        module, nodes = _nodes((root / self.path).read_text())
        node, changed = nodes[self.index][:2]
        return module.deep_replace(node, changed).code

    def diff(self, root: Path) -> tuple[str, str]:
        """The lines that differ, before and after, each on one line of text."""
        before, after = (root / self.path).read_text().splitlines(), self.source(root).splitlines()
        while before and after and before[0] == after[0]:
            before, after = before[1:], after[1:]
        while before and after and before[-1] == after[-1]:
            before, after = before[:-1], after[:-1]
        return " ".join(map(str.strip, before)), " ".join(map(str.strip, after))


def mutants(root: Path, path: str) -> list[Mutant]:
    source = (root / path).read_text()
    _module, nodes = _nodes(source)
    return [Mutant(path, first, last, index) for index, (_, _, first, last) in enumerate(nodes)]


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


class _Visitor(cst.CSTVisitor):
    """mutmut's own visitor leaves out decorated functions, for it copies functions; here whole files are replaced.

    Left out: annotations, type aliases and `__all__`, `strict` of zip, decorators, docstrings, and what a
    `raise` says.
    """

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, int]] = []
        self._statement: cst.CSTNode | None = None

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Raise)):
            return False
        if isinstance(node, cst.Expr) and isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString)):
            return False
        if isinstance(node, cst.Assign) and (_is_alias(node.value) or _name(node) == "__all__"):
            return False
        if isinstance(node, cst.Arg) and _is_strict(node):
            return False
        if isinstance(node, cst.SimpleStatementLine):
            self._statement = node
        position = self.get_metadata(PositionProvider, self._statement or node, None)
        if position is not None:
            for kind, operator in mutation_operators:
                if isinstance(node, kind):
                    changes = [changed for changed in operator(node) if _strict(node) == _strict(changed)]
                    # of the three changes of a string one is enough: each is another text
                    for changed in changes[: 1 if operator is operator_string else None]:
                        self.found.append((node, changed, position.start.line, position.end.line))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if original_node is self._statement:
            self._statement = None


def _is_strict(node: cst.Arg) -> bool:
    return node.keyword is not None and node.keyword.value == "strict"


def _strict(node: cst.CSTNode) -> list[str]:
    """The `strict` of a zip: a guard that no right input meets."""
    return [arg.value.value for arg in node.args if _is_strict(arg)] if isinstance(node, cst.Call) else []


def _name(node: cst.Assign) -> str | None:
    target = node.targets[0].target
    return target.value if isinstance(target, cst.Name) else None


def _is_alias(value: cst.BaseExpression) -> bool:
    return (
        isinstance(value, cst.Subscript) and isinstance(value.value, cst.Name) and value.value.value in ("Literal", "Callable")
    )


def _nodes(source: str) -> tuple[cst.Module, list[tuple[cst.CSTNode, cst.CSTNode, int, int]]]:
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor()
    wrapper.visit(visitor)
    return wrapper.module, visitor.found


def all_mutants(root: Path, paths: list[str]) -> Iterator[Mutant]:
    for path in paths:
        yield from mutants(root, path)
