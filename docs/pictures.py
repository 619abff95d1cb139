"""Draw the pictures of the documents: ``python docs/pictures.py`` writes them into ``docs/pictures``.

The schema is that of a company that sells things: 120 tables in ten areas, each with the prefix of its area.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import holdfast
from holdfast import Database

FOLDER = Path(__file__).parent / "pictures"
WIDTH = 1600

# Each line has a table, its plain columns after a colon, and after ``>`` the tables it refers to: ``x?`` may
# be missing, ``x as y`` names the column y_id.
SCHEMA = """
crm_countries: code name
crm_languages: code name
crm_companies: name vat_number website > crm_countries
crm_customers: email name phone created_at > crm_companies? crm_languages
crm_addresses: street city postcode > crm_customers crm_countries
crm_contacts: name email role > crm_companies
crm_segments: name rule
crm_customer_segments: since > crm_customers crm_segments
crm_notes: body written_at > crm_customers hr_employees as author
crm_consents: purpose given_at > crm_customers
crm_merges: merged_at > crm_customers as winner crm_customers as loser
crm_leads: source score > crm_contacts hr_employees as owner?
catalog_brands: name
catalog_categories: name position > catalog_categories as parent?
catalog_products: sku name description weight > catalog_brands? catalog_categories finance_tax_classes
catalog_variants: sku price barcode > catalog_products
catalog_attributes: name unit
catalog_attribute_values: value > catalog_attributes
catalog_variant_values: > catalog_variants catalog_attribute_values
catalog_images: path width height > catalog_products
catalog_prices: amount valid_from > catalog_variants finance_currencies
catalog_bundles: name > catalog_products
catalog_bundle_items: quantity > catalog_bundles catalog_variants
catalog_reviews: stars body > catalog_products crm_customers
catalog_related: kind > catalog_products as one catalog_products as other
sales_channels: name
sales_carts: opened_at > crm_customers? sales_channels
sales_cart_items: quantity > sales_carts catalog_variants
sales_orders: number placed_at status > crm_customers sales_channels crm_addresses finance_currencies
sales_order_items: quantity price > sales_orders catalog_variants
sales_order_events: kind happened_at > sales_orders hr_employees as actor?
sales_coupons: code percent expires_at
sales_coupon_uses: used_at > sales_coupons sales_orders
sales_discounts: amount reason > sales_order_items
sales_returns: reason asked_at > sales_orders
sales_return_items: quantity > sales_returns sales_order_items
sales_quotes: valid_until total > crm_companies hr_employees as seller
sales_quote_items: quantity price > sales_quotes catalog_variants
finance_currencies: code name
finance_rates: rate day > finance_currencies
finance_tax_classes: name
finance_tax_rates: percent > finance_tax_classes crm_countries
finance_invoices: number issued_at total > sales_orders finance_currencies
finance_invoice_lines: amount text > finance_invoices finance_accounts
finance_payments: amount paid_at > finance_invoices finance_methods
finance_methods: name
finance_refunds: amount > finance_payments sales_returns?
finance_accounts: number name > finance_accounts as parent?
finance_entries: amount booked_at > finance_accounts finance_periods
finance_periods: opens closes
finance_budgets: amount > finance_accounts hr_departments finance_periods
finance_bank_accounts: iban > finance_currencies
finance_statements: day balance > finance_bank_accounts
stock_warehouses: name > crm_addresses
stock_bins: code > stock_warehouses
stock_levels: quantity > stock_bins catalog_variants
stock_moves: quantity moved_at > stock_bins as source? stock_bins as target? catalog_variants
stock_counts: counted_at > stock_warehouses hr_employees as counter
stock_count_lines: found > stock_counts stock_levels
stock_reservations: quantity > sales_order_items stock_levels
stock_batches: code expires_on > catalog_variants
stock_alerts: threshold > catalog_variants stock_warehouses
stock_transfers: sent_at > stock_warehouses as source stock_warehouses as target
stock_transfer_lines: quantity > stock_transfers catalog_variants
ship_carriers: name
ship_services: name days > ship_carriers
ship_rates: price > ship_services ship_zones
ship_zones: name
ship_zone_countries: > ship_zones crm_countries
ship_shipments: sent_at tracking > sales_orders ship_services stock_warehouses
ship_parcels: weight > ship_shipments
ship_parcel_items: quantity > ship_parcels sales_order_items
ship_events: place happened_at > ship_parcels
ship_labels: file > ship_parcels
buy_suppliers: name > crm_companies crm_countries
buy_supplier_products: price lead_days > buy_suppliers catalog_variants
buy_orders: number ordered_at > buy_suppliers finance_currencies hr_employees as buyer
buy_order_items: quantity price > buy_orders catalog_variants
buy_receipts: received_at > buy_orders stock_warehouses
buy_receipt_items: quantity > buy_receipts buy_order_items
buy_bills: number total > buy_orders finance_accounts
buy_bill_payments: amount > buy_bills finance_bank_accounts
buy_contracts: starts ends > buy_suppliers
buy_ratings: stars > buy_suppliers hr_employees as rater
hr_departments: name > hr_departments as parent?
hr_jobs: title
hr_employees: name email hired_on > hr_departments hr_jobs hr_employees as manager?
hr_contracts: starts salary > hr_employees
hr_absences: starts ends > hr_employees hr_absence_kinds
hr_absence_kinds: name
hr_skills: name
hr_employee_skills: level > hr_employees hr_skills
hr_reviews: day text > hr_employees hr_employees as reviewer
hr_payslips: month gross net > hr_contracts finance_periods
hr_applicants: name email > hr_openings
hr_openings: title > hr_departments hr_jobs
support_queues: name
support_tickets: subject opened_at status > crm_customers support_queues sales_orders? hr_employees as agent?
support_messages: body sent_at > support_tickets
support_attachments: path > support_messages
support_tags: name
support_ticket_tags: > support_tickets support_tags
support_articles: title body > support_topics crm_languages
support_topics: name
support_votes: helpful > support_articles crm_customers?
support_slas: minutes > support_queues
support_escalations: at > support_tickets support_slas
web_pages: path title > crm_languages
web_sessions: started_at agent > crm_customers?
web_views: viewed_at > web_sessions web_pages
web_searches: words found > web_sessions
web_campaigns: name budget > finance_currencies
web_clicks: clicked_at > web_campaigns web_sessions
web_experiments: name
web_arms: name weight > web_experiments
web_assignments: > web_arms web_sessions
web_subscriptions: since > crm_customers web_newsletters
web_newsletters: name
audit_changes: at table_name row_id before after
audit_logins: at address > hr_employees?
"""


def build(db: Database) -> None:
    """Create the tables, those that are referred to first."""
    waiting = {name: rest for name, _, rest in (line.partition(":") for line in SCHEMA.split("\n") if line)}
    while waiting:
        for name, rest in list(waiting.items()):
            plain, _, links = rest.partition(">")
            keys = list(_keys(links.replace(" as ", "=").split()))
            if any(target in waiting and target != name for _, target, _ in keys):
                continue
            columns = {"id": "INTEGER PRIMARY KEY"}
            columns |= {column: f"INTEGER{'' if optional else ' NOT NULL'}" for column, _, optional in keys}
            columns |= {column: _type(column) for column in plain.split()}
            db.create_table(name, columns, foreign_keys={c: f"{target}(id)" for c, target, _ in keys})
            del waiting[name]


def _keys(links: list[str]) -> list[tuple[str, str, bool]]:
    found = []
    for link in links:
        target, _, role = link.rstrip("?").partition("=")
        found.append((f"{role or _singular(target.partition('_')[2])}_id", target, link.endswith("?")))
    return found


def _singular(name: str) -> str:
    for end, instead in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if name.endswith(end):
            return name.removesuffix(end) + instead
    return name


def _type(column: str) -> str:
    if column.endswith(("_at", "_on", "day", "since", "at")):
        return "TIMESTAMP"
    if column in ("amount", "price", "total", "balance", "salary", "gross", "net", "budget"):
        return "NUMERIC(12,2)"
    return "INTEGER" if column in ("quantity", "stars", "score", "width", "height", "position") else "TEXT"


PICTURES: dict[str, dict[str, Any]] = {
    "around-orders.png": {"around": "sales_orders"},
    "two-steps-around-orders.png": {"around": "sales_orders", "depth": 2},
    "map.png": {"group": "prefix"},
}


def draw(folder: Path) -> None:
    """Draw every picture, as wide as a page shows it; it needs the extra ``plot``."""
    from PIL import Image

    with holdfast.connect(":memory:") as db:
        build(db)
        for name, options in PICTURES.items():
            path = holdfast.inspect(db).generate_schema_diagram(folder / name, **options)
            with Image.open(path) as picture:
                picture.thumbnail((WIDTH, 10 * WIDTH))
                picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw(FOLDER)
