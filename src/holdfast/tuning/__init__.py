"""Making a database smaller, quicker and cleaner."""
