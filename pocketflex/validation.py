"""What is wrong with a node before it runs: each check returns problems as text, none raises.

A check reports only what is certain. The check of actions reads the source of `post`; where that is
not available, or what it returns is computed, it is silent.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from .async_node import AsyncBatchNode, AsyncNode
from .batch_node import BatchNode
from .errors import OptionError
from .node import BaseNode, Node, is_default
from .retry import policy
from .walk import label_of

_SYNC_PHASES = ("prep", "exec", "exec_item", "exec_chunk", "exec_fallback", "post")


def check_node(node: BaseNode[Any, Any, Any]) -> list[str]:
    """Everything that is wrong with one node, each problem in one line."""
    checks = (_check_edges, _check_retries, _check_items, _check_single, _check_sync, _check_async, _check_actions)
    return [f"{label_of(node)}: {problem}" for check in checks for problem in check(node)]


def _check_edges(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    for _, key, target in node._links():
        if target is not None and not isinstance(target, BaseNode):
            yield f"the edge {key!r} leads to {target!r:.60}, which is not a node (nor None, a declared end)"


def _check_retries(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    if isinstance(node, Node):
        try:
            policy(node.max_retries, node.wait, node.retry)
        except OptionError as error:
            yield str(error)


def _check_items(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    """A batch node that does nothing with its items: most often a misspelt method."""
    if isinstance(node, AsyncBatchNode):
        wanted: tuple[str, ...] = ("exec_item_async", "exec_async", "exec_item", "exec")
    elif isinstance(node, BatchNode):
        wanted = ("exec_item", "exec_chunk", "exec")
    else:
        return
    methods = (getattr(node, name, None) for name in wanted)
    if all(method is None or is_default(method) for method in methods):
        yield f"it has no {wanted[0]}, so all of its results would be None"


def _check_single(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    """A node that has a method for items and computes nothing: most often a batch node of the wrong class."""
    if not isinstance(node, Node) or isinstance(node, BatchNode | AsyncBatchNode):
        return
    if all(is_default(getattr(node, name)) for name in ("exec", "exec_async") if hasattr(node, name)):
        for name in ("exec_item", "exec_chunk", "exec_item_async"):
            if hasattr(node, name):
                base = _base_name(node).replace("Node", "BatchNode")
                yield f"its {name} is never called, as the class is no batch node: make it {_with_article(base)}"


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _check_sync(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    if isinstance(node, AsyncNode):
        return
    for name in _SYNC_PHASES:
        if inspect.iscoroutinefunction(getattr(node, name, None)):
            yield f"{name} is `async def`, but the class is not async: make it an Async{_base_name(node)}"


def _base_name(node: BaseNode[Any, Any, Any]) -> str:
    package = __name__.partition(".")[0]
    bases = (kind.__name__ for kind in type(node).__mro__ if kind.__module__.partition(".")[0] == package)
    return next(bases, "Node").replace("BaseNode", "Node")


def _check_async(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    if not isinstance(node, AsyncNode):
        return
    names = ["exec", "exec_item"] if isinstance(node, AsyncBatchNode) else ["exec"]
    if any(not is_default(getattr(node, f"{name}_async")) for name in names):
        return
    for name in names:
        if not is_default(getattr(node, name)):
            yield f"{name} is never called, as the class is async: name it {name}_async and make it `async def`"


def _check_actions(node: BaseNode[Any, Any, Any]) -> Iterator[str]:
    if not node.successors:
        return
    post = getattr(node, "post_async", node.post)
    actions = _literal_actions(inspect.unwrap(getattr(post if not is_default(post) else node.post, "__func__", post)))
    for action in sorted(actions - set(node.successors)):
        end = "node >> None" if action == "default" else f"node - {action!r} >> None"
        yield f"dangling action: post returns {action!r}, which has no edge; connect it, or declare an end: {end}"


@lru_cache(maxsize=512)
def _literal_actions(post: Callable[..., Any]) -> frozenset[str]:
    """The actions that `post` returns, if every one of its `return`s names a literal; else nothing."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(post)))
    except (OSError, TypeError, SyntaxError):
        return frozenset()
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.decorator_list:
        return frozenset()
    actions = [_literal_action(statement.value) for statement in _returns(function.body)]
    return frozenset() if None in actions else frozenset(action for action in actions if action is not None)


def _returns(statements: list[ast.stmt]) -> Iterator[ast.Return]:
    """The return statements of a body, without those of functions and classes defined in it."""
    for statement in statements:
        if isinstance(statement, ast.Return):
            yield statement
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for child in ast.iter_child_nodes(statement):
                inner = child.body if isinstance(child, ast.ExceptHandler | ast.match_case) else [child]
                yield from _returns([entry for entry in inner if isinstance(entry, ast.stmt)])


def _literal_action(value: ast.expr | None) -> str | None:
    """The action that a return's value names; None if it is computed."""
    if isinstance(value, ast.Tuple) and len(value.elts) == 2:
        value = value.elts[0]
    if value is None:
        return "default"
    if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
        return value.value or "default"
    return None
