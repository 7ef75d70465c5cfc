"""Data services in a city of scripts: the image's server over a real PostgreSQL, and owners' databases in it that the
scripts of the capability `postgresql` have made."""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from stacks.platforms.data.data_services.access import ADMIN, PROVISION
from tests.images.app_databases import ADMIN_PASSWORD, PASSWORD, Database
from tests.images.rootfs import RootFilesystem, free_port, wait_for
from tests.support.pki import Authority

CATALOGUE, READER = "capability_data_services_db", "capability_data_services_reader"
# An asset, the app that owns it, one that is granted some of it, and one that is not; and for what it is granted.
VISITS = "parks/web/visits"
OWNER, CONSUMER, OTHER = "parks/web", "health/code", "roads/bus"
PURPOSE = "contact tracing"
# The table of the asset, which the owner grants the reader but for a column; and objects that would do harm.
VISITS_TABLE = f"""CREATE TABLE visits (id int PRIMARY KEY, park text NOT NULL, phone text, age int,
  price numeric(8, 2), seen timestamptz NOT NULL, tags jsonb, secret text);
INSERT INTO visits SELECT i, CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END, '1380013800' || i % 10,
  CASE WHEN i % 5 = 0 THEN NULL ELSE i % 7 END, i * 1.5, '2026-11-01 08:00+00', '{{"a": [1]}}', 'secret'
  FROM generate_series(1, 25) i;
COMMENT ON TABLE visits IS 'data asset {VISITS}';
GRANT CONNECT ON DATABASE parks_web_db TO {READER};
GRANT SELECT (id, park, phone, age, price, seen, tags) ON visits TO {READER}"""
HOSTILE = f"""CREATE FUNCTION evil(what text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE what; RETURN 'done'; END $$;
CREATE FUNCTION told(what text) RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE found text; BEGIN EXECUTE what INTO found; RETURN found; END $$;
CREATE VIEW passwords AS SELECT 1 AS id, public.evil('ALTER ROLE {READER} PASSWORD ''x''') AS told;
CREATE VIEW writing AS SELECT 1 AS id, public.evil('CREATE TABLE public.t (a int)') AS told;
CREATE VIEW writable AS SELECT 1 AS id, public.evil('SET transaction_read_only = off') AS told;
CREATE VIEW files AS SELECT 1 AS id, public.told('SELECT pg_read_file(''/etc/passwd'')') AS told;
CREATE VIEW sessions AS SELECT 1 AS id,
  public.told('SELECT set_config(''search_path'', ''public'', false)') AS told;
CREATE VIEW whose AS SELECT 1 AS id, current_user::text AS told;
CREATE TYPE colour AS ENUM ('red');
CREATE TABLE typed (id int PRIMARY KEY, told colour);
CREATE TABLE ruled (id int PRIMARY KEY, told text);
ALTER TABLE ruled ENABLE ROW LEVEL SECURITY;
CREATE POLICY ruled ON ruled USING (public.evil('SELECT 1') = 'done');
CREATE SEQUENCE counted"""
# Connections that the reader may have; the server leaves two of them.
READING = 10


