"""PostgreSQL, through psycopg 3: an ordinary server, or an embedded one from a wheel."""
