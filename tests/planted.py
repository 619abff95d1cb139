"""Two databases of applications with twenty mistakes in each, and what their applications ask.

They were written down as a database expert would plant them, before the code that is to find them: an index
that is missing for a condition, a range, a join, an order, several columns together; one whose columns stand
in the wrong order; the same one twice; one that another begins with; one that nothing uses; one that finds
half of a table; a foreign key without one; a chance for a partial and for a covering one; statistics of
yesterday's rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import holdfast
from holdfast.tuning.advice import Advice

Found = Callable[[list[Advice]], bool]


@dataclass(frozen=True)
class Application:
    """``planted`` says of each mistake how to know that it was found; ``traps`` are indexes of no use."""

    build: Callable[[holdfast.Database, int], None]
    workload: list[str]
    planted: dict[str, Found]
    traps: dict[str, Found]


def index(table: str, *columns: str, partial: bool | None = None, covers: str | None = None) -> Found:
    """An index that begins with these columns; those of a set in one string, "a|b", in either order."""

    def found(advices: list[Advice]) -> bool:
        return any(
            advice.action == "create"
            and advice.table == table
            and _begins(list(advice.columns), columns)
            and partial in (None, advice.where is not None)
            and (covers is None or covers in (*advice.columns, *advice.include))
            for advice in advices
        )

    return found


def _begins(columns: list[str], wanted: tuple[str, ...]) -> bool:
    for part in wanted:
        names = part.split("|")
        if set(columns[: len(names)]) != set(names):
            return False
        columns = columns[len(names) :]
    return True


def either(one: Found, other: Found) -> Found:
    return lambda advices: one(advices) or other(advices)


def dropped(*names: str) -> Found:
    """One of these indexes is to go."""
    return lambda advices: any(advice.action == "drop" and advice.index in names for advice in advices)


def lost(name: str, table: str, column: str) -> Found:
    """It is to go, and nothing that holds its column is to take its place."""

    def found(advices: list[Advice]) -> bool:
        made = [advice for advice in advices if advice.action == "create" and advice.table == table]
        return dropped(name)(advices) and all(column not in advice.columns for advice in made)

    return found


def both_dropped(one: str, other: str) -> Found:
    return lambda advices: dropped(one)(advices) and dropped(other)(advices)


def analysed(table: str) -> Found:
    return lambda advices: any(advice.action == "analyze" and advice.table == table for advice in advices)


def _filled(db: holdfast.Database, table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    db.insert_many(table, rows, columns=columns.split())


def _stale(db: holdfast.Database, table: str) -> None:
    """No server is to renew statistics by itself, or a test would depend on when it does."""
    if db.engine.dialect.name == "postgresql":
        db.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")


# A shop


def _build_shop(db: holdfast.Database, rows: int) -> None:
    draw = random.Random(11)
    key, whole, text = "INTEGER PRIMARY KEY", "INTEGER", "TEXT"
    people = rows // 5
    db.create_table(
        "customers", {"id": key, "email": text, "newsletter": whole, "country": text, "name": text}
    )
    _filled(
        db,
        "customers",
        "id email newsletter country name",
        (
            (n, f"c{n}@shop.example", n % 2, "DE" if n % 20 else "AT", f"Customer {n} " + "x" * 40)
            for n in range(people)
        ),
    )
    db.create_table("products", {"id": key, "ean": text, "price": whole, "title": text})
    _filled(
        db,
        "products",
        "id ean price title",
        ((n, f"{n:013}", draw.randrange(10**6), f"Product {n} " + "t" * 60) for n in range(people)),
    )
    db.create_index("products", "ean", name="products_ean")
    db.create_table(
        "orders",
        {"id": key, "customer_id": whole, "placed": whole, "currency": text, "total": whole, "note": text},
    )
    _filled(
        db,
        "orders",
        "id customer_id placed currency total note",
        ((n, draw.randrange(people), n * 60, "EUR", draw.randrange(10**5), "n" * 50) for n in range(rows)),
    )
    db.create_index("orders", "currency", name="orders_currency")
    db.create_index("customers", "newsletter", name="customers_newsletter")
    db.create_table("items", {"id": key, "order_id": whole, "product_id": whole, "quantity": whole})
    _filled(
        db,
        "items",
        "id order_id product_id quantity",
        ((n, draw.randrange(rows), draw.randrange(people), n % 5 + 1) for n in range(rows)),
    )
    db.create_table("payments", {"id": key, "order_id": whole, "amount": whole, "method": text})
    _filled(
        db,
        "payments",
        "id order_id amount method",
        ((n, draw.randrange(rows), n % 977, "card" if n % 3 else "bank") for n in range(rows)),
    )
    db.create_table(
        "reviews", {"id": key, "product_id": whole, "written": whole, "stars": whole, "body": text}
    )
    _filled(
        db,
        "reviews",
        "id product_id written stars body",
        ((n, draw.randrange(rows // 100), draw.randrange(10**7), n % 5, "r" * 80) for n in range(rows)),
    )
    db.create_table("moves", {"id": key, "warehouse": whole, "product_id": whole, "pieces": whole})
    _filled(
        db,
        "moves",
        "id warehouse product_id pieces",
        ((n, draw.randrange(60), draw.randrange(80), n % 9) for n in range(rows)),
    )
    db.create_table("shipments", {"id": key, "shipped": whole, "carrier": whole, "label": text})
    _filled(
        db,
        "shipments",
        "id shipped carrier label",
        ((n, draw.randrange(10**6), draw.randrange(300), "l" * 40) for n in range(rows)),
    )
    db.create_index("shipments", ["shipped", "carrier"], name="shipments_shipped_carrier")
    db.create_table("returns", {"id": key, "day": whole, "customer_id": whole, "reason": text})
    _filled(
        db,
        "returns",
        "id day customer_id reason",
        ((n, draw.randrange(3000), draw.randrange(people), "because " * 5) for n in range(rows)),
    )
    db.create_index("returns", ["day", "customer_id"], name="returns_day_customer")
    db.create_table("sessions", {"id": key, "token": text, "customer_id": whole})
    _filled(
        db,
        "sessions",
        "id token customer_id",
        ((n, f"{draw.getrandbits(64):016x}", draw.randrange(people)) for n in range(rows // 2)),
    )
    db.create_index("sessions", "token", name="sessions_token")
    db.create_index("sessions", "token", name="sessions_by_token")
    db.create_table("tickets", {"id": key, "customer_id": whole, "opened": whole, "text": text})
    _filled(
        db,
        "tickets",
        "id customer_id opened text",
        ((n, draw.randrange(people), draw.randrange(10**6), "help " * 8) for n in range(rows // 2)),
    )
    db.create_index("tickets", ["customer_id"], name="tickets_customer")
    db.create_index("tickets", ["customer_id", "opened"], name="tickets_customer_opened")
    db.create_table(
        "invoices",
        {"id": key, "customer_id": whole, "sum": whole},
        foreign_keys={"customer_id": "customers(id)"},
    )
    _filled(
        db,
        "invoices",
        "id customer_id sum",
        ((n, draw.randrange(people), draw.randrange(10**5)) for n in range(rows)),
    )
    db.create_table("jobs", {"id": key, "status": text, "created": whole, "payload": text})
    _filled(
        db,
        "jobs",
        "id status created payload",
        ((n, "queued" if n % 200 == 0 else "done", draw.randrange(10**7), "j" * 40) for n in range(rows)),
    )
    db.create_table("carts", {"id": key, "owner": whole, "closed": whole, "value": whole})
    _filled(
        db,
        "carts",
        "id owner closed value",
        ((n, draw.randrange(50), None if n % 100 == 0 else n, draw.randrange(1000)) for n in range(rows)),
    )
    db.create_table("ledger", {"id": key, "account": whole, "amount": whole, "memo": text})
    _filled(
        db,
        "ledger",
        "id account amount memo",
        ((n, draw.randrange(20), draw.randrange(1000), "m" * 200) for n in range(rows)),
    )
    db.create_index("ledger", "account", name="ledger_account")
    db.create_table("visits", {"id": key, "page": whole, "day": whole, "agent": text})
    _filled(
        db,
        "visits",
        "id page day agent",
        ((n, draw.randrange(40), draw.randrange(365), "a" * 60) for n in range(rows)),
    )
    db.create_table("audit", {"id": key, "actor": whole, "at": whole})
    _filled(db, "audit", "id actor at", ((n, draw.randrange(500), n) for n in range(rows // 4)))
    db.create_table("parcels", {"id": key, "region": whole, "code": whole, "weight": whole})
    _stale(db, "parcels")
    db.create_index("parcels", "region", name="parcels_region")
    db.create_index("parcels", "code", name="parcels_code")
    _filled(db, "parcels", "id region code weight", ((n, n, n % 5, n % 50) for n in range(rows // 10)))
    db.analyze()
    db.delete("parcels", all_rows=True)
    _filled(db, "parcels", "id region code weight", ((n, 1, n, n % 50) for n in range(rows)))


SHOP = Application(
    _build_shop,
    [
        "SELECT id, name FROM customers WHERE email = 'c77@shop.example'",
        "SELECT count(*), max(name) FROM customers WHERE newsletter = 1",
        "SELECT * FROM customers WHERE country = 'DE'",
        "SELECT id, total, note FROM orders WHERE placed BETWEEN 60000 AND 63000",
        "SELECT sum(total) FROM orders WHERE currency = 'EUR'",
        "SELECT o.id, i.quantity FROM orders o JOIN items i ON i.order_id = o.id WHERE o.id = ?",
        "SELECT o.id, p.amount, p.method FROM orders AS o LEFT JOIN payments AS p ON p.order_id = o.id "
        "WHERE o.id = 44",
        "SELECT id, title, price FROM products ORDER BY price LIMIT 20",
        "SELECT stars, body FROM reviews WHERE product_id = 5 ORDER BY written DESC LIMIT 10",
        "SELECT sum(pieces), count(DISTINCT id) FROM moves WHERE warehouse = ? AND product_id = ?",
        "SELECT id, label FROM shipments WHERE carrier = 12 AND shipped > 900000",
        "SELECT id, reason FROM returns WHERE customer_id = ?",
        "SELECT id FROM returns WHERE day = 17 AND customer_id = 4",
        "SELECT customer_id FROM sessions WHERE token = ?",
        "SELECT id, text FROM tickets WHERE customer_id = 9 ORDER BY opened",
        "SELECT count(*) FROM tickets WHERE customer_id = 9",
        "DELETE FROM customers WHERE id = ?",
        "SELECT id, payload FROM jobs WHERE status = 'queued' ORDER BY created LIMIT 10",
        "SELECT id, value FROM carts WHERE closed IS NULL AND owner = 7",
        "SELECT sum(amount) FROM ledger WHERE account = 3",
        "SELECT day, count(*) FROM visits WHERE page = 10 GROUP BY day",
        "SELECT weight FROM parcels WHERE region = 1 AND code = 3",
        "UPDATE products SET title = ? WHERE id = ?",
        "SELECT * FROM audit WHERE actor = 3",
        *["INSERT INTO audit (actor, at) VALUES (?, ?)"] * 20_000,
    ],
    {
        "a condition": index("customers", "email"),
        "a range": index("orders", "placed"),
        "a join": index("items", "order_id"),
        "an outer join": index("payments", "order_id"),
        "an order": index("products", "price"),
        "an order of what a condition finds": index("reviews", "product_id", "written"),
        "several columns": index("moves", "warehouse|product_id"),
        "a range before what is equal": index("shipments", "carrier", "shipped"),
        "a column that comes second": index("returns", "customer_id"),
        "the same index twice": dropped("sessions_token", "sessions_by_token"),
        "the beginning of another": dropped("tickets_customer"),
        "nobody uses it": dropped("products_ean"),
        "it finds half of the table": dropped("customers_newsletter"),
        "it finds all of the table": dropped("orders_currency"),
        "a foreign key": index("invoices", "customer_id"),
        "a few rows in a state": index("jobs", "created", partial=True),
        "a few rows without a value": index("carts", "owner", partial=True),
        "a sum from the index alone": index("ledger", "account", covers="amount"),
        "groups of what a condition finds": index("visits", "page", "day"),
        "yesterday's statistics": analysed("parcels"),
    },
    {
        "nearly all rows are alike": index("customers", "country"),
        "written far more often than asked": index("audit", "actor"),
        "found by its key": index("orders", "id"),
        "they are used": either(
            lost("parcels_code", "parcels", "code"), lost("tickets_customer_opened", "tickets", "customer_id")
        ),
        "both of two": both_dropped("sessions_token", "sessions_by_token"),
    },
)


# A hospital


def _build_hospital(db: holdfast.Database, rows: int) -> None:
    draw = random.Random(23)
    key, whole, text = "INTEGER PRIMARY KEY", "INTEGER", "TEXT"
    people = rows // 4
    db.create_table("Patients", {"id": key, "insurance": text, "born": whole, "sex": text, "Surname": text})
    _filled(
        db,
        "Patients",
        "id insurance born sex Surname",
        (
            (n, f"K{draw.getrandbits(40)}", draw.randrange(36500), "fm"[n % 2], f"N{draw.randrange(people)}")
            for n in range(people)
        ),
    )
    db.create_index("Patients", "sex", name="patients_sex")
    db.create_table("wards", {"id": key, "name": text})
    _filled(db, "wards", "id name", ((n, f"ward {n}") for n in range(40)))
    db.create_table(
        "stays",
        {"id": key, "patient": whole, "ward": whole, "came": whole, "went": whole, "reason": text},
    )
    _filled(
        db,
        "stays",
        "id patient ward came went reason",
        (
            (n, draw.randrange(people), n % 40, n, None if n % 250 == 3 else n + 5, "reason " * 6)
            for n in range(rows)
        ),
    )
    db.create_table("staff", {"id": key, "badge": text, "ward": whole, "active": whole})
    _filled(db, "staff", "id badge ward active", ((n, f"b{n}", n % 40, 1) for n in range(people)))
    db.create_index("staff", "badge", name="staff_badge")
    db.create_index("staff", ["badge", "ward"], name="staff_badge_ward")
    db.create_index("staff", "active", name="staff_active")
    db.create_table("labs", {"id": key, "stay": whole, "kind": whole, "taken": whole, "value": whole})
    _filled(
        db,
        "labs",
        "id stay kind taken value",
        ((n, draw.randrange(rows), draw.randrange(120), draw.randrange(10**6), n % 300) for n in range(rows)),
    )
    db.create_index("labs", ["taken", "kind"], name="labs_taken_kind")
    db.create_table("doses", {"id": key, "patient": whole, "drug": whole, "given": whole, "note": text})
    _filled(
        db,
        "doses",
        "id patient drug given note",
        (
            (n, draw.randrange(people), draw.randrange(900), draw.randrange(10**7), "dose " * 8)
            for n in range(rows)
        ),
    )
    db.create_table("messages", {"id": key, "receiver": whole, "unread": whole, "sent": whole, "body": text})
    _filled(
        db,
        "messages",
        "id receiver unread sent body",
        (
            (n, draw.randrange(800), int(n % 150 == 0), draw.randrange(10**7), "text " * 10)
            for n in range(rows)
        ),
    )
    db.create_table("devices", {"id": key, "serial": text, "room": whole, "kind": whole})
    _filled(
        db,
        "devices",
        "id serial room kind",
        ((n, f"S{draw.getrandbits(48):x}", draw.randrange(500), n % 7) for n in range(rows // 2)),
    )
    db.create_index("devices", "serial", name="devices_serial")
    db.create_index("devices", "serial", name="devices_serial_again")
    db.create_index("devices", "kind", name="devices_kind")
    db.create_table("readings", {"id": key, "device": whole, "at": whole, "value": whole, "raw": text})
    _filled(
        db,
        "readings",
        "id device at value raw",
        ((n, draw.randrange(25), draw.randrange(10**7), n % 500, "f" * 180) for n in range(rows)),
    )
    db.create_index("readings", "device", name="readings_device")
    db.create_table("meals", {"id": key, "day": whole, "patient": whole, "diet": text})
    _filled(
        db,
        "meals",
        "id day patient diet",
        ((n, draw.randrange(4000), draw.randrange(people), f"diet {n % 9}") for n in range(rows)),
    )
    db.create_index("meals", ["day", "patient"], name="meals_day_patient")
    db.create_table(
        "bills",
        {"id": key, "stay": whole, "due": whole, "paid": whole},
        foreign_keys={"stay": "stays(id)"},
    )
    _filled(
        db,
        "bills",
        "id stay due paid",
        ((n, draw.randrange(rows), draw.randrange(9999), 1) for n in range(rows)),
    )
    db.create_table(
        "transfers", {"id": key, "stay": whole, "origin": whole, "target": whole, "at": whole, "why": text}
    )
    _filled(
        db,
        "transfers",
        "id stay origin target at why",
        (
            (n, n, draw.randrange(40), draw.randrange(70), draw.randrange(10**6), "why " * 9)
            for n in range(rows)
        ),
    )
    db.create_table("beds", {"id": key, "ward": whole, "number": whole, "broken": text})
    _filled(
        db,
        "beds",
        "id ward number broken",
        ((n, n % 40, n, "since May" if n % 400 == 1 else None) for n in range(rows)),
    )
    db.create_table("scans", {"id": key, "study": text, "at": whole, "size": whole})
    _filled(
        db,
        "scans",
        "id study at size",
        ((n, f"st{draw.randrange(rows // 4)}", draw.randrange(10**6), n % 4096) for n in range(rows)),
    )
    db.create_table("referrals", {"id": key, "doctor": text, "patient": whole, "text": text})
    _filled(
        db,
        "referrals",
        "id doctor patient text",
        ((n, f"dr{draw.randrange(3000)}", draw.randrange(people), "see " * 12) for n in range(rows)),
    )
    db.create_index("referrals", "text", name="referrals_text")
    db.create_table("beats", {"id": key, "monitor": whole, "at": whole})
    _filled(db, "beats", "id monitor at", ((n, draw.randrange(400), n) for n in range(rows // 4)))
    db.create_table("samples", {"id": key, "box": whole, "tube": whole, "state": whole})
    _stale(db, "samples")
    db.create_index("samples", "box", name="samples_box")
    db.create_index("samples", "tube", name="samples_tube")
    _filled(db, "samples", "id box tube state", ((n, n % 3, n, 0) for n in range(rows // 10)))
    db.analyze()
    db.update("samples", {"tube": 5}, all_rows=True)
    _filled(
        db,
        "samples",
        "id box tube state",
        ((rows + n, 100 + n, 5, n % 3) for n in range(rows)),
    )


HOSPITAL = Application(
    _build_hospital,
    [
        'SELECT id, "Surname" FROM "Patients" WHERE insurance = ?',
        'SELECT avg(born), max("Surname") FROM "Patients" p WHERE p.sex = \'f\'',
        'SELECT p."Surname", s.reason FROM "Patients" p, stays s WHERE s.patient = p.id AND p.id = ?',
        "SELECT reason FROM stays WHERE came >= 1000 AND came < 1030",
        "SELECT s.id, w.name, s.reason FROM stays s JOIN wards w ON w.id = s.ward WHERE s.went IS NULL",
        "SELECT badge FROM staff WHERE badge = ? AND ward = ?",
        "SELECT id FROM staff WHERE badge IN ('b5', 'b6', 'b7')",
        "SELECT count(*), min(badge), max(ward) FROM staff WHERE active = 1",
        "WITH recent AS (SELECT stay, value FROM labs WHERE kind = 17 AND taken > 950000) "
        "SELECT max(value) FROM recent",
        'SELECT "Surname" FROM "Patients" p WHERE p.id = 77 AND EXISTS '
        "(SELECT 1 FROM doses d WHERE d.patient = p.id AND d.drug = 3)",
        "SELECT id, given, note FROM doses ORDER BY given DESC LIMIT 25",
        "SELECT body FROM messages WHERE receiver = 41 ORDER BY sent DESC LIMIT 5",
        "SELECT id, receiver, body FROM messages WHERE unread = 1 ORDER BY sent LIMIT 50",
        "SELECT room FROM devices WHERE serial = ?",
        "SELECT * FROM devices WHERE kind < 6",
        "SELECT min(value), max(value) FROM readings WHERE device = ?",
        "SELECT diet FROM meals WHERE patient = ?",
        "SELECT diet FROM meals WHERE day = ? AND patient = ?",
        "DELETE FROM stays WHERE id = :stay",
        "SELECT why FROM transfers WHERE origin = ? AND target = ? AND at > 900000",
        "SELECT id, number FROM beds WHERE broken IS NOT NULL AND ward = 1",
        "SELECT sum(size) FROM scans WHERE study = (SELECT study FROM scans WHERE id = 9)",
        "UPDATE referrals SET text = 'seen' WHERE doctor = 'dr12' AND patient = 4",
        "SELECT state FROM samples WHERE box = 2 AND tube = 5",
        "SELECT name FROM wards ORDER BY name",
        "SELECT at FROM beats WHERE monitor = ?",
        *["INSERT INTO beats (monitor, at) VALUES (?, ?)"] * 20_000,
    ],
    {
        "a condition": index("Patients", "insurance"),
        "a range": index("stays", "came"),
        "a join": index("stays", "patient"),
        "a subquery": either(index("doses", "patient"), index("doses", "patient|drug")),
        "an order": index("doses", "given"),
        "an order of what a condition finds": index("messages", "receiver", "sent"),
        "several columns and a range": index("transfers", "origin|target"),
        "a range before what is equal": index("labs", "kind", "taken"),
        "a column that comes second": index("meals", "patient"),
        "the same index twice": dropped("devices_serial", "devices_serial_again"),
        "the beginning of another": dropped("staff_badge"),
        "nobody uses it": dropped("referrals_text"),
        "it finds half of the table": dropped("patients_sex"),
        "it finds all of the table": dropped("staff_active"),
        "a foreign key": index("bills", "stay"),
        "a few rows in a state": index("messages", "sent", partial=True),
        "a few rows with a value": index("beds", partial=True),
        "least and most from the index alone": index("readings", "device", covers="value"),
        "what changes one row": either(index("referrals", "patient"), index("referrals", "doctor|patient")),
        "yesterday's statistics": analysed("samples"),
    },
    {
        "a table of forty rows": index("wards", "name"),
        "written far more often than asked": index("beats", "monitor"),
        "most of the rows": index("devices", "kind"),
        "they are used": either(
            lost("samples_box", "samples", "box"), lost("staff_badge_ward", "staff", "badge")
        ),
        "both of two": both_dropped("devices_serial", "devices_serial_again"),
    },
)
