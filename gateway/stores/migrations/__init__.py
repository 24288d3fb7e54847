"""How the tables came to be what they are: Alembic's revisions, and how a database is brought to the last one."""