@dataclass(frozen=True)
class Services:
    """A running server, and the ways to ask it."""

    image: RootFilesystem
    database: Database
    place: Path
    port: int
    admin: int
    authority: bytes

    def ask(
        self, who: str, method: str, path: str, body: Any = None, *, password: str = PASSWORD, **parameters: Any
    ) -> tuple[int, Any]:
        """The code and the content of an answer to the app `who` (tenant/app), or to the administrator."""
        user = who if who == ADMIN else f"{who.replace('/', '.')}.data"
        at = self.admin if path.startswith(("/accounts", "/calls", "/metrics")) else self.port
        context = ssl.create_default_context(cadata=self.authority.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", at, context=context, timeout=30)
        word = ADMIN_PASSWORD if who == ADMIN else password
        headers = {"Authorization": "Basic " + b64encode(f"{user}:{word}".encode()).decode()}
        text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        try:
            connection.request(method, path + query, text, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content.decode()

    def read(self, who: str, asset: str, **parameters: Any) -> tuple[int, Any]:
        """A page of an asset's table."""
        return self.ask(who, "GET", f"/data/{asset}", **parameters)

    def put(self, asset: str, document: Mapping[str, Any]) -> None:
        """Describe an asset as the app that owns it."""
        tenant, app, _ = asset.split("/")
        code, said = self.ask(f"{tenant}/{app}", "PUT", f"/assets/{asset}", document)
        assert code == 200, said

    def script(self, text: str, **values: str) -> str:
        """What a script of the capability prints, run in its image as its Job does."""
        given = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "AUTHORITY": f"/tmp{self.place}/ca.crt",
        }
        # The administrator's port of a capability is its type's; here it is a free one.
        text = text.replace("-admin 8444", f"-admin {self.admin}")
        done = self.image.run("/bin/sh", "-c", text, shared=[self.place], **given, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def account(self, who: str, password: str = PASSWORD, connections: int = 4, storage: int = 4 * 2**20) -> None:
        """An app's account, as its use gets it."""
        given = {"APP_ROLE": f"{who.replace('/', '.')}.data", "OWNER": f"{who}/data", "APP_PASSWORD": password}
        self.script(PROVISION, **given, CONNECTIONS=str(connections), STORAGE=str(storage))


def bindings(database: Database, place: Path) -> None:
    """The files of the two uses of `postgresql`."""
    for alias, role in (("db", CATALOGUE), ("reader", READER)):
        database.bind(role, place / alias)


@contextmanager
def serving(image: RootFilesystem, database: Database, place: Path, authority: Authority) -> Iterator[Services]:
    """The image's server with the bindings in `place`."""
    port, admin, inside = free_port(), free_port(), f"/tmp{place}"
    options = [f"-listen=127.0.0.1:{port}", f"-admin=127.0.0.1:{admin}", f"-catalogue={inside}/db"]
    options += [f"-reader={inside}/reader", f"-reader-connections={READING}"]
    options += [f"-certificate={inside}/tls.crt", f"-key={inside}/tls.key"]
    secrets = {"ADMIN_PASSWORD": ADMIN_PASSWORD, "MASKING_KEY": "key-of-masks"}
    with image.running("/usr/local/bin/data-services", "serve", *options, shared=[place], **secrets) as process:
        found = Services(image, database, place, port, admin, authority.cert)
        wait_for("the server", lambda: found.ask("nobody/nobody", "GET", "/health")[0] == 200 or None, process)
        yield found


def described(**changes: Any) -> dict[str, Any]:
    """The document of the visits."""
    classes = {"phone": "personal", "age": "internal"}
    columns = ("id", "park", "phone", "age", "price", "seen", "tags", "secret")
    return {
        "kind": "table",
        "title": "游园记录",
        "description": "who visited which park",
        "sharing": "conditional",
        "columns": [{"name": name, "class": classes.get(name, "open")} for name in columns],
        "table": {"database": "parks_web_db", "schema": "public", "name": "visits", "key": ["id"]},
        "grants": [
            {
                "tenant": "health",
                "app": "code",
                "columns": ["id", "park", "phone", "age", "price", "seen", "tags"],
                "rows": [{"column": "park", "is": "eq", "values": ["north"]}],
                "masks": {"phone": "partial"},
                "purpose": PURPOSE,
                "page": 5,
                "minute": 1000,
            }
        ],
        **changes,
    }


def simple(table: str, *columns: str, owner: str = OWNER, **grant: Any) -> dict[str, Any]:
    """The document of a table with open columns, the first its key, of which the consumer is granted all."""
    return {
        "kind": "table",
        "title": table,
        "sharing": "conditional",
        "columns": [{"name": name, "class": "open"} for name in columns],
        "table": {
            "database": f"{owner.replace('/', '_')}_db",
            "schema": "public",
            "name": table,
            "key": [columns[0]],
        },
        "grants": [{"tenant": "health", "columns": list(columns), **grant}],
    }


def pages(services: Services, asset: str, **parameters: Any) -> list[list[Any]]:
    """All rows of an asset that the consumer gets, page by page."""
    rows: list[list[Any]] = []
    for _ in range(50):
        code, page = services.read(CONSUMER, asset, **parameters)
        assert code == 200, page
        rows += page["rows"]
        if "cursor" not in page:
            return rows
        parameters["cursor"] = page["cursor"]
    raise AssertionError("pages without an end")
