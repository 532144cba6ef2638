"""Models files, none of which can be loaded, or none of which this database serves; the same for an env.py."""

# ruff: noqa: E501 - a corpus is read by the line

HEAD = """import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
"""
GOOD = (
    HEAD
    + """class T(Base):
    __tablename__ = 't'
    id = sa.Column(sa.Integer, primary_key=True)
    missing = sa.Column(sa.Text, nullable=False)
"""
)
COLUMN = "    missing = sa.Column(sa.Text, nullable=False)\n"

_CUTS = [GOOD[:end] for end in range(1, len(GOOD) - 30, 11)]
_WHOLE = [
    "\x00", "{", "%PDF-1.4", "<?xml?>", "é = ", "class", "\t\tx", "import os\nos.getcwd(", "'" * 7, "(" * 300, "x = " + "[" * 150 + "]" * 150 + ")", "lambda", "return 1", "yield 1",
    "await x", "print('hello')", "import app", "from app.settings import read", "import migrator", "import alembic", "from . import x", "from .. import y", "import requests", "__import__('alembic')\n1/0",
    "raise Exception", "raise SystemExit", "raise SystemExit('postgresql://u:{S}@h/d')", "import sys; sys.exit(3)", "1 / 0", "raise RecursionError", "raise MemoryError", "raise OSError(5, '{S}')[0]",
    "raise ValueError('postgresql://u:{S}@h/d')", "raise BaseException", "raise GeneratorExit", "import nowhere", "from sqlalchemy import nothing", "exec('def')", "assert False", "x: undefined = 1",
    "import sqlalchemy as sa\none, two = sa.MetaData(), sa.MetaData()\nsa.Table('a', one, sa.Column('x', sa.Integer))\nsa.Table('b', two, sa.Column('x', sa.Integer))",
    "import sqlalchemy as sa\nm = sa.MetaData()\nsa.Table('t', m)\nsa.Table('t', m, sa.Column('x', sa.Integer))", "import sqlalchemy as sa\nsa.create_engine('nonsense://')", "metadata = 'x'", "Base = 1",
    "import sqlalchemy as sa\nsa.MetaData(nonsense=1)", HEAD + "class T(Base): pass", HEAD + "class T(Base):\n    __tablename__ = 't'", HEAD + "class T(Base):\n    __tablename__ = 't'\n    x = sa.Column(sa.Text)",
]  # fmt: skip
_COLUMNS = [
    "sa.Column()", "sa.Column(nonsense)", "sa.Column(sa.Nonsense)", "sa.Column(sa.Text, sa.ForeignKey('nowhere.id'))", "sa.Column(sa.Text, sa.ForeignKey('nowhere'))", "sa.Column(sa.Text, sa.ForeignKey(''))",
    "sa.Column(sa.Text, sa.ForeignKey(1))", "sa.Column(sa.Text, server_default=1)", "sa.Column(sa.Text, server_default=object())", "sa.Column(sa.Enum())", "sa.Column(sa.Enum('a', 'a'), sa.Nonsense)", "sa.Column(1)",
    "sa.Column(sa.Text, name='')", "sa.Column(sa.Text, name='x' * 200)", "sa.Column(sa.Text, sa.Computed('nonsense('))", "sa.Column(sa.Text, sa.Identity(start='x'))", "sa.Column(sa.Text, 'x', 'y')", "sa.Column(sa.NullType)",
    "sa.Column(sa.Text, nonsense=True)", "sa.Column(sa.String(-1))", "sa.Column(sa.Numeric('x'))", "sa.Column(sa.ARRAY(sa.ARRAY(sa.Text)))", "sa.Column(sa.Text, key='')", "sa.Column('t.x', sa.Text)", "sa.Column(sa.PickleType)",
    "sa.Column(type('X', (sa.types.UserDefinedType,), {})())", "sa.Column(type('X', (sa.types.UserDefinedType,), {'get_col_spec': lambda self: 1 / 0})())", "sa.Column(sa.Text, default=1 / 0)",
    "sa.Column('x\\n', sa.Text)", "sa.Column('x\\x00', sa.Text)", "sa.Column(\"'; DROP TABLE t; --\", sa.Text)",
]  # fmt: skip
MODELS = list(dict.fromkeys([*_CUTS, *_WHOLE, *(GOOD.replace(COLUMN, f"    missing = {one}\n") for one in _COLUMNS)]))

_ENV = """from alembic import context
from sqlalchemy import create_engine
url = context.config.get_main_option("sqlalchemy.url")
with create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
ENVS = [_ENV[:end] for end in range(1, len(_ENV) - 20, 17)] + [
    "\x00", "(", "import nowhere", "1 / 0", "raise SystemExit", "raise SystemExit('x')", "raise BaseException", "raise KeyError", "raise ValueError('postgresql://u:{S}@h/d')", "exit(0)", "quit", "pass", "'x'", "return",
    "from alembic import context\ncontext.run_migrations()", "from alembic import context\ncontext.configure()", "from alembic import context\ncontext.configure(connection=None)\ncontext.run_migrations()",
    "from alembic import context\ncontext.configure(url='sqlite://')\ncontext.run_migrations()", "from alembic import context\ncontext.configure(dialect_name='nonsense')\ncontext.run_migrations()",
    "from alembic import context\ncontext.nonsense()", "from alembic import op\nop.execute('DROP TABLE t')",
    _ENV.replace("create_engine(url)", "create_engine('sqlite://')"), _ENV.replace("create_engine(url)", "create_engine('nonsense://')"), _ENV.replace("create_engine(url)", "create_engine('postgresql://u:{S}@127.0.0.1:1/d')"),
    _ENV.replace("create_engine(url)", "create_engine(url, isolation_level='AUTOCOMMIT')"), _ENV.replace("create_engine(url)", "create_engine(None)"), _ENV.replace("create_engine(url)", "create_engine(url.replace('127.0.0.1', 'nowhere.invalid'))"),
    _ENV.replace("    context.configure", "    connection.exec_driver_sql('SELECT 1')\n    context.configure"), _ENV.replace("    context.configure", "    connection.close()\n    context.configure"),
    _ENV.replace("    context.configure", "    connection.begin()\n    context.configure"), _ENV.replace("target_metadata=None", "target_metadata=None, nonsense=1, version_table=1"), _ENV.replace("target_metadata=None", "version_table='\\x00'"),
    _ENV.replace("target_metadata=None", "version_table_schema='nowhere'"), _ENV.replace("        context.run_migrations()", "        pass"), _ENV.replace("        context.run_migrations()", "        raise ValueError"),
    _ENV.replace("connection=connection", "connection=connection.connection"), _ENV.replace("connection=connection", "connection='{S}'"), _ENV + _ENV.replace("import", "import ", 1),
    "import asyncio\nfrom sqlalchemy.ext.asyncio import create_async_engine\nfrom alembic import context\nasyncio.run(create_async_engine(context.config.get_main_option('sqlalchemy.url')).connect())",
]  # fmt: skip
ENVS = list(dict.fromkeys(ENVS))
