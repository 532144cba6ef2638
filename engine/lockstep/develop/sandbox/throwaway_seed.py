"""Throw-away seed: give an empty throw-away database what the platform gives and the history does not.

`throwaway_seed` in `[lockstep]` names an SQL file, or `supabase`. It runs before the first revision, on databases that
the development verbs make and on no other.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from lockstep.errors import Usage
from lockstep.project import lockstep_section

if TYPE_CHECKING:
    from alembic.config import Config

OPTION = "throwaway_seed"
SEEDED = "lockstep.seeded"  # config.attributes: the (schema, name) of the tables that it made

_ROLE = "DO $$ BEGIN CREATE ROLE {} NOLOGIN {}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
_ROLES = {"anon": "", "authenticated": "", "service_role": "BYPASSRLS", "authenticator": "NOINHERIT"}
# What revisions of projects at Supabase refer to; rows, triggers and rights of the platform's own are left out.
SUPABASE = (
    "\n".join(_ROLE.format(name, option) for name, option in _ROLES.items())
    + """
CREATE SCHEMA IF NOT EXISTS extensions;
CREATE SCHEMA auth;
CREATE TABLE auth.users (
  instance_id uuid, id uuid PRIMARY KEY, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, last_sign_in_at timestamptz,
  raw_app_meta_data jsonb, raw_user_meta_data jsonb, is_super_admin boolean, created_at timestamptz,
  updated_at timestamptz, phone text UNIQUE, banned_until timestamptz, deleted_at timestamptz,
  is_anonymous boolean NOT NULL DEFAULT false);
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT (auth.jwt() ->> 'sub')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$ SELECT auth.jwt() ->> 'role' $$;
CREATE FUNCTION auth.email() RETURNS text LANGUAGE sql STABLE AS $$ SELECT auth.jwt() ->> 'email' $$;
CREATE SCHEMA storage;
CREATE TABLE storage.buckets (
  id text PRIMARY KEY, name text NOT NULL UNIQUE, owner uuid, public boolean DEFAULT false, file_size_limit bigint,
  allowed_mime_types text[], created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE storage.objects (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), bucket_id text REFERENCES storage.buckets, name text, owner uuid,
  owner_id text, metadata jsonb, path_tokens text[], version text, created_at timestamptz DEFAULT now(),
  updated_at timestamptz DEFAULT now(), last_accessed_at timestamptz DEFAULT now());
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT (string_to_array(name, '/'))[1 : array_length(string_to_array(name, '/'), 1) - 1] $$;
CREATE SCHEMA realtime;
CREATE SCHEMA graphql_public;
CREATE PUBLICATION supabase_realtime;
GRANT USAGE ON SCHEMA auth, storage TO anon, authenticated, service_role;
"""
)
_TABLES = """
SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""


def text(config: Config) -> str:
    """Return the seed's SQL; empty where the project has none. Raise Usage for a file that cannot be read."""
    given = lockstep_section.read(config).get(OPTION, "").strip()
    if not given:
        return ""
    if given == "supabase":
        return SUPABASE
    path = Path(given)
    if not path.is_absolute() and config.config_file_name:
        path = Path(config.config_file_name).absolute().parent / path
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Usage(f"{OPTION} {given}: {reason}", "name an SQL file in UTF-8, or `supabase`") from None


def sow(url: str, config: Config) -> None:
    """Run the project's seed on a throw-away database, in one transaction."""
    sql = text(config)
    if not sql.strip():
        return
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.Error as error:
            said = error.diag.message_primary or " ".join(str(error).split())
            raise Usage(f"{OPTION}: {said}", "correct the file; it runs on an empty database") from None
        connection.commit()
        cursor.execute(_TABLES)
        found: list[Any] = cursor.fetchall()
    config.attributes[SEEDED] = frozenset(map(tuple, found))
