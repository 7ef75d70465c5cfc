"""The page as HTML, in Chinese and English."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
body { font-family: "Noto Sans SC", "PingFang SC", system-ui, sans-serif; margin: 3rem auto; max-width: 44rem;
       padding: 0 1rem; color: #1c2733; background: #f6f8fa; line-height: 1.6 }
header { border-left: .4rem solid #b3261e; padding-left: 1rem }
h1 { margin: 0 } header p { margin: .2rem 0 0; color: #5b6b7b }
section { background: #fff; border: 1px solid #dbe2e8; border-radius: .5rem; padding: 1rem 1.4rem; margin-top: 1.2rem }
h2 { margin: 0 0 .4rem; font-size: 1.05rem } dl { display: grid; grid-template-columns: 11rem 1fr; margin: 0 }
dt { color: #5b6b7b } dd { margin: 0; overflow-wrap: anywhere } .problem { color: #b3261e }
"""


def render(state: dict[str, Any]) -> str:
    """The page for `state`, as `server.App.state` makes it, and `person`: who is signed in."""
    person = state["person"]
    sections = [
        *([_section("person", "已登录 Signed in", person, _PERSON)] if person else []),
        _section("database", "数据库 Database", state["database"], _DATABASE),
        _section("cache", "缓存 Cache", state["cache"], _CACHE),
    ]
    title = escape(state["title"])
    return f"""<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1 id="title">{title}</h1>
<p>应用 App <strong id="app">{escape(state["app"])}</strong> ·
租户 Tenant <strong id="tenant">{escape(state["tenant"])}</strong></p>
</header>
{"".join(sections)}
</body>
</html>
"""


_DATABASE = {
    "note": "首次写入的内容 First note",
    "created": "写入时间 Written at",
    "database": "数据库名 Database",
    "role": "角色 Role",
    "server": "服务器版本 Server",
}
_PERSON = {"user": "用户 User", "groups": "用户组 Groups", "subject": "标识 Subject"}
_CACHE = {"visits": "访问次数 Visits", "prefix": "键前缀 Key prefix"}


def _section(name: str, title: str, content: dict[str, Any] | None, labels: dict[str, str]) -> str:
    if content is None:
        body = "<p>未绑定 Not bound</p>"
    elif "problem" in content:
        body = f'<p class="problem">暂不可用 Unavailable: {escape(str(content["problem"]))}</p>'
    else:
        texts = {key: escape(_text(content[key])) for key in labels}
        rows = "".join(f'<dt>{label}</dt><dd id="{name}-{key}">{texts[key]}</dd>\n' for key, label in labels.items())
        body = f"<dl>{rows}</dl>"
    return f'<section id="{name}">\n<h2>{title}</h2>\n{body}\n</section>\n'


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
